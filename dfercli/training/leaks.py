"""Before a training: refuse a test on clips that are trained on, too."""

from dataclasses import replace

from lightning_fabric import Fabric

from dfercli.config import TrainConfig
from dfercli.data.duplicates import contents_of
from dfercli.data.fold_clips import FoldClips
from dfercli.data.folds import dataset_kind
from dfercli.data.leaks import Leaks, find_leaks
from dfercli.errors import DataError, DferError
from dfercli.inference.collectives import first_failure
from dfercli.progress import Progress


def refuse_leaks(
    config: TrainConfig, clips: FoldClips, fabric: Fabric, progress: Progress
) -> FoldClips:
    """Look for clips of the test that are trained on, too.

    Published lists stay as they are: `dfer data check --duplicates` says what they share.

    Returns:
        The clips; with `allow_leak` their name says how many leak.

    Raises:
        DataError: there are such clips, and no leak is allowed.
    """
    if not _is_own(config, clips) or clips.calibrated or not clips.test:
        return clips
    error: DferError | None = None
    found: Leaks | None = None
    if fabric.is_global_zero:
        try:
            found = _look(clips, progress)
            if found.test_clips and not config.data.allow_leak:
                raise DataError(
                    f"{clips.test_name}: {len(found.test_clips)} of {len(clips.test)} clips are "
                    f"trained on, too: {found.describe()}",
                    hint="test on other people and videos; or go on with --allow-leak, and the "
                    "result says nothing about new clips",
                )
        except DferError as caught:
            error = caught
    if failure := first_failure(fabric, error):
        raise failure
    leaked = fabric.broadcast(0 if found is None else len(found.test_clips))
    if not leaked:
        return clips
    if found is not None:
        progress.note(f"leak allowed: {found.describe()}")
    name = f"{clips.test_name}, of which {leaked} of {len(clips.test)} are trained on, too"
    return replace(clips, test_name=name)


def _is_own(config: TrainConfig, clips: FoldClips) -> bool:
    if config.data.test is not None:
        return dataset_kind(config.dataset) != "benchmark"
    return dataset_kind(config.dataset) in ("store", "list", "lists") and not clips.fold.benchmark


def _look(clips: FoldClips, progress: Progress) -> Leaks:
    train = [*clips.train] if clips.selected else [*clips.train, *clips.held_out]
    both = [*train, *clips.test]
    with progress.task("looking for leaks", total=len(both)) as task:
        contents = contents_of(both, lambda: task.advance(), progress.note)
    parts = contents[: len(train)], contents[len(train) :]
    found = find_leaks(train, clips.test, *parts)
    if clips.fold.test:  # a split of one data set by subject: two people may share a video
        found = replace(found, sources=())
        concerned = {pair[1] for pair in found.content}
        concerned |= {c.clip_id for c in clips.test if c.subject in found.subjects}
        found = replace(found, test_clips=tuple(sorted(concerned)))
    return found
