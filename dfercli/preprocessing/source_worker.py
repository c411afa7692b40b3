"""A process that does sources: their clips, then what is made of the crops of these."""

from collections.abc import Callable
from dataclasses import dataclass

import cv2

from dfercli.artifacts.face_store import crops_folder
from dfercli.artifacts.store_writing import SourceRecord
from dfercli.config import PreprocessConfig
from dfercli.faces.build import DetectorChoice, build_detector
from dfercli.faces.stream_maker import StreamMaker, StreamSetting
from dfercli.preprocessing.face_clips import Report, process_source
from dfercli.preprocessing.make_streams import StreamsDone, make_streams, missing_streams
from dfercli.preprocessing.source_jobs import SourceJob
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
    """

    config: PreprocessConfig
    choice: DetectorChoice
    threads: int
    streams: StreamSetting


@dataclass(frozen=True)
class SourceDone:
    """What became of a source, and of the streams of its clips."""

    record: SourceRecord
    streams: StreamsDone


def set_up_sources(setting: WorkerSetting) -> Callable[[SourceJob, Report], SourceDone]:
    """Prepare a process for sources, and return the function that does one."""
    silence_decoders()
    give_large_blocks_back()
    config, wanted = setting.config, setting.streams
    cv2.setNumThreads(setting.threads)
    detector = build_detector(setting.choice)
    maker = _stream_maker(setting) if wanted.streams else None

    def do(job: SourceJob, report: Report) -> SourceDone:
        record = process_source(job, config, detector, report)
        if maker is None:
            return SourceDone(record, StreamsDone())
        places = ((clip.clip_id, crops_folder(config.out, clip.clip_id)) for clip in record.clips)
        missing = (missing_streams(config.out, *place, wanted) for place in places)
        clips = [clip for clip in missing if clip is not None]
        return SourceDone(record, make_streams(maker, config.out, clips, report))

    return do


def _stream_maker(setting: WorkerSetting) -> StreamMaker:
    import torch  # only streams need it

    torch.set_num_threads(setting.threads)
    return StreamMaker(setting.streams)
