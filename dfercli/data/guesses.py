"""Guess the cause of what a check found."""

from collections import Counter
from collections.abc import Sequence

from dfercli.data.clips import Clip
from dfercli.data.published_sizes import PublishedTotals

FRAMES_PER_CLIP = 16
MOST_NAMES = 5


def guess_missing(clips: Sequence[Clip], missing: Sequence[Clip], frame_source: str) -> str | None:
    """Guess why clips are missing: all of them, all of one folder, or all after a certain one."""
    if not missing:
        return None
    if len(missing) == len(clips):
        return f"{frame_source} is not the folder that the lists refer to: try --frames or --root"
    folders = {clip.location.parent for clip in missing}
    there = {clip.location.parent for clip in clips} - folders
    if len(missing) > 1 and there and not any(folder.exists() for folder in folders):
        names = ", ".join(sorted(folder.name for folder in folders)[:MOST_NAMES])
        return f"whole folders are missing ({names}): an archive was not unpacked"
    present = {clip.clip_id for clip in clips} - {clip.clip_id for clip in missing}
    if len(missing) > 1 and min(clip.clip_id for clip in missing) > max(present):
        return f"everything after {max(present)} is missing: unpacking stopped there"
    return "they were lost in unpacking or copying, or no face was found in them"


def guess_short(short: int, clips: int, totals: PublishedTotals | None) -> str | None:
    """Guess why more clips are short than were published."""
    if short == 0:
        return None
    if totals is not None and totals.short_clips is not None:
        usual = totals.short_clips / totals.num_clips
        if short / clips > 2 * usual:
            return (
                f"published are {totals.short_clips} of {totals.num_clips}: frames were lost, or "
                "videos were sampled at a lower rate"
            )
    return None


def are_padded(differing: Sequence[tuple[Clip, int]]) -> bool:
    """Whether all these clips are short ones that their list counts as if they were padded."""
    return all(
        found < FRAMES_PER_CLIP and clip.listed_frames == FRAMES_PER_CLIP
        for clip, found in differing
    )


def guess_counts(differing: Sequence[tuple[Clip, int]]) -> str | None:
    """Guess why clips, given with their number of frames on disk, differ from their list."""
    if not differing:
        return None
    differences = Counter(found - (clip.listed_frames or 0) for clip, found in differing)
    usual, times = differences.most_common(1)[0]
    if are_padded(differing):
        return f"the list was made after short clips had been padded to {FRAMES_PER_CLIP} on disk"
    if len(differing) > 1 and times == len(differing):
        return f"each has {usual:+d} against its list: the frames were extracted in another way"
    if all(found == FRAMES_PER_CLIP for _, found in differing) and len(differing) > 1:
        return f"this is the version of the data with {FRAMES_PER_CLIP} frames per clip"
    return "frames were lost, or extracted at another rate than those the list was made from"
