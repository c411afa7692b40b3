"""Settings of finding and cropping faces."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from dfercli.config.descriptions import DEFAULT_LLM
from dfercli.config.kinds import Count, CountOrNone, MadeStream, Positive
from dfercli.config.options import DATA, DEVICE, FACES, LLM, OUTPUT, argument, option
from dfercli.typed import Range

USUAL_MIN_SECONDS = 0.5
MAX_PIXELS = 7680 * 4320  # 8K
DEFAULT_PARSING_MODEL = "jonathandinu/face-parsing"
FRAME_SECONDS = 0.04  # older settings counted frames of this length


@dataclass(frozen=True)
class FacesConfig:
    """Which faces to find, where, and with which detector."""

    detector: Literal["auto", "yunet", "retinaface", "blazeface", "scrfd", "sfd", "haar"] = option(
        "auto",
        "Face detector; auto is yunet if it is cached or can be fetched, else haar. See "
        "`dfer weights`.",
        FACES,
    )
    detector_weights: Path | None = option(
        None,
        "The detector's file, instead of the one in the cache. With haar: YuNet's, for landmarks.",
        FACES,
    )
    faces: str = option(
        "all",
        "Which faces of a source to keep; N: the N largest.",
        FACES,
        metavar="all|largest|N",
        suggestions=("all", "largest"),
    )
    min_face: Count = option(
        48,
        "Longer side of the smallest face, in pixels of the source (median over its boxes).",
        FACES,
    )
    min_seconds: Positive | None = option(
        None,
        "Shortest time for which a face must be seen.",
        FACES,
        default=f"{USUAL_MIN_SECONDS}; half of a source shorter than {2 * USUAL_MIN_SECONDS:g} s",
    )
    region: tuple[CountOrNone, ...] = option(
        (), "Find faces only in this region, in pixels.", FACES, metavar="X,Y,W,H"
    )
    detect_every: Annotated[float, Range(0, 10)] = option(
        0.12,
        "Seconds from one detection to the next; less where a face is hard to find again, twice as "
        "long (up to 0.24) while all faces are calm. 0: every frame.",
        FACES,
    )
    lost_seconds: Positive = option(
        2.5, "Seconds that a face may be hidden and keep its number.", FACES
    )
    identities: Literal["off", "video", "all"] = option(
        "off",
        "Tell people apart by their faces (SFace): video joins the pieces of a person's track, all "
        "also gives each person one number in all videos. First ask the people in the videos.",
        FACES,
    )
    identity_weights: Path | None = option(
        None, "SFace's file, instead of the one in the cache.", FACES
    )
    people: Path | None = option(
        None,
        "With --identities all, names: a folder of pictures NAME.jpg, or of folders NAME of "
        "pictures.",
        FACES,
    )
    start: Positive = option(0.0, "Begin at this second.", DATA)
    end: Positive | None = option(None, "Stop at this second.", DATA)
    max_pixels: Count = option(
        MAX_PIXELS, "Refuse sources whose frames have more pixels. By default 8K.", DATA
    )
    workers: CountOrNone | None = option(
        None, "Worker processes that find faces; 0: none.", DEVICE, default="one per core"
    )
    engine: Literal["local", "ray"] = option(
        "local", "ray: a cluster that sees the same files (dfercli[ray]).", DEVICE
    )
    ray_address: str | None = option(
        None, "Address of the Ray cluster. By default one that runs here, else a new one.", DEVICE
    )


@dataclass(frozen=True)
class PreprocessConfig(FacesConfig):
    """Settings of `dfer preprocess`."""

    sources: tuple[str, ...] = argument(
        (),
        "Videos, images, folders (recursively), or quoted globs.",
        metavar="SOURCE",
        required=True,
    )
    out: Path = option(
        Path("faces"), "The face store to make or to add to.", OUTPUT, writes="folder"
    )
    labels: Path | None = option(
        None,
        "CSV of source,label[,subject]. Without it, the name of a source's folder is its label "
        "if it is the name of a class. Further columns are groups. For crema-d: acted or "
        "face-votes.",
        DATA,
    )
    calm: Literal["drop", "own", "neutral"] = option(
        "drop",
        "For ravdess: leave out the class calm (drop), keep it (own), or count it as neutral.",
        DATA,
    )
    ties: Literal["drop", "soft"] = option(
        "drop",
        "For crema-d with face-votes: leave out clips with tied votes (drop), or train on them "
        "with equal shares (soft); they are never tested on.",
        DATA,
    )
    classes: tuple[str, ...] = option(
        (), "The label set, if it is your own.", DATA, metavar="7|11|A,B,…"
    )
    device: Literal["auto", "cpu", "cuda"] = option(
        "auto", "For retinaface, blazeface, scrfd and sfd.", DEVICE
    )
    size: Annotated[int, Range(8, 4096)] = option(224, "Side of a face crop in pixels.", FACES)
    align: Literal["square", "points", "landmarks"] = option(
        "square",
        "Crop a square around the face, or turn and scale the face by the detector's five points "
        "or by its 68 landmarks.",
        FACES,
    )
    margin: Annotated[float, Range(0, 4)] = option(
        0.25, "Part of the face's longer side added on each side.", FACES
    )
    jpeg_quality: Annotated[int, Range(1, 100)] = option(95, "Quality of the face crops.", OUTPUT)
    smooth: Annotated[float, Range(0, 2)] = option(
        0.16, "Average boxes over this many seconds before and after.", FACES
    )
    fps: float | None = option(None, "Keep at most this many frames per second.", DATA)
    every: Count = option(1, "Keep every n-th frame.", DATA)
    folder_fps: float = option(25.0, "Frame rate of folders of numbered images.", DATA)
    streams: tuple[MadeStream, ...] = option(
        (),
        "Streams to make from the crops: landmarks; parsing (parts of the face by SegFormer, extra "
        "dfercli[parsing]); regions (polygons of the 68 landmarks, without further evidence); "
        "captions (by an LLM).",
        FACES,
        metavar="STREAM,…",
    )
    landmarks: Literal["face-alignment", "yunet5"] | None = option(
        None,
        "How to find landmarks: 68 points by face-alignment, or yunet5: five points by YuNet, a "
        "weak stand-in that needs only YuNet's file. Also adds landmarks to --streams.",
        FACES,
        default="face-alignment",
    )
    parsing_model: str = option(
        DEFAULT_PARSING_MODEL, "SegFormer on the hub, or its folder.", FACES
    )
    model_for_captions: str | None = option(
        None, "The LLM for --streams captions.", LLM, default=DEFAULT_LLM
    )
    root: Path | None = option(
        None, "With SOURCE dfew, ferv39k, mafw, ravdess or crema-d: its folder.", DATA
    )
    preview: bool = option(
        False, "Draw a contact sheet and an annotated video per source.", OUTPUT, "--preview"
    )
    time_limit: float = option(
        120.0, "Abandon a source after this many seconds without a new frame.", DEVICE
    )
    overwrite: bool = option(
        False,
        "First empty an existing store (for a benchmark: its parts).",
        OUTPUT,
        "--overwrite",
    )

    @property
    def made_streams(self) -> tuple[MadeStream, ...]:
        """The streams to make: those that are named, and landmarks if their kind is named."""
        named = ("landmarks",) if self.landmarks is not None else ()
        order: tuple[MadeStream, ...] = ("landmarks", "parsing", "regions", "captions")
        return tuple(name for name in order if name in (*self.streams, *named))


def in_seconds(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Recorded settings of `dfer preprocess`, with former numbers of frames turned into seconds.

    Stores and model cards used to hold `detect_every` and `smooth` as whole numbers of frames; a
    number of seconds is written with its decimal point.
    """
    found = dict(settings)
    if "detect_every" in found and found["detect_every"] is None:
        found["detect_every"] = FacesConfig.detect_every
    for name in ("detect_every", "smooth"):
        value = found.get(name)
        if isinstance(value, int) and not isinstance(value, bool):
            found[name] = round(value * FRAME_SECONDS, 6)
    return found
