"""Where decord has no wheel (64-bit Arm, Apple), PyAV reads every video."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
from drawn_sets import draw_ravdess

from dfercli.artifacts.face_store import read_clips, read_track

WITHOUT = """
import sys
sys.modules["decord"] = None  # an import of it fails, as where it is not installed
from dfercli.cli.app import run
sys.exit(run(sys.argv[1:]))
"""


def preprocess(program: str, video: Path, out: Path) -> None:
    options = ("--detector", "haar", "--size", "64", "--workers", "0", "--quiet")
    command = [sys.executable, "-c", program, "preprocess", str(video), "--out", str(out), *options]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""


def test_faces_are_the_same_without_decord(tmp_path):
    video = draw_ravdess(tmp_path / "videos", [1], num_frames=6)[0]
    preprocess(WITHOUT, video, tmp_path / "without")
    preprocess(WITHOUT.replace('sys.modules["decord"] = None', "pass"), video, tmp_path / "with")
    (clip,) = read_clips(tmp_path / "without")
    assert clip == read_clips(tmp_path / "with")[0]
    one, other = (read_track(tmp_path / store, clip.clip_id) for store in ("without", "with"))
    assert one.frame_index.tolist() == other.frame_index.tolist()
    assert np.abs(one.box_xyxy_px - other.box_xyxy_px).max() < 2
    dataset = json.loads((tmp_path / "without" / "dataset.json").read_text())
    assert "av" in dataset["versions"]
