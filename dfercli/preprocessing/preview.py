"""Pictures of the faces found: a contact sheet and an annotated video of each source."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from dfercli.artifacts.atomic import write_bytes
from dfercli.artifacts.bug_log import BugLog
from dfercli.artifacts.face_store import (
    ClipRow,
    FailureRow,
    TrackData,
    frame_paths,
    read_track,
)
from dfercli.artifacts.pictures import scaled
from dfercli.artifacts.store_writing import SourceRecord, preview_paths
from dfercli.config import PreprocessConfig
from dfercli.errors import ArtifactError, DataError
from dfercli.preprocessing.engines import do_jobs
from dfercli.preprocessing.source_jobs import SourceJob
from dfercli.preprocessing.sources import open_source
from dfercli.preprocessing.worker_pool import Advanced, Lost, Report
from dfercli.progress import Progress
from dfercli.report.drawn_text import drawn_text
from dfercli.video.annotated import write_annotated
from dfercli.video.decode import silence_decoders
from dfercli.video.frames import Frame
from dfercli.video.images import read_image

CROPS_PER_ROW = 12
CELL_PX = 112
LABEL_PX = 22
MOST_ROWS = 200  # of a contact sheet; a JPEG has at most 65,500 rows of pixels, readers want fewer
WIDEST_PX = 960  # of the annotated video
FONT = cv2.FONT_HERSHEY_SIMPLEX
# Colours for the tracks in turn (RGB); most colour-blind readers can tell them apart, too.
COLOURS = (
    *((0, 114, 178), (230, 159, 0), (0, 158, 115), (204, 121, 167)),
    *((86, 180, 233), (213, 94, 0), (240, 228, 66)),
)


@dataclass(frozen=True)
class PreviewJob:
    """One source to show, with its clips."""

    job: SourceJob
    clips: tuple[ClipRow, ...]


def set_up_previews(config: PreprocessConfig) -> Callable[[Any, Report], Any]:
    """Prepare a process for previews, and return the function that makes those of one source.

    The function returns the reason if it could make none, else None.
    """
    silence_decoders()
    cv2.setNumThreads(1)

    def do(item: PreviewJob, report: Report) -> str | None:
        try:
            write_preview(item, config, report)
        except (ArtifactError, DataError) as error:
            return error.message
        return None

    return do


def write_preview(item: PreviewJob, config: PreprocessConfig, report: Report) -> None:
    """Write `preview/<key>.jpg`, one row per track, and `preview/<key>.mp4`, with boxes.

    Raises:
        DataError: the source or a crop cannot be read any more.
        ArtifactError: the store cannot be written.
    """
    store = config.out
    sheet_path, video_path = preview_paths(store, item.job.key)
    write_annotated(video_path, _annotated_frames(item, config, report), sound_of=None, crf=26)
    rows = [_sheet_row(store, clip) for clip in item.clips[:MOST_ROWS]]
    if len(item.clips) > MOST_ROWS:
        rows.append(_line(f"and {len(item.clips) - MOST_ROWS} more tracks", LABEL_PX))
    sheet = np.vstack(rows)
    _, jpeg = cv2.imencode(".jpg", cv2.cvtColor(sheet, cv2.COLOR_RGB2BGR))
    write_bytes(sheet_path, jpeg.tobytes())


def _sheet_row(store: Path, clip: ClipRow) -> NDArray[np.uint8]:
    paths = frame_paths(store, clip)
    chosen = np.linspace(0, len(paths) - 1, min(CROPS_PER_ROW, len(paths))).round().astype(int)
    text = (
        f"track {clip.track}: {clip.start_seconds:.2f} to {clip.end_seconds:.2f} s, "
        f"{clip.num_frames} frames{'' if clip.label is None else ', ' + clip.label}"
    )
    row = _line(text, LABEL_PX + CELL_PX)
    for column, number in enumerate(chosen.tolist()):
        crop = cv2.resize(read_image(paths[number]), (CELL_PX, CELL_PX))
        row[LABEL_PX:, column * CELL_PX : (column + 1) * CELL_PX] = crop
    return row


def _line(text: str, height: int) -> NDArray[np.uint8]:
    """A white strip of the sheet's width with a line of text at the top."""
    strip = np.full((height, CROPS_PER_ROW * CELL_PX, 3), 255, np.uint8)
    cv2.putText(
        strip, drawn_text(text, 150), (4, LABEL_PX - 6), FONT, 0.5, (0, 0, 0), 1, cv2.LINE_AA
    )
    return strip


def _annotated_frames(
    item: PreviewJob, config: PreprocessConfig, report: Report
) -> Iterator[Frame]:
    tracks = [(clip.track, read_track(config.out, clip.clip_id)) for clip in item.clips]
    rows = [
        dict(zip(data.frame_index.tolist(), range(len(data.score)), strict=True))
        for _, data in tracks
    ]
    for frame in open_source(item.job.source, config):
        scale = min(1.0, WIDEST_PX / max(frame.image.shape[:2]))
        picture = scaled(frame.image, scale)
        for (track, data), row_of in zip(tracks, rows, strict=True):
            if frame.index in row_of:
                _draw(picture, track, data, row_of[frame.index], scale)
        report(1, 0)
        yield replace(frame, image=picture)


def _draw(picture: NDArray[np.uint8], track: int, data: TrackData, row: int, scale: float) -> None:
    left, top, right, bottom = (data.box_xyxy_px[row] * scale).round().astype(int).tolist()
    colour = COLOURS[track % len(COLOURS)]
    cv2.rectangle(picture, (left, top), (right, bottom), colour, 2)
    cv2.putText(picture, str(track), (left, max(12, top - 4)), FONT, 0.5, colour, 2, cv2.LINE_AA)
    if data.points_px is not None:
        for x, y in (data.points_px[row] * scale).round().astype(int).tolist():
            cv2.circle(picture, (x, y), 1, colour, -1)


def make_previews(
    jobs: list[SourceJob],
    done: dict[str, SourceRecord],
    config: PreprocessConfig,
    bugs: BugLog,
    progress: Progress,
) -> list[FailureRow]:
    """Draw missing previews of sources with clips; return why some could not be drawn."""
    failures = []
    wanted = [
        PreviewJob(job, done[job.key].clips)
        for job in jobs
        if done[job.key].clips
        and not all(path.exists() for path in preview_paths(config.out, job.key))
    ]
    with progress.task("Drawing previews", total=len(wanted)) as task:
        for event in do_jobs(
            wanted, set_up_previews, config, config, bugs, lambda one: one.job.name_in_store
        ):
            if isinstance(event, Advanced):
                continue
            task.advance()
            stage, reason = (
                (event.stage, event.reason)
                if isinstance(event, Lost)
                else ("preview", event.result)
            )
            if reason is not None:
                failures.append(FailureRow(event.job.job.name_in_store, stage, reason))
    return failures
