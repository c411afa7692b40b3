"""The display of a video's result in a notebook."""

import base64
from html import escape
from typing import TYPE_CHECKING

from dfercli.report.pages import clock
from dfercli.report.timeline import called
from dfercli.report.timeline_plot import plot_timeline, png_of

if TYPE_CHECKING:
    from dfercli.report.video_prediction import Moment, VideoPrediction

MOST_THUMBNAILS = 8
MOST_GAPS = 5


def notebook_html(video: "VideoPrediction") -> str:
    """The timeline as a picture, the strongest moments as thumbnails, gaps and failures as text."""
    picture = base64.b64encode(png_of(plot_timeline(video))).decode()
    faces = len(video.timelines())
    words = f"{escape(_plain(video.source))}: {faces} face{'s' if faces != 1 else ''}"
    parts = [
        f'<img alt="Timeline of {words}" style="max-width:100%" '
        f'src="data:image/png;base64,{picture}">'
    ]
    if video.moments:
        shown = video.moments[:MOST_THUMBNAILS]
        thumbnails = "".join(_thumbnail(one, video.people.get(one.track)) for one in shown)
        parts.append(f'<div style="display:flex;flex-wrap:wrap;gap:8px">{thumbnails}</div>')
    parts += [f"<p>{escape(_plain(line))}</p>" for line in _lines(video)]
    return f"<div>{''.join(parts)}</div>"


def _thumbnail(moment: "Moment", person: str | None) -> str:
    said = escape(
        f"{called(person, moment.track)}, {clock(moment.seconds)}: {moment.label} "
        f"{100 * moment.confidence:.0f} %"
    )
    jpeg = base64.b64encode(moment.jpeg).decode()
    return (
        '<figure style="margin:0;width:112px;font-size:11px">'
        f'<img alt="{said}" width="112" src="data:image/jpeg;base64,{jpeg}">'
        f"<figcaption>{said}</figcaption></figure>"
    )


def _lines(video: "VideoPrediction") -> list[str]:
    lines = []
    if video.gaps:
        shown = [
            f"{clock(start)} to {clock(end)} ({reason})"
            for (start, end), reason in zip(video.gaps[:MOST_GAPS], video.reasons(), strict=False)
        ]
        more = len(video.gaps) - MOST_GAPS
        lines.append(f"No face seen from {', '.join(shown)}{f' and {more} more' * (more > 0)}")
    if video.failure is not None:
        lines.append(f"Failed ({video.failure.stage}): {video.failure.reason}")
    return [*lines, *video.remarks]


def _plain(text: str) -> str:
    """Text for any encoding: halves of surrogate pairs, from names of files, are spelt out."""
    return text.encode("utf-8", "backslashreplace").decode()
