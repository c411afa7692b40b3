"""A process that does sources: their clips, then what is made of the crops of these."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import cv2

from dfercli.artifacts.face_store import crops_folder
from dfercli.artifacts.store_writing import SourceRecord
from dfercli.config import PreprocessConfig
from dfercli.faces.build import DetectorChoice, build_detector
from dfercli.faces.stream_maker import StreamMaker, StreamSetting
from dfercli.preprocessing.detectors import build_recogniser
from dfercli.preprocessing.face_clips import Networks, StretchFaces
from dfercli.preprocessing.make_streams import StreamsDone, make_streams, missing_streams
from dfercli.preprocessing.process_source import HeldFaces, hold_source, process_source
from dfercli.preprocessing.source_jobs import SourceJob
from dfercli.preprocessing.time_grid import TimeGrid
from dfercli.preprocessing.worker_pool import Report
from dfercli.processes import give_large_blocks_back
from dfercli.video.decode import silence_decoders


@dataclass(frozen=True)
class WorkerSetting:
    """What a process that does sources needs.

    Attributes:
        config: Settings.
        choice: The detector.
        threads: Of OpenCV and PyTorch.
        streams: What is made of the crops besides; nothing where it names no stream.
        grid: The moments at which windows look, for `set_up_held`.
    """

    config: PreprocessConfig
    choice: DetectorChoice
    threads: int
    streams: StreamSetting
    grid: TimeGrid | None = None


@dataclass(frozen=True)
class SourceDone:
    """What became of a source, and of the streams of its clips."""

    record: SourceRecord
    streams: StreamsDone


def set_up_sources(
    setting: WorkerSetting,
) -> Callable[[SourceJob, Report], SourceDone | StretchFaces]:
    """Prepare a process for sources, and return the function that does one."""
    config, wanted = setting.config, setting.streams
    networks = _networks(setting)
    maker = _stream_maker(setting) if wanted.streams else None

    def do(job: SourceJob, report: Report) -> SourceDone | StretchFaces:
        record = process_source(config, networks, job, report)
        if isinstance(record, StretchFaces):
            return record
        if maker is None:
            return SourceDone(record, StreamsDone())
        places = ((clip.clip_id, crops_folder(config.out, clip.clip_id)) for clip in record.clips)
        missing = (missing_streams(config.out, *place, wanted) for place in places)
        clips = [clip for clip in missing if clip is not None]
        return SourceDone(record, make_streams(maker, config.out, clips, report))

    return do


def set_up_held(
    setting: WorkerSetting,
) -> Callable[[SourceJob, Report], HeldFaces | StretchFaces]:
    """Prepare a process for sources, and return the function that hands over the faces of one."""
    assert setting.grid is not None
    return partial(hold_source, setting.config, _networks(setting), setting.grid)


def _networks(setting: WorkerSetting) -> Networks:
    silence_decoders()
    give_large_blocks_back()
    cv2.setNumThreads(setting.threads)
    return Networks(build_detector(setting.choice), build_recogniser(setting.config))


def _stream_maker(setting: WorkerSetting) -> StreamMaker:
    import torch  # only streams need it

    torch.set_num_threads(setting.threads)
    return StreamMaker(setting.streams)
