"""`dfer predict` and `dfer preprocess` on a cluster of two nodes, of which one is killed.

The tests share the cluster; the last one kills a node of it.
"""

import os
import shutil
import time

import numpy as np
import pandas as pd
import pytest
from drawn_videos import FPS, write_drawn_video
from in_workers import set_up_that_dies, set_up_trouble
from toy_model import write_toy_checkpoint

from dfercli.artifacts.bug_log import BugLog
from dfercli.artifacts.face_store import read_clips, read_failures, read_track
from dfercli.cli.app import run
from dfercli.config import PreprocessConfig
from dfercli.preprocessing import engines, ray_engine, stretched
from dfercli.preprocessing import run as preprocess_run
from dfercli.preprocessing.engines import do_jobs
from dfercli.preprocessing.held_crops import HeldCrops
from dfercli.preprocessing.ray_engine import joined_cluster
from dfercli.preprocessing.worker_pool import Advanced, Finished, Lost
from dfercli.video import stretches
from dfercli.video.decode import VideoReader
from dfercli.video.write import write_video

CROP = {"size": 80, "margin": 0.0, "align": "square", "detector": "haar"}
OPTIONS = ("--detector", "haar", "--quiet", "--min-face", "60")
NUM_SOURCES = 5
LONG, NUM_STRETCHES = "00-long.mp4", 4


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    return write_toy_checkpoint(tmp_path_factory.mktemp("model") / "checkpoint", crop=CROP)


@pytest.fixture(scope="module")
def videos(tmp_path_factory):
    folder = tmp_path_factory.mktemp("videos")
    first = write_drawn_video(folder / "1.mp4", seconds=3.0)
    for number in range(2, NUM_SOURCES):
        shutil.copy(first, folder / f"{number}.mp4")
    there = [frame.image.copy() for frame in VideoReader(first)]
    back_and_forth = [*there, *there[::-1]] * 2  # nothing jumps
    write_video(folder / LONG, back_and_forth, FPS, gop_seconds=0.25)
    return folder


@pytest.fixture
def short_stretches(monkeypatch):
    """Cut the longest of the videos, though it lasts no two minutes."""
    monkeypatch.setattr(stretched, "LONG_SECONDS", 3.1)
    monkeypatch.setattr(stretches, "SHORTEST", 2.0)


@pytest.fixture(scope="module")
def cluster():
    """Two nodes that were started on their own; their workers find the modules of the tests."""
    pytest.importorskip("ray", reason="extra dfercli[ray]")
    from ray.cluster_utils import Cluster

    paths = os.pathsep.join([os.path.dirname(__file__), os.environ.get("PYTHONPATH", "")])
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", paths)
        nodes = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "num_gpus": 1})
        nodes.second = nodes.add_node(num_cpus=1)
        nodes.wait_for_nodes()
        yield nodes
        nodes.shutdown()


def dfer(*arguments, code=0):
    assert run([*map(str, arguments), *OPTIONS]) == code


def tracks_of(store):
    return {clip.clip_id: read_track(store, clip.clip_id) for clip in read_clips(store)}


@pytest.mark.usefixtures("short_stretches")
def test_stretches_are_what_local_workers_make_or_a_failure(
    videos, cluster, tmp_path, monkeypatch, capfd
):
    video = videos / LONG
    assert len(stretches.cut_into_stretches(video, NUM_STRETCHES, 10**7)) == NUM_STRETCHES
    here, there = tmp_path / "here", tmp_path / "there"
    ray = ("--engine", "ray", "--ray-address", cluster.address)
    command = ("preprocess", video, "--workers", 2, "--out")
    with monkeypatch.context() as patch:
        patch.setattr(preprocess_run, "set_up_sources", set_up_that_dies)
        dfer(*command, there, *ray, code=3)
    (failure,) = read_failures(there)
    assert failure.stage == "worker"
    assert failure.reason.startswith("its worker process died")
    assert not tracks_of(there)
    assert not list((there / "frames").iterdir())
    assert "raylet" not in capfd.readouterr().out

    dfer(*command, there, *ray)
    monkeypatch.setattr(engines, "num_workers", lambda config, jobs: 0)  # in this process
    dfer(*command, here)
    mine, others = tracks_of(there), tracks_of(here)
    assert list(mine) == list(others)
    assert len(mine) == 1
    for own, other in zip(mine.values(), others.values(), strict=True):
        assert len(own.frame_index) == sum(1 for _ in VideoReader(video))
        np.testing.assert_array_equal(own.frame_index, other.frame_index)
        np.testing.assert_allclose(own.box_xyxy_px, other.box_xyxy_px, atol=1e-4)


