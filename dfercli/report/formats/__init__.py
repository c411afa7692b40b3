"""Timelines in the formats of other tools: one tier per person, one file per video or one for all.

A span below the threshold of confidence is marked as uncertain in each of them.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from dfercli.config.kinds import TimelineFormat
from dfercli.report.formats.boris import boris_csv
from dfercli.report.formats.elan import elan_eaf
from dfercli.report.formats.label_studio import label_studio_config, label_studio_tasks
from dfercli.report.formats.noldus import noldus_csv
from dfercli.report.formats.praat import textgrid
from dfercli.report.formats.subtitles import srt, webvtt
from dfercli.report.formats.tiers import TieredVideo

PER_VIDEO: Mapping[TimelineFormat, tuple[str, Callable[[TieredVideo], str]]] = {
    "vtt": (".vtt", webvtt),
    "srt": (".srt", srt),
    "eaf": (".eaf", elan_eaf),
    "textgrid": (".TextGrid", textgrid),
}


@dataclass(frozen=True)
class TimelineFile:
    """A file that is to be written.

    Attributes:
        name: Its path below the folder of all of them, with `/`.
        text: What it holds.
    """

    name: str
    text: str


def timeline_files(
    formats: Sequence[TimelineFormat], videos: Sequence[TieredVideo]
) -> list[TimelineFile]:
    """The files of some formats; a video without a person is in none."""
    shown = [video for video in videos if video.tiers]
    files = []
    for name in formats:
        if name in PER_VIDEO:
            suffix, write = PER_VIDEO[name]
            files += [TimelineFile(f"{name}/{one.key}{suffix}", write(one)) for one in shown]
        elif name == "boris":
            files.append(TimelineFile("boris.csv", boris_csv(shown)))
        elif name == "noldus":
            files.append(TimelineFile("noldus.csv", noldus_csv(shown)))
        else:
            files.append(TimelineFile("label-studio.json", label_studio_tasks(shown)))
            files.append(TimelineFile("label-studio.xml", label_studio_config(shown)))
    return files
