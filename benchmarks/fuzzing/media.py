"""Media to mutate, made at run time, and their mutations beyond single bytes."""

import random
import struct
import zlib
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np

from fuzzing.mutations import ESCAPE, MARKUP, change_bytes

SIZE = 160
FRAMES = 10
FPS = 10
VIDEOS = {
    "mp4": ("libx264", "yuv420p"),
    "mov": ("libx264", "yuv420p"),
    "avi": ("mpeg4", "yuv420p"),
    "mkv": ("libx264", "yuv420p"),
    "webm": ("libvpx", "yuv420p"),
    "gif": ("gif", "rgb8"),
}
PICTURES = ("png", "jpg", "webp")
KINDS = (*VIDEOS, *PICTURES, "folder")
SIDES = (0, 1, 7, 16_384, 30_000, 65_535, 2**31 - 1)
TITLES = (
    "Café".encode("latin-1"),
    "表情".encode("gbk"),
    b"\xff\xfe\x00\x01",
    ESCAPE.encode(),
    MARKUP.encode(),
    b"t" * 200_000,
    b"",
)
FILE_NAMES = (
    *("plain", "=cmd()", "-rf", "@SUM(1)", "name with spaces", "[bold]x[bold]", "%s%n", "ünïcode"),
    *(ESCAPE.replace("/", ""), "two\nlines", "bytes\udcff", "right\u202eleft", "n" * 240, ".."),
    "<script>fuzz(1)<",
)


def face_frames() -> list[np.ndarray]:
    """A few frames (S, S, 3) uint8 RGB of a drawn face that Haar's cascade finds."""
    from dfercli.drawn_faces.clip import render_clip
    from dfercli.drawn_faces.identity import random_identity

    rng = np.random.default_rng(5)
    clip = render_clip(
        random_identity(rng), "happiness", rng, num_frames=FRAMES, fps=FPS, size=SIZE
    )
    return list(clip.frames)


def write_media(folder: Path) -> None:
    """Write one file of each kind, with a face in it, and one with sound."""
    folder.mkdir(parents=True)
    frames = face_frames()
    for suffix, (codec, pixels) in VIDEOS.items():
        encode(folder / f"seed.{suffix}", frames, codec, pixels)
    encode(folder / "sound.avi", frames, "mpeg4", "yuv420p", sound="libmp3lame")
    for suffix in PICTURES:
        cv2.imwrite(str(folder / f"seed.{suffix}"), frames[0][..., ::-1])
    (folder / "seed.folder").mkdir()
    for number, frame in enumerate(frames):
        cv2.imwrite(str(folder / "seed.folder" / f"{number:04d}.jpg"), frame[..., ::-1])


