"""The command lines that read each artefact, given its place and the folder of seeds."""

from collections.abc import Callable
from pathlib import Path

from fuzzing.seeds import PREPROCESS, TRAIN, journal_command

Commands = Callable[[Path, Path], list[tuple[str, ...]]]


def _predict(faces: Path, checkpoint: Path) -> tuple[str, ...]:
    return (
        *("predict", str(faces), "--checkpoint", str(checkpoint), "--device", "cpu"),
        *("--workers", "0", "--out", "x.csv", "--html", "x.html", "--quiet"),
    )


def _train(faces: Path, *more: str) -> tuple[str, ...]:
    return ("train", str(faces), "--test", str(faces), "--out", "runs", *TRAIN, *more)


def store(faces: Path, seeds: Path) -> list[tuple[str, ...]]:
    """Read a face store."""
    return [
        ("data", "check", str(faces)),
        ("data", "check", str(faces), "--deep", "--json"),
        ("data", "merge", str(faces), str(seeds / "faces"), "--out", "merged"),
        _predict(faces, seeds / "checkpoint"),
        _train(faces),
        ("eval", str(seeds / "checkpoint"), str(faces), "--out", "e", "--workers", "0"),
    ]


def made_again(faces: Path, seeds: Path) -> list[tuple[str, ...]]:
    """Add sources to a face store that it holds already."""
    return [("preprocess", str(faces.parent / "videos"), "--out", str(faces), *PREPROCESS)]


def streams(faces: Path, seeds: Path) -> list[tuple[str, ...]]:
    """Read the files beside the crops."""
    fine = _train(faces, "--method", "finecliper", "--clip", "tiny-vit/random", "--streams")
    return [
        (*fine, "frames,landmarks,parsing,captions"),
        ("data", "check", str(faces), "--deep"),
        ("data", "merge", str(faces), str(seeds / "faces"), "--out", "merged"),
    ]


def captions(faces: Path, seeds: Path) -> list[tuple[str, ...]]:
    """Read captions, too."""
    caption = ("describe", str(faces), "--model", "m", "--dry-run", "--max-requests", "2")
    return [*streams(faces, seeds), caption]


def model(path: Path, seeds: Path) -> list[tuple[str, ...]]:
    """Read a checkpoint."""
    return [
        ("info", str(path)),
        ("info", str(path), "--json"),
        _predict(seeds / "faces", path),
        ("eval", str(path), str(seeds / "faces"), "--out", "e", "--workers", "0"),
        ("export", str(path), "--out", "m.torchscript", "--format", "torchscript"),
    ]


def published(path: Path, seeds: Path) -> list[tuple[str, ...]]:
    """Read a published checkpoint."""
    return [
        ("info", str(path)),
        ("convert", str(path), "--out", "converted", "--check"),
        _predict(seeds / "faces", path),
    ]


def exported(path: Path, seeds: Path) -> list[tuple[str, ...]]:
    """Read an exported model."""
    return [("info", str(path)), _predict(seeds / "faces", path)]


def resumed(run: Path, seeds: Path) -> list[tuple[str, ...]]:
    """Resume a run."""
    return [("train", "--resume", str(run), "--quiet")]


def run(run: Path, seeds: Path) -> list[tuple[str, ...]]:
    """Read a run."""
    runs = str(run.parent)
    return [
        ("results", runs),
        ("results", runs, "--format", "csv"),
        ("results", runs, "--json"),
        ("results", str(run), str(seeds / "runs" / "first"), "--paired"),
        ("info", str(run)),
        ("eval", str(run), "--out", "e", "--workers", "0"),
        ("predict", str(seeds / "faces"), "--runs", runs, "--out", "x.csv", "--quiet"),
        ("train", "--resume", str(run), "--quiet"),
    ]


