"""Find clips that show the same: copies that were renamed, recompressed or slightly moved.

Three frames of a clip are hashed: the signs of the lowest 255 cosine frequencies of the grey
picture, against their median (a perceptual hash of 16 x 16; Zauner 2010). Compressing a picture
again changes few of them. Moving it changes many, so each clip is also
hashed moved by two pixels in eight directions, and the nearest counts. Two clips show the same
if all three frames differ in at most a fifth of the signs: copies at JPEG quality 70, moved by
two pixels, differ in up to a twelfth at 224 pixels, two clips of one drawn person in more than a
quarter.

The package imagehash has the same hash without the shifts, but needs Pillow and PyWavelets; here
OpenCV, which decodes the frames anyway, computes the cosine transform.
"""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from dfercli.artifacts.content_hashes import ClipContent, read_contents, write_contents
from dfercli.data.clips import Clip
from dfercli.data.frames import list_frames
from dfercli.data.loading import read_frame
from dfercli.errors import ArtifactError, DataError, TooLargeError

SIDE = 16  # cosine frequencies in each direction
SMALL = 64  # pixels of the scaled picture
NUM_FRAMES = 3
SHIFT = 2  # pixels
SHIFTS = tuple((x, y) for x in (0, -SHIFT, SHIFT) for y in (0, -SHIFT, SHIFT))
SHAPE = (len(SHIFTS), NUM_FRAMES, SIDE * SIDE // 64)
MOST_DIFFERENT = (SIDE * SIDE - 1) // 5
FLAT = 3.0  # deviation in grey levels below which a picture shows nothing
BLOCK = 256
THREADS = 4


def contents_of(
    clips: Sequence[Clip],
    advance: Callable[[], None] = lambda: None,
    note: Callable[[str], None] = lambda _: None,
) -> list[NDArray[np.uint64] | None]:
    """The hashes of clips, (S, F, W) each; None where frames show nothing or cannot be read.

    A face store keeps the hashes of its clips in `content.jsonl`.

    Args:
        clips: The clips.
        advance: Called after each clip.
        note: Gets a line if a store cannot be written.
    """
    stores = {clip.store for clip in clips if clip.store is not None}
    known: dict[Path, dict[str, ClipContent]] = {
        store: read_contents(store, SHAPE) for store in stores
    }
    before = {store: dict(contents) for store, contents in known.items()}

    def look(clip: Clip) -> ClipContent:
        kept = known[clip.store].get(clip.clip_id) if clip.store is not None else None
        return _hash_clip(clip, kept)

    found = []
    pool = ThreadPoolExecutor(THREADS)
    try:
        for clip, content in zip(clips, pool.map(look, clips), strict=True):
            if clip.store is not None:
                before[clip.store][clip.clip_id] = content
            found.append(content.hashes)
            advance()
    finally:
        pool.shutdown(cancel_futures=True)
    for store, contents in before.items():
        if any(content is not known[store].get(name) for name, content in contents.items()):
            try:
                write_contents(store, [contents[name] for name in sorted(contents)])
            except ArtifactError as error:
                note(f"hashes of clips are not kept: {error.message}")
    return found


def same_content(
    first: Sequence[NDArray[np.uint64] | None],
    second: Sequence[NDArray[np.uint64] | None] | None = None,
) -> list[tuple[int, int]]:
    """The pairs of clips that show the same, by position.

    Args:
        first: Hashes of clips.
        second: Hashes of other clips; None compares the first with one another, each pair once.
    """
    rows, moved = _stacked(first)
    columns, still = (rows, moved) if second is None else _stacked(second)
    if not len(rows) or not len(columns):
        return []
    still = np.ascontiguousarray(still[:, 0])  # (M, F, W), not moved
    pairs: list[tuple[int, int]] = []
    for start in range(0, len(rows), BLOCK):
        block = moved[start : start + BLOCK]
        for row, column in _near(block, still):
            if second is not None or start + row < column:
                pairs.append((int(rows[start + row]), int(columns[column])))
    return sorted(set(pairs))


def _near(block: NDArray[np.uint64], still: NDArray[np.uint64]) -> Iterator[tuple[int, int]]:
    """Pairs of a block (B, S, F, W) and all clips (M, F, W) that are near at some shift."""
    for shift in range(block.shape[1]):
        # The first frame rules out nearly all pairs; the others count only if it is near.
        candidates = _distance(block[:, None, shift, 0], still[None, :, 0]) <= MOST_DIFFERENT
        ours, theirs = np.nonzero(candidates)
        for frame in range(1, block.shape[2]):
            apart = _distance(block[ours, shift, frame], still[theirs, frame])
            ours, theirs = ours[apart <= MOST_DIFFERENT], theirs[apart <= MOST_DIFFERENT]
        yield from zip(ours.tolist(), theirs.tolist(), strict=True)


def _distance(first: NDArray[np.uint64], second: NDArray[np.uint64]) -> NDArray[np.uint16]:
    """How many bits differ, over the words of the last axis; word by word, which saves memory."""
    total = np.bitwise_count(first[..., 0] ^ second[..., 0]).astype(np.uint16)
    for word in range(1, first.shape[-1]):
        total += np.bitwise_count(first[..., word] ^ second[..., word])
    return np.asarray(total)


def _stacked(
    contents: Sequence[NDArray[np.uint64] | None],
) -> tuple[NDArray[np.int64], NDArray[np.uint64]]:
    """Positions of the clips that have hashes, (N,), and these, (N, S, F, W)."""
    there = [index for index, content in enumerate(contents) if content is not None]
    if not there:
        return np.zeros(0, np.int64), np.zeros((0, *SHAPE), np.uint64)
    return np.array(there), np.stack([contents[index] for index in there])  # type: ignore[misc]


def _hash_clip(clip: Clip, kept: ClipContent | None) -> ClipContent:
    try:
        paths = list_frames(clip.location)
        chosen = [
            paths[(2 * part + 1) * len(paths) // (2 * NUM_FRAMES)] for part in range(NUM_FRAMES)
        ]
        states = [path.stat() for path in chosen]
        facts = [
            f"{path.name} {state.st_size} {state.st_mtime_ns}"
            for path, state in zip(chosen, states, strict=True)
        ]
        made_from = f"{len(paths)} frames: {', '.join(facts)}"
        if kept is not None and kept.made_from == made_from:
            return kept
        hashes = [_hash_picture(read_frame(path)) for path in chosen]
    except (DataError, TooLargeError, OSError, IndexError):
        # The loader reports a damaged clip; here it only resembles nothing.
        return ClipContent(clip.clip_id, "nothing that can be read", None)
    if any(one is None for one in hashes):
        return ClipContent(clip.clip_id, made_from, None)
    stacked = np.stack([one for one in hashes if one is not None], axis=1)  # (S, F, W)
    return ClipContent(clip.clip_id, made_from, stacked)


def _hash_picture(image: NDArray[np.uint8]) -> NDArray[np.uint64] | None:
    """The hashes of a picture (H, W, 3) at each shift, (S, W) uint64; None where it is flat."""
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    if float(grey.std()) < FLAT:
        return None
    height, width = grey.shape
    padded = cv2.copyMakeBorder(grey, *(SHIFT,) * 4, cv2.BORDER_REPLICATE)
    hashes = []
    for x, y in SHIFTS:
        moved = padded[SHIFT + y : SHIFT + y + height, SHIFT + x : SHIFT + x + width]
        small = cv2.resize(moved, (SMALL, SMALL), interpolation=cv2.INTER_AREA)
        lowest = cv2.dct(small.astype(np.float32))[:SIDE, :SIDE].ravel()
        bits = lowest > np.median(lowest[1:])
        bits[0] = False  # the mean brightness says nothing
        hashes.append(np.packbits(bits).view(np.uint64))
    return np.stack(hashes)