def encode(
    path: Path,
    frames: list[np.ndarray],
    codec: str,
    pixels: str,
    *,
    title: str | None = None,
    times: list[int] | None = None,
    sound: str | None = None,
) -> None:
    """Encode frames, with given times in units of 1/FPS if wanted; no frame writes the header."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=FPS)
        stream.width = stream.height = SIZE
        stream.pix_fmt = pixels
        audio = container.add_stream(sound, rate=44100) if sound else None
        if title is not None:
            container.metadata["title"] = title
        packets = []
        for number, image in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(image, format="rgb24").reformat(format=pixels)
            frame.pts, frame.time_base = number, Fraction(1, FPS)
            packets += stream.encode(frame)
        packets += stream.encode()
        container.start_encoding()
        for number, packet in enumerate(packets):
            if times is not None:
                ticks = round(Fraction(1, FPS) / packet.time_base)
                packet.pts = times[number % len(times)] * ticks
            container.mux(packet)
        if audio is not None:
            silence = av.AudioFrame.from_ndarray(np.zeros((1, 44100), np.float32), "fltp", "mono")
            silence.sample_rate = 44100
            container.mux(audio.encode(silence))
            container.mux(audio.encode())


def mutate_media(rng: random.Random, kind: str, seeds: Path, folder: Path) -> tuple[Path, str]:
    """Write one mutated file or folder of frames of a kind; return its path and the mutation."""
    folder.mkdir(parents=True)
    name = rng.choice(FILE_NAMES) if rng.random() < 0.25 else "plain"
    if kind == "folder":
        return _mutate_frames(rng, seeds / "seed.folder", folder, name)
    suffix = rng.choice(KINDS[:-1]) if rng.random() < 0.05 else kind
    path = folder / f"{name}.{suffix}"
    content = (seeds / f"seed.{kind}").read_bytes()
    pick = rng.random()
    said = f"{kind}, named {name[:20]!r}.{suffix}: "
    if pick < 0.5:
        content, done = change_bytes(rng, content)
    elif pick < 0.68:
        content, done = hostile_sides(rng, kind, content)
    elif pick < 0.9 and kind in VIDEOS:
        done = _made_odd(rng, kind, path)
        return path, said + done
    elif pick < 0.95 and kind == "avi":
        content, done = (seeds / "sound.avi").read_bytes(), "with MP3 sound"
    else:
        done = "as it was"
    path.write_bytes(content)
    return path, said + done


def _made_odd(rng: random.Random, kind: str, path: Path) -> str:
    """Encode a video that is odd from the start: in its times or its title, or without a frame."""
    codec, pixels = VIDEOS[kind]
    way = rng.choice(("times", "title", "title", "no frame", "one frame"))
    # Muxers refuse odd titles, so the title is written into the file afterwards.
    frames = [np.full((SIZE, SIZE, 3), 20 * number, np.uint8) for number in range(FRAMES)]
    if way in ("no frame", "one frame"):
        frames = frames[: way == "one frame"]
        _encode_or_empty(path, frames, codec, pixels)
        return way
    if way == "times":
        times = list(range(FRAMES))
        first, second = rng.sample(times, 2)
        times[first], times[second] = times[second], times[first]
        if rng.random() < 0.4:
            times[first] = rng.choice((-5, 10**6, times[second]))
        _encode_or_empty(path, frames, codec, pixels, times=times)
        return f"times {times}"
    title = rng.choice(TITLES)
    mark = b"TITLE" * 4
    _encode_or_empty(path, frames, codec, pixels, title=mark.decode())
    put = title[: len(mark)].ljust(len(mark), b" ")
    path.write_bytes(path.read_bytes().replace(mark, put))
    return f"title {put!r}"


def _encode_or_empty(path: Path, frames: list[np.ndarray], codec: str, pixels: str, **how) -> None:
    """Encode; if the muxer refuses to go on, its partial output is a mutation, too."""
    plain = path.with_name(f"making{path.suffix}")
    try:
        encode(plain, frames, codec, pixels, **how)
    except (av.error.FFmpegError, ValueError):
        plain.touch()
    plain.rename(path)


def _mutate_frames(rng: random.Random, seed: Path, folder: Path, name: str) -> tuple[Path, str]:
    """A folder of frames, some of them broken, missing, or of another size or kind."""
    path = folder / (name if name != ".." else "dots")
    path.mkdir()
    for file in sorted(seed.iterdir()):
        (path / file.name).write_bytes(file.read_bytes())
    files = sorted(path.iterdir())
    chosen = rng.choice(files)
    way = rng.choice(("bytes", "sides", "other size", "number", "huge number", "all empty", "none"))
    if way == "bytes":
        content, done = change_bytes(rng, chosen.read_bytes())
        chosen.write_bytes(content)
        way = f"{chosen.name}: {done}"
    elif way == "sides":
        content, done = hostile_sides(rng, "jpg", chosen.read_bytes())
        chosen.write_bytes(content)
        way = f"{chosen.name}: {done}"
    elif way == "other size":
        cv2.imwrite(str(chosen), np.full((33, 1999, 3), 90, np.uint8))
    elif way == "number":
        chosen.rename(path / rng.choice(("-1.jpg", "x.jpg", "٣.jpg", "1e9.jpg", "0000 (1).jpg")))
    elif way == "huge number":
        chosen.rename(path / f"{'9' * rng.choice((18, 30, 200))}.jpg")
    elif way == "all empty":
        for file in files:
            file.write_bytes(b"")
    else:
        for file in files:
            file.unlink()
    return path, f"folder: {way}"


def hostile_sides(rng: random.Random, kind: str, content: bytes) -> tuple[bytes, str]:
    """Write another size into a file's header, with matching checksums."""
    width, height = rng.choice(SIDES), rng.choice(SIDES)
    data = bytearray(content)
    done = f"says {width} x {height}"
    writers: dict[str, Callable[[], bool]] = {
        "png": lambda: _png(data, width, height),
        "jpg": lambda: _after(data, (b"\xff\xc0", b"\xff\xc2"), 3, ">HH", height, width),
        "gif": lambda: _after(data, (b"GIF89a", b"GIF87a"), 0, "<HH", width, height),
        "webp": lambda: _after(data, (b"\x9d\x01\x2a",), 0, "<HH", width & 0x3FFF, height & 0x3FFF),
        "mp4": lambda: _mp4(data, width, height),
        "mov": lambda: _mp4(data, width, height),
        "avi": lambda: _after(data, (b"strf",), 8, "<II", width, height),
        "mkv": lambda: _after(data, (b"\xb0\x82",), 0, ">H", width & 0xFFFF),
        "webm": lambda: _after(data, (b"\xb0\x81",), 0, ">B", width & 0xFF),
    }
    if not writers[kind]():
        return change_bytes(rng, content)
    return bytes(data), done


def _after(data: bytearray, marks: tuple[bytes, ...], skip: int, form: str, *values: int) -> bool:
    """Pack values after the first marker found."""
    limit = 2 ** (8 * struct.calcsize(form) // len(values)) - 1
    for mark in marks:
        place = data.find(mark)
        if place >= 0:
            begin = place + len(mark) + skip
            packed = struct.pack(form, *(min(value, limit) for value in values))
            data[begin : begin + len(packed)] = packed
            return True
    return False


def _png(data: bytearray, width: int, height: int) -> bool:
    data[16:24] = struct.pack(">II", width, height)
    data[29:33] = struct.pack(">I", zlib.crc32(data[12:29]))
    return True


def _mp4(data: bytearray, width: int, height: int) -> bool:
    """The size of the track, in 16.16, and of its sample description."""
    track = data.find(b"tkhd")
    if track < 0:
        return False
    data[track + 80 : track + 88] = struct.pack(
        ">HHHH", min(width, 65535), 0, min(height, 65535), 0
    )
    return _after(data, (b"avc1\x00\x00\x00\x00\x00\x00",), 18, ">HH", width, height)
