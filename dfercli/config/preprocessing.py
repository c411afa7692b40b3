"""Settings of finding and cropping faces."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from dfercli.config.kinds import Count, CountOrNone, Positive
from dfercli.typed import Range

USUAL_MIN_SECONDS = 0.5
MAX_PIXELS = 7680 * 4320  # 8K


@dataclass(frozen=True)
class PreprocessConfig:
    """Settings of `dfer preprocess`.

    Attributes:
        sources: Videos, images, folders (recursively) or globs.
        out: The face store.
        labels: CSV of `source,label[,subject]`, further columns are groups; else a label is the
            name of the parent folder. Of the open data set `crema-d`: `acted` or `face-votes`.
        calm: Of the open data set `ravdess`: its class calm is left out, one of its own, or
            neutral.
        classes: The label set: `7`, `11`, or names; else found from the labels.
        detector: Face detector; `auto` is yunet where it is at hand or can be fetched, else haar.
        detector_weights: Its file; None for the one in the cache.
        device: Where the detectors of face-alignment run; `auto` is a GPU where there is one.
        size: Side of a face crop in pixels.
        align: `square` around the box, or turned and scaled by the five points of the detector
            (`points`) or by five taken from 68 landmarks (`landmarks`).
        margin: Part of the face box's longer side that is added on each side.
        jpeg_quality: Of the face crops.
        faces: `all`, `largest`, or how many of the largest tracks of each source to keep.
        min_face: Longer side of the smallest face, in pixels of the source: that of half of the
            track's boxes.
        min_seconds: Shortest time that a face must be seen to count; None for
            `USUAL_MIN_SECONDS`, or half of a source that is shorter than twice that.
        region: Look for faces in x,y,width,height (pixels) only.
        detect_every: Detect on every n-th frame; None for one detection each 0.12 seconds.
        lost_seconds: How long a face may be hidden and keep its identity.
        smooth: Boxes are averaged with so many frames before and after.
        fps: Keep at most so many frames per second.
        every: Keep every n-th frame.
        start: Begin at this second.
        end: Stop at this second.
        folder_fps: Frame rate of folders of numbered images.
        engine: `local` processes, or a `ray` cluster that sees the same files.
        ray_address: Of the cluster; None for a running one, else one on this machine.
        workers: Processes; None for one per core, 0 to work in this process.
        landmarks: Find 68 points on every crop.
        parsing: Map every pixel to a part of the face: `polygons` drawn from the 68 points, or
            `segformer`.
        parsing_model: SegFormer on the hub, or its folder.
        root: Folder of a benchmark's copy, where the source is `dfew`, `ferv39k` or `mafw`.
        preview: Draw a contact sheet and an annotated video of each source.
        max_pixels: Sources whose frames have more pixels are refused before they are decoded.
        time_limit: Seconds without a new frame after which a source is given up.
        overwrite: Empty an existing store first.
    """

    sources: tuple[str, ...] = ()
    out: Path = Path("faces")
    labels: Path | None = None
    calm: Literal["drop", "own", "neutral"] = "drop"
    classes: tuple[str, ...] = ()
    detector: Literal["auto", "yunet", "retinaface", "blazeface", "scrfd", "sfd", "haar"] = "auto"
    detector_weights: Path | None = None
    device: Literal["auto", "cpu", "cuda"] = "auto"
    size: Annotated[int, Range(8, 4096)] = 224
    align: Literal["square", "points", "landmarks"] = "square"
    margin: Annotated[float, Range(0, 4)] = 0.25
    jpeg_quality: Annotated[int, Range(1, 100)] = 95
    faces: str = "all"
    min_face: Count = 48
    min_seconds: Positive | None = None
    region: tuple[CountOrNone, ...] = ()
    detect_every: Count | None = None
    lost_seconds: Positive = 1.0
    smooth: Annotated[int, Range(0, 1000)] = 4
    fps: float | None = None
    every: Count = 1
    start: Positive = 0.0
    end: Positive | None = None
    folder_fps: float = 25.0
    landmarks: bool = False
    parsing: Literal["none", "polygons", "segformer"] = "none"
    parsing_model: str = "jonathandinu/face-parsing"
    root: Path | None = None
    preview: bool = False
    engine: Literal["local", "ray"] = "local"
    ray_address: str | None = None
    workers: CountOrNone | None = None
    max_pixels: Count = MAX_PIXELS
    time_limit: float = 120.0
    overwrite: bool = False
