"""Say who is who in all videos of a prediction."""

from collections.abc import Iterable
from dataclasses import replace

from dfercli.preprocessing.people import Known, people_of
from dfercli.report.video_prediction import VideoPrediction


def with_people(videos: Iterable[VideoPrediction], known: Known) -> list[VideoPrediction]:
    """The videos with the name or number of each person, numbered in their order."""
    videos = list(videos)
    people = people_of(((video.source, video.portraits) for video in videos), known)
    return [
        replace(
            video,
            predictions=tuple(
                replace(one, person=people.get((one.source, one.track)))
                for one in video.predictions
            ),
        )
        for video in videos
    ]
