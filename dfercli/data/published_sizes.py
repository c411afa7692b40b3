"""The sizes that the owners of the benchmarks publish: folds, classes and short clips.

Sources: the papers and read-me files of DFEW (Jiang et al., ACM MM 2020), FERV39k (Wang et al.,
CVPR 2022) and MAFW (Liu et al., ACM MM 2022), counted on the published lists.
"""

from dataclasses import dataclass

BENCHMARKS = ("dfew", "ferv39k", "mafw")


@dataclass(frozen=True)
class PublishedTotals:
    """The size of a benchmark as it is published.

    Attributes:
        num_clips: Clips in the train and test list of any fold together.
        label_counts: Clips of each class.
        fold_sizes: (train, test) clips of each fold.
        short_clips: Clips of fewer than 16 frames; None where nobody counted them.
    """

    num_clips: int
    label_counts: dict[str, int]
    fold_sizes: tuple[tuple[int, int], ...]
    short_clips: int | None


TOTALS = {
    "dfew": PublishedTotals(
        num_clips=11697,
        label_counts={
            "happiness": 2445,
            "sadness": 1894,
            "neutral": 2669,
            "anger": 2173,
            "surprise": 1469,
            "disgust": 145,
            "fear": 902,
        },
        fold_sizes=((9356, 2341), (9356, 2341), (9357, 2340), (9358, 2339), (9361, 2336)),
        short_clips=14,
    ),
    "ferv39k": PublishedTotals(
        num_clips=38935,
        label_counts={
            "happiness": 7327,
            "sadness": 6916,
            "neutral": 9748,
            "anger": 7393,
            "surprise": 3140,
            "disgust": 2300,
            "fear": 2111,
        },
        fold_sizes=((31088, 7847),),
        short_clips=4070,
    ),
    "mafw": PublishedTotals(
        num_clips=9172,
        label_counts={
            "sadness": 1470,
            "anger": 1390,
            "happiness": 1242,
            "neutral": 1138,
            "surprise": 1072,
            "anxiety": 916,
            "disgust": 639,
            "fear": 625,
            "helplessness": 262,
            "contempt": 236,
            "disappointment": 182,
        },
        fold_sizes=((7333, 1839), (7335, 1837), (7339, 1833), (7340, 1832), (7341, 1831)),
        short_clips=None,
    ),
}