def texts(path: Path, seeds: Path) -> list[tuple[str, ...]]:
    """Read descriptions."""
    faces = seeds / "faces"
    good = str(seeds / "texts" / "texts.json")
    zero_shot = ("--clip", "tiny/random", "--labels", str(path), "--out", "x.csv", "--quiet")
    return [
        ("describe", "--diff", str(path), good),
        _train(faces, "--descriptions", str(path)),
        ("predict", str(faces), *zero_shot),
        (
            *("eval", str(seeds / "checkpoint"), str(faces), "--classes", "open"),
            *("--descriptions", str(path), "--out", "e", "--workers", "0"),
        ),
    ]


def classes(path: Path, seeds: Path) -> list[tuple[str, ...]]:
    """Read a list of classes."""
    return [
        ("describe", "--classes", str(path), "--style", "name"),
        ("describe", "--classes", str(path), "--style", "name", "--show"),
        ("describe", "--classes", str(path), "--model", "m", "--dry-run"),
    ]


def template(path: Path, seeds: Path) -> list[tuple[str, ...]]:
    """Read an LLM prompt."""
    classes = str(seeds / "texts" / "classes.txt")
    return [("describe", "--classes", classes, "--model", "m", "--prompt", str(path), "--dry-run")]


def labels(path: Path, seeds: Path) -> list[tuple[str, ...]]:
    """Read a table of labels."""
    videos = str(seeds / "videos")
    labels = ("--labels", str(path))
    return [
        ("preprocess", videos, "--out", "faces", *PREPROCESS, *labels),
        (
            "preprocess",
            videos,
            "--out",
            "f",
            *PREPROCESS,
            *labels,
            "--classes",
            "happiness,sadness",
        ),
    ]


def benchmark(name: str) -> Commands:
    """Read the lists of a benchmark."""

    def commands(root: Path, seeds: Path) -> list[tuple[str, ...]]:
        return [("data", "check", name, "--root", str(root), "--subset")]

    return commands


def own_list(root: Path, seeds: Path) -> list[tuple[str, ...]]:
    """Read a list file and an order of labels."""
    order = ("--label-order", str(root / "order.txt"))
    return [
        ("data", "check", str(root / "train.txt"), "--root", str(root), *order),
        _train(root / "train.txt", "--root", str(root), *order),
    ]


def settings(path: Path, seeds: Path) -> list[tuple[str, ...]]:
    """Read settings."""
    config = ("--config", str(path))
    video = str(seeds / "videos" / "happiness" / "p0.mp4")
    checkpoint = ("--checkpoint", str(seeds / "checkpoint"))
    return [
        ("predict", video, *checkpoint, "--detector", "haar", *config),
        ("preprocess", video, *config),
        ("train", str(seeds / "faces"), "--out", "runs", *TRAIN, *config),
    ]


def recipe(path: Path, seeds: Path) -> list[tuple[str, ...]]:
    """Read a recipe."""
    return [("train", str(seeds / "faces"), "--recipe", str(path), "--out", "runs", *TRAIN)]


def sweep(path: Path, seeds: Path) -> list[tuple[str, ...]]:
    """Read a sweep."""
    return [("sweep", str(path), "--quiet")]


def journal(folder: Path, seeds: Path) -> list[tuple[str, ...]]:
    """Resume a stopped prediction."""
    return [journal_command(seeds)]


def features(folder: Path, seeds: Path) -> list[tuple[str, ...]]:
    """Train on cached features."""
    frozen = ("--freeze-image", "--cache-features", "--features-in", str(folder))
    return [_train(seeds / "faces", *frozen)]


def llm_cache(folder: Path, seeds: Path) -> list[tuple[str, ...]]:
    """Read cached answers."""
    cache = ("--cache", str(folder))
    classes = ("--classes", str(seeds / "texts" / "classes.txt"), "--model", "m")
    return [
        ("describe", *classes, *cache, "--timeout", "2", "--max-retries", "0"),
        ("describe", "--cache-info", *cache),
        ("describe", "--cache-clear", *cache),
    ]


def detector(path: Path, seeds: Path) -> list[tuple[str, ...]]:
    """Load a detector."""
    video = str(seeds / "videos" / "happiness" / "p0.mp4")
    weights = ("--detector", "yunet", "--detector-weights", str(path))
    return [("preprocess", video, "--out", "faces", "--workers", "0", *weights)]
