"""The clips of one fold, ready to be read."""

from dataclasses import dataclass

from dfercli.data.loading import ClipDataset


@dataclass(frozen=True)
class FoldData:
    """The clips of one fold as data sets.

    Attributes:
        train: With augmentation.
        held_out: The clips that choose the checkpoint: the validation part, or the test list for
            `best-on-test`; None if nothing is chosen.
        held_out_name: `validation` or `test`.
    """

    train: ClipDataset
    held_out: ClipDataset | None
    held_out_name: str
