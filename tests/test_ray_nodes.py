"""`dfer predict` and `dfer preprocess` on a cluster of two nodes, of which one is killed."""

import os
import shutil
import time

import pandas as pd
import pytest
from drawn_videos import write_drawn_video
from toy_model import write_toy_checkpoint

from dfercli.artifacts.bug_log import BugLog
from dfercli.artifacts.face_store import read_clips
from dfercli.cli.app import run
from dfercli.config import PreprocessConfig
from dfercli.prediction.clip_faces import FacesInMemory
from dfercli.preprocessing import ray_engine
from dfercli.preprocessing.engines import do_jobs
from dfercli.preprocessing.ray_engine import joined_cluster
from dfercli.preprocessing.worker_pool import Finished

CROP = {"size": 80, "margin": 0.0, "align": "square", "detector": "haar"}
OPTIONS = ("--detector", "haar", "--quiet", "--min-face", "60")
NUM_SOURCES = 5


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    return write_toy_checkpoint(tmp_path_factory.mktemp("model") / "checkpoint", crop=CROP)


@pytest.fixture(scope="module")
def videos(tmp_path_factory):
    folder = tmp_path_factory.mktemp("videos")
    first = write_drawn_video(folder / "0.mp4", seconds=3.0)
    for number in range(1, NUM_SOURCES):
        shutil.copy(first, folder / f"{number}.mp4")
    return folder


@pytest.fixture
def cluster(monkeypatch):
    """Two nodes that were started on their own; their workers find the modules of the tests."""
    pytest.importorskip("ray", reason="extra dfercli[ray]")
    from ray.cluster_utils import Cluster

    paths = os.pathsep.join([os.path.dirname(__file__), os.environ.get("PYTHONPATH", "")])
    monkeypatch.setenv("PYTHONPATH", paths)
    nodes = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "num_gpus": 1})
    yield nodes
    nodes.shutdown()


def dfer(*arguments, code=0):
    assert run([*map(str, arguments), *OPTIONS]) == code


def test_a_node_that_is_killed_gives_its_sources_to_others(
    videos, checkpoint, tmp_path, cluster, monkeypatch
):
    second = cluster.add_node(num_cpus=1)
    cluster.wait_for_nodes()
    here, there = tmp_path / "here.csv", tmp_path / "there.csv"
    model = ("--checkpoint", checkpoint)
    dfer("predict", videos, *model, "--out", here, "--workers", 0)
    journal = tmp_path / ".there.csv.work" / "journal.jsonl"
    killed = []

    def faces_of_the_first_source_kill_the_node(*found):
        """At that time, the workers still have four of five sources."""
        if not killed:
            killed.append(found)
            cluster.remove_node(second, allow_graceful=False)
        return FacesInMemory(*found)

    ray = ("--engine", "ray", "--ray-address", cluster.address, "--workers", 2)
    with monkeypatch.context() as patch:
        patch.setattr(
            "dfercli.prediction.run.FacesInMemory", faces_of_the_first_source_kill_the_node
        )
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


def test_more_workers_than_the_cluster_has_cpus_lose_no_job(cluster, tmp_path, monkeypatch):
    monkeypatch.setattr(ray_engine, "START_SECONDS", 8.0)
    config = PreprocessConfig(
        sources=(".",),
        out=tmp_path,
        engine="ray",
        ray_address=cluster.address,
        workers=3,
        time_limit=1.0,
    )
    jobs, bugs = [str(number) for number in range(24)], BugLog(tmp_path / "bugs.log")
    with joined_cluster(config):
        events = list(do_jobs(jobs, set_up_slow, "did", config, bugs, str))
    finished = [event.result for event in events if isinstance(event, Finished)]
    assert sorted(finished) == sorted(f"did {job}" for job in jobs)


def set_up_slow(word):
    def do(job, report):
        time.sleep(0.5)
        return f"{word} {job}"

    return do


def test_an_address_without_ray_is_refused_before_any_work(videos, checkpoint, tmp_path, capfd):
    pytest.importorskip("ray", reason="extra dfercli[ray]")
    options = ("--engine", "ray", "--ray-address", "somewhere", "--json")
    dfer("predict", videos, "--checkpoint", checkpoint, *options, code=2)
    assert "somewhere" in capfd.readouterr().err
    assert not list(tmp_path.iterdir())
