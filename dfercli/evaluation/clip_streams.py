"""The streams that a model uses besides the frames, and their readers."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from dfercli.artifacts.captions import CAPTIONS_FILE, CaptionRow, read_captions
from dfercli.artifacts.parts_record import parts_made
from dfercli.config import Stream
from dfercli.data.clips import Clip
from dfercli.data.streams import StreamReader
from dfercli.descriptions.leaks import LeakGuard, path_pattern, word_pattern
from dfercli.models.clip_text import tokenize_captions
from dfercli.models.method import FRAMES, Method
from dfercli.progress import Progress

Note = Callable[[str], None]


def available_streams(clips: Sequence[Clip], folder: Path | None) -> tuple[Stream, ...]:
    """The frames, and each further stream that at least one of the clips has."""
    captions = _captions(clips, folder)
    there: dict[Stream, bool] = {
        "frames": True,
        "landmarks": _any_has("landmarks", clips, folder),
        "parsing": _any_has("parsing", clips, folder),
        "regions": _any_has("regions", clips, folder),
        "captions": any(clip.clip_id in captions for clip in clips),
    }
    return tuple(name for name, found in there.items() if found)


def how_made(names: Sequence[str], clips: Sequence[Clip], folder: Path | None) -> dict[str, str]:
    """How the streams of clips were made, if recorded; for captions, by which LLM.

    Raises:
        ArtifactError: a broken record.
    """
    stores = sorted({clip.store for clip in clips if clip.store is not None})
    ways: dict[str, list[str]] = {}
    for store in stores if folder is None else [folder]:
        for name, how in parts_made(store).items():
            if name in names and how not in ways.setdefault(name, []):
                ways[name].append(how)
    if "captions" in names:
        ways["captions"] = sorted({row.model for row in _rows(clips, folder).values()})
    return {name: " and ".join(hows) for name, hows in sorted(ways.items()) if hows}


def tell_of_other_making(made: Mapping[str, str], now: Mapping[str, str], note: Note) -> None:
    """Print one line about streams that were made in another way than in training."""
    others = [
        f"{name} by {how}, in training by {made[name]}"
        for name, how in sorted(now.items())
        if made.get(name, how) != how
    ]
    if others:
        note(f"streams made in another way: {'; '.join(others)}")


def stream_reader(
    module: Method,
    clips: Sequence[Clip],
    label_set: Sequence[str],
    folder: Path | None,
    progress: Progress,
) -> StreamReader:
    """Make the reader of the streams that a model uses.

    Words in a caption that name a class, or the clip's path, are masked.

    Args:
        module: The model.
        clips: The clips.
        label_set: Class names.
        folder: Folder with `landmarks/`, `parsing/` and `captions.jsonl` by clip; None for the face
            store that the clips lie in.
        progress: Where to report masked captions.

    Raises:
        DataError: a broken file of captions.
    """
    names = tuple(name for name in module.streams if name != FRAMES)
    if "captions" not in names:
        return StreamReader(names, folder)
    words = word_pattern(label_set)
    captions, masked = {}, 0
    for clip_id, caption in _captions(clips, folder).items():
        guard = LeakGuard(words, path_pattern([clip_id]))
        captions[clip_id], found = guard.mask(caption)
        masked += found > 0
    if masked:
        progress.note(f"{masked} captions named a class or their clip: the words are masked")
    tokens = {}
    if captions:
        rows = tokenize_captions(list(captions.values()), module.clip.context_length)
        tokens = dict(zip(captions, rows, strict=True))
    return StreamReader(names, folder, tokens)


def _any_has(name: str, clips: Sequence[Clip], folder: Path | None) -> bool:
    reader = StreamReader((name,), folder)
    return any(reader.has(name, clip) for clip in clips)


def _captions(clips: Sequence[Clip], folder: Path | None) -> dict[str, str]:
    """Clip -> caption, of the clips that have one."""
    return {clip_id: row.caption for clip_id, row in _rows(clips, folder).items()}


def _rows(clips: Sequence[Clip], folder: Path | None) -> dict[str, CaptionRow]:
    stores = sorted({clip.store for clip in clips if clip.store is not None})
    folders = stores if folder is None else [folder]
    wanted = {clip.clip_id for clip in clips}
    return {
        clip_id: row
        for store in folders
        if (store / CAPTIONS_FILE).is_file()
        for clip_id, row in read_captions(store).items()
        if clip_id in wanted
    }