def test_more_workers_than_the_cluster_has_cpus_lose_no_job(cluster, tmp_path, monkeypatch):
    def set_up_slow(word):
        def do(job, report):
            time.sleep(0.5)
            return f"{word} {job}"

        return do

    # The jobs take 20 s; the worker without a CPU waits longer than it would be waited for.
    monkeypatch.setattr(ray_engine, "START_SECONDS", 10.0)
    monkeypatch.setenv("RAY_ADDRESS", cluster.address)
    config = PreprocessConfig(sources=(".",), out=tmp_path, engine="ray", workers=3, time_limit=6.0)
    jobs, bugs = [str(number) for number in range(80)], BugLog(tmp_path / "bugs.log")
    with joined_cluster(config):
        events = list(do_jobs(jobs, set_up_slow, "did", config, bugs, str))
    finished = [event.result for event in events if isinstance(event, Finished)]
    assert sorted(finished) == sorted(f"did {job}" for job in jobs)


def test_a_job_that_crashes_or_hangs_costs_only_itself(cluster, tmp_path, monkeypatch):
    monkeypatch.setenv("RAY_ADDRESS", cluster.address)
    config = PreprocessConfig(sources=(".",), out=tmp_path, engine="ray", workers=2, time_limit=4.0)
    jobs, bugs = ["crash", "one", "hang", "two"], BugLog(tmp_path / "bugs.log")
    events = list(do_jobs(jobs, set_up_trouble, "did", config, bugs, str))
    finished = {event.job: event.result for event in events if isinstance(event, Finished)}
    lost = {event.job: event.reason for event in events if isinstance(event, Lost)}
    assert finished == {"one": "did one", "two": "did two"}
    assert "its worker process died" in lost["crash"]
    assert "no progress for 4 s" in lost["hang"]
    assert 2 <= sum(event.frames for event in events if isinstance(event, Advanced)) <= 4


@pytest.mark.usefixtures("short_stretches")
def test_a_node_that_is_killed_gives_its_sources_and_stretches_to_others(
    videos, checkpoint, tmp_path, cluster, monkeypatch
):
    here, there = tmp_path / "here.csv", tmp_path / "there.csv"
    model = ("--checkpoint", checkpoint)
    dfer("predict", videos, *model, "--out", here, "--workers", 0)
    journal = tmp_path / ".there.csv.work" / "journal.jsonl"
    add, killed = HeldCrops.add, []

    def first_crops_kill_the_node(held, crops):
        """At that time, the workers still have half of the long video and four more sources."""
        if not killed:
            killed.append(held)
            cluster.remove_node(cluster.second, allow_graceful=False)
        add(held, crops)

    ray = ("--engine", "ray", "--ray-address", cluster.address, "--workers", 2)
    with monkeypatch.context() as patch:
        patch.setattr(HeldCrops, "add", first_crops_kill_the_node)
        dfer("predict", videos, *model, "--out", there, *ray)
    assert killed
    pd.testing.assert_frame_equal(pd.read_csv(here), pd.read_csv(there), atol=1e-4)
    assert pd.read_csv(there)["source"].nunique() == NUM_SOURCES
    assert not (tmp_path / "there.failures.jsonl").exists()
    assert not journal.parent.exists()

    crop = ("--size", CROP["size"], "--margin", CROP["margin"])
    dfer("preprocess", videos, "--out", tmp_path / "faces", *crop, *ray[:4])
    assert len(read_clips(tmp_path / "faces")) == NUM_SOURCES
    dfer("predict", tmp_path / "faces", *model, "--out", tmp_path / "store.csv")
    store = pd.read_csv(tmp_path / "store.csv")
    pd.testing.assert_frame_equal(store, pd.read_csv(here), atol=1e-4)


def test_an_address_without_ray_is_refused_before_any_work(videos, checkpoint, tmp_path, capfd):
    pytest.importorskip("ray", reason="extra dfercli[ray]")
    options = ("--engine", "ray", "--ray-address", "somewhere", "--json")
    dfer("predict", videos, "--checkpoint", checkpoint, *options, code=2)
    assert "somewhere" in capfd.readouterr().err
    assert not list(tmp_path.iterdir())
