"""Who is drawn: everything about a face that its movements do not change.

Lengths are in face units: half the width of an average face at the cheekbones.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np

Rgb = tuple[int, int, int]
HairStyle = Literal["bald", "cropped", "parted", "fringe", "curly", "long", "bun"]
GlassesStyle = Literal["none", "round", "square"]
BeardStyle = Literal["none", "stubble", "moustache", "full"]

SKIN_TONES: tuple[Rgb, ...] = (
    (250, 222, 200),
    (238, 198, 168),
    (222, 176, 140),
    (196, 148, 110),
    (164, 116, 82),
    (132, 90, 64),
    (104, 70, 52),
    (82, 56, 44),
)
HAIR_COLOURS: tuple[Rgb, ...] = (
    (28, 24, 24),
    (52, 36, 28),
    (86, 58, 38),
    (126, 84, 48),
    (178, 134, 78),
    (214, 184, 124),
    (150, 66, 34),
    (168, 166, 164),
)
IRIS_COLOURS: tuple[Rgb, ...] = ((58, 36, 22), (84, 54, 30), (74, 92, 52), (64, 104, 140))
CLOTHES_COLOURS: tuple[Rgb, ...] = (
    (52, 70, 110),
    (120, 46, 52),
    (60, 96, 78),
    (196, 190, 178),
    (70, 68, 74),
    (170, 122, 62),
    (94, 76, 128),
)
HAIR_STYLES: tuple[HairStyle, ...] = (
    "bald",
    "cropped",
    "cropped",
    "parted",
    "parted",
    "fringe",
    "curly",
    "long",
    "long",
    "bun",
)


@dataclass(frozen=True)
class Identity:
    """One drawn person.

    Attributes:
        skin_rgb: Colour of lit skin.
        lip_rgb: Colour of the lips.
        face_width: Half the width at the cheekbones.
        face_length: From the line of the eyes to the chin.
        jaw_squareness: 0 (pointed) to 1 (square).
        hair_style: The cut; `long` and `bun` are drawn behind the head too.
        hair_rgb: Colour of the hair, the beard and, darkened, the brows.
        hairline: Height of the hairline above the eyes.
        parting: Where the hair parts, -1 (left in the image) to 1.
        beard: Facial hair.
        glasses: Shape of the frames.
        glasses_rgb: Colour of the frames.
        eye_size: Scale of the eyes.
        eye_spacing: From the middle of the face to the centre of an eye.
        eye_tilt: How much the outer corners stand above the inner ones.
        iris_rgb: Colour of the iris.
        brow_thickness: Half the height of a brow.
        brow_height: From the line of the eyes up to the brows.
        brow_arch: How much the middle of a brow stands above its ends.
        nose_width: Half the width at the nostrils.
        nose_length: From the line of the eyes to the base of the nose.
        mouth_width: Half the width of the closed mouth.
        lip_fullness: Scale of the height of the lips.
        age: 0 (smooth) to 1 (lined).
        clothes_rgb: Colour of the clothes.
    """

    skin_rgb: Rgb
    lip_rgb: Rgb
    face_width: float
    face_length: float
    jaw_squareness: float
    hair_style: HairStyle
    hair_rgb: Rgb
    hairline: float
    parting: float
    beard: BeardStyle
    glasses: GlassesStyle
    glasses_rgb: Rgb
    eye_size: float
    eye_spacing: float
    eye_tilt: float
    iris_rgb: Rgb
    brow_thickness: float
    brow_height: float
    brow_arch: float
    nose_width: float
    nose_length: float
    mouth_width: float
    lip_fullness: float
    age: float
    clothes_rgb: Rgb


def random_identity(rng: np.random.Generator) -> Identity:
    """Draw a person at random; the same state of `rng` gives the same person."""
    tone = rng.uniform(0, len(SKIN_TONES) - 1)
    skin = _between(SKIN_TONES, tone)
    age = float(rng.uniform(0, 1) ** 1.5)
    hair_choices = HAIR_COLOURS[:3] if tone > 4 else HAIR_COLOURS[:-1]
    hair = hair_choices[rng.integers(len(hair_choices))]
    if age > 0.75:
        grey = HAIR_COLOURS[-1]
        hair = _between((grey, (76, 72, 70)), tone / (len(SKIN_TONES) - 1))
    hair_style = HAIR_STYLES[rng.integers(len(HAIR_STYLES))]
    beards: tuple[BeardStyle, ...] = ("none",)
    if hair_style in ("bald", "cropped", "parted", "curly"):
        beards = ("none", "none", "none", "stubble", "moustache", "full")
    glasses: tuple[GlassesStyle, ...] = ("none", "none", "none", "round", "square")
    glasses_colours: tuple[Rgb, ...] = ((30, 28, 30), (92, 56, 34), (120, 120, 126))
    redness = rng.uniform(0.45, 1.0)
    return Identity(
        skin_rgb=skin,
        lip_rgb=(
            int(skin[0] * (0.86 - 0.04 * redness)),
            int(skin[1] * (0.76 - 0.16 * redness)),
            int(skin[2] * (0.80 - 0.14 * redness)),
        ),
        face_width=float(rng.uniform(0.93, 1.05)),
        face_length=float(rng.uniform(1.48, 1.64)),
        jaw_squareness=float(rng.uniform(0.25, 0.95)),
        hair_style=hair_style,
        hair_rgb=hair,
        hairline=float(rng.uniform(0.78, 0.95)),
        parting=float(rng.choice([-1, 1]) * rng.uniform(0.2, 0.6)),
        beard=beards[rng.integers(len(beards))],
        glasses=glasses[rng.integers(len(glasses))],
        glasses_rgb=glasses_colours[rng.integers(len(glasses_colours))],
        eye_size=float(rng.uniform(1.0, 1.25)),
        eye_spacing=float(rng.uniform(0.39, 0.44)),
        eye_tilt=float(rng.uniform(-0.01, 0.035)),
        iris_rgb=IRIS_COLOURS[rng.integers(2 if tone > 3 else len(IRIS_COLOURS))],
        brow_thickness=float(rng.uniform(0.035, 0.06)),
        brow_height=float(rng.uniform(0.28, 0.34)),
        brow_arch=float(rng.uniform(0.02, 0.07)),
        nose_width=float(rng.uniform(0.17, 0.25)),
        nose_length=float(rng.uniform(0.54, 0.64)),
        mouth_width=float(rng.uniform(0.33, 0.39)),
        lip_fullness=float(rng.uniform(0.8, 1.3)),
        age=age,
        clothes_rgb=CLOTHES_COLOURS[rng.integers(len(CLOTHES_COLOURS))],
    )


def _between(colours: tuple[Rgb, ...], position: float) -> Rgb:
    """The colour at a fractional position of a list of colours."""
    low = min(int(position), len(colours) - 2)
    share = position - low
    red, green, blue = (
        round(a + (b - a) * share) for a, b in zip(colours[low], colours[low + 1], strict=True)
    )
    return red, green, blue
