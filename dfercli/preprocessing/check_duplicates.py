"""`dfer data check --duplicates` and `--test`: clips that show the same, and what they leak."""

from collections.abc import Sequence

from dfercli.data.check import Finding, named_finding
from dfercli.data.clips import Clip, Fold
from dfercli.data.duplicates import contents_of, same_content
from dfercli.data.leaks import find_leaks
from dfercli.progress import Progress


def find_duplicates(
    folds: Sequence[Fold], clips: Sequence[Clip], *, published: bool, progress: Progress
) -> list[Finding]:
    """Find pairs of clips that show the same, and those of them that train and test share.

    Args:
        folds: The folds.
        clips: Every clip of them once.
        published: Whether the lists are published ones, which nobody can change: then these are
            notes, not faults.
        progress: Where to report.
    """
    with progress.task("Hashing clips", total=len(clips)) as task:
        contents = contents_of(clips, lambda: task.advance(), progress.note)
    pairs = [(clips[i].clip_id, clips[j].clip_id) for i, j in same_content(contents)]
    across = []
    for fold in folds:
        part = {clip.clip_id: "train" for clip in fold.train}
        part |= {clip.clip_id: "test" for clip in fold.test}
        across += [
            f"{one} = {other} (fold {fold.fold})"
            for one, other in pairs
            if {part.get(one), part.get(other)} == {"train", "test"}
        ]
    return [
        *named_finding(
            "content",
            "pairs of clips show the same",
            [f"{one} = {other}" for one, other in pairs],
            is_fault=not published,
        ),
        *named_finding(
            "content-leak",
            "such pairs are in train and test at once",
            across,
            is_fault=not published,
        ),
        *_without_hash(clips, [content is None for content in contents]),
    ]


def find_shared(clips: Sequence[Clip], tested: Sequence[Clip], progress: Progress) -> list[Finding]:
    """Find what a data set shares with its future test set."""
    both = [*clips, *tested]
    with progress.task("Hashing clips", total=len(both)) as task:
        contents = contents_of(both, lambda: task.advance(), progress.note)
    found = find_leaks(clips, tested, contents[: len(clips)], contents[len(clips) :])
    pairs = [f"{one} = {other}" for one, other in found.content]
    return [
        *named_finding("subject-leak", "subjects are in both data sets", found.subjects),
        *named_finding("source-leak", "sources are in both data sets", found.sources),
        *named_finding("content-leak", "pairs of clips of both show the same", pairs),
    ]


def _without_hash(clips: Sequence[Clip], absent: Sequence[bool]) -> list[Finding]:
    names = [clip.clip_id for clip, is_absent in zip(clips, absent, strict=True) if is_absent]
    message = "clips are flat or cannot be read, and were not compared"
    return named_finding("no-content", message, names, is_fault=False)
