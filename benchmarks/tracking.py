"""How well people are followed: drawn videos of known people, and real ones counted by eye.

    python benchmarks/tracking.py drawn/ --weights ../shared/weights/yunet_s_640_640.onnx \
        --media ../shared/media/videos --json now.json
    python benchmarks/tracking.py drawn/ ... --against before.json
    python benchmarks/tracking.py drawn/ ... --beside ../another-checkout

Draws missing videos into the folder (two minutes), follows them as `dfer preprocess` does, and
prints a row for each: people, tracks, pieces (tracks beyond the first of a person), switches (a
track that goes on with somebody else), false tracks, share of the visible faces that have a box,
IDF1, and seconds of processor time. `--against` prints the ratio of the processor times to those of
another run; `--beside` only compares processor time with another checkout, video by video in turn,
so other work on the machine affects both.
"""

import argparse
import itertools
import json
import statistics
import tempfile
import time
from dataclasses import asdict
from pathlib import Path

import cv2
from following.measures import Box, Score, Target, score
from following.paired import Checkout, ratio_of
from following.plays import plays
from following.stage import Play, write_play

from dfercli.artifacts.atomic import write_json
from dfercli.artifacts.face_store import ClipRow, read_track
from dfercli.config import PreprocessConfig
from dfercli.preprocessing.run import run
from dfercli.progress import LogProgress

# People in the real videos, counted by eye; in the street only those who face the camera a while.
REAL_PEOPLE = {
    "one_face_expressive_20s.mp4": 1,
    "single_face.mp4": 1,
    "no_face.mp4": 0,
    "face_then_none_vfr.mov": 1,
    "none_then_face_vfr.mov": 1,
    "portrait_9fps.mp4": 1,
    "face_rotated_by_metadata.mp4": 1,
}


def drawn(play: Play, folder: Path) -> tuple[Path, list[list[Target]]]:
    """The video of a play and its truth; draws a missing one."""
    path = folder / f"{play.name}-{play.seed}.mp4"
    truth_path = path.with_suffix(".json")
    if not truth_path.exists():
        truth = write_play(play, path)
        write_json(truth_path, [[asdict(face) for face in faces] for faces in truth])
    return path, [
        [
            Target(tuple(face["identity"]), tuple(face["box_xyxy_px"]), face["visible"])
            for face in faces
        ]
        for faces in json.loads(truth_path.read_text())
    ]


def follow(path: Path, weights: Path, out: Path) -> tuple[list[ClipRow], float]:
    """Preprocess a video; returns its clips and the processor time in seconds."""
    config = PreprocessConfig(
        sources=(str(path),), out=out, detector="yunet", detector_weights=weights, workers=0
    )
    begun = time.process_time()
    result = run(config, LogProgress())
    return list(result.clips), time.process_time() - begun


def boxes_by_frame(store: Path, clips: list[ClipRow], count: int) -> list[dict[int, Box]]:
    """The boxes of all tracks, frame by frame."""
    found: list[dict[int, Box]] = [{} for _ in range(count)]
    for clip in clips:
        track = read_track(store, clip.clip_id)
        for index, box in zip(track.frame_index.tolist(), track.box_xyxy_px.tolist(), strict=True):
            if index < count:
                left, top, right, bottom = box
                found[index][clip.track] = (left, top, right, bottom)
    return found


def row_of(name: str, found: Score, seconds: float, before: float | None) -> str:
    """A line of the table."""
    ratio = f"{seconds / before:5.2f}" if before else "     "
    return (
        f"{name:28} {found.people:3} {found.tracks:3} {found.pieces:3} {found.missed:3} "
        f"{found.switches:3} {found.false_tracks:3} {found.coverage:6.1%} {found.idf1:6.3f} "
        f"{seconds:6.2f} {ratio}  {'whole' if found.is_whole else 'NOT'}"
    )


def compare(arguments: argparse.Namespace) -> None:
    """Print the ratios of this checkout's processor times to another's, and the median."""
    chosen = [play for play in plays() if arguments.only in play.name]
    videos = itertools.chain(
        (arguments.media / name for name in REAL_PEOPLE if arguments.media),
        (drawn(play, arguments.folder)[0] for play in chosen),
    )
    here = Checkout(Path(__file__).parents[1], arguments.weights)
    other = Checkout(arguments.beside, arguments.weights)
    ratios = []
    for video in videos:
        ratios.append(ratio_of(here, other, video, arguments.turns))
        print(f"{video.stem:32} {ratios[-1]:5.2f}", flush=True)
    here.close()
    other.close()
    print(f"processor time, median of {len(ratios)} videos: {statistics.median(ratios):.2f} times")


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "folder", type=Path, help="Folder of the drawn videos; missing ones are drawn."
    )
    parser.add_argument("--weights", type=Path, required=True, help="YuNet's ONNX file.")
    parser.add_argument("--media", type=Path, help="Folder of the real videos.")
    parser.add_argument("--only", default="", help="Only plays whose name contains this.")
    parser.add_argument("--json", type=Path, help="Write the measurements here.")
    parser.add_argument("--against", type=Path, help="Measurements of an earlier run.")
    parser.add_argument(
        "--beside", type=Path, help="Another checkout to compare processor times with."
    )
    parser.add_argument("--turns", type=int, default=2, help="Runs of each video with --beside.")
    arguments = parser.parse_args()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    cv2.setNumThreads(1)
    if arguments.beside:
        compare(arguments)
        return
    before = json.loads(arguments.against.read_text()) if arguments.against else {}
    measured: dict[str, dict[str, object]] = {}
    ratios, whole = [], []
    print(f"{'':28} ppl trk pcs mis swi fls   cover   IDF1  cpu s")
    with tempfile.TemporaryDirectory() as name:
        for play in plays():
            if arguments.only not in play.name:
                continue
            path, truth = drawn(play, arguments.folder)
            store = Path(name) / path.stem
            clips, seconds = follow(path, arguments.weights, store)
            boxes = boxes_by_frame(store, clips, len(truth))
            found = score(truth, boxes, play.fps, (play.width, play.height))
            measured[path.stem] = {**asdict(found), "seconds": seconds}
            earlier = before.get(path.stem, {}).get("seconds")
            ratios += [seconds / earlier] if earlier else []
            whole.append(found.is_whole)
            print(row_of(path.stem, found, seconds, earlier), flush=True)
        for file, people in REAL_PEOPLE.items() if arguments.media else ():
            store = Path(name) / file
            clips, seconds = follow(arguments.media / file, arguments.weights, store)
            frames = sum(clip.num_frames for clip in clips)
            measured[file] = {"tracks": len(clips), "crops": frames, "seconds": seconds}
            earlier = before.get(file, {}).get("seconds")
            ratios += [seconds / earlier] if earlier else []
            ratio = f"{seconds / earlier:.2f} times" if earlier else ""
            print(
                f"{file:32} {people} people, {len(clips)} tracks, {frames} crops, "
                f"{seconds:.2f} s {ratio}",
                flush=True,
            )
    if whole:
        print(f"whole: {sum(whole)} of {len(whole)} drawn videos ({sum(whole) / len(whole):.0%})")
    if ratios:
        print(f"processor time, median of the videos: {statistics.median(ratios):.2f} times")
    if arguments.json:
        write_json(arguments.json, measured)


if __name__ == "__main__":
    main()
