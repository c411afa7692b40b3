"""`dfer predict` and `dfer preprocess` on a cluster of two nodes, of which one is killed."""

import os
import shutil
import threading
import time

import pandas as pd
import pytest
from drawn_videos import write_drawn_video
from toy_model import write_toy_checkpoint

from dfercli.artifacts.face_store import read_clips
from dfercli.cli.app import run

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
    """Two nodes that were started by themselves; workers find the modules of the tests."""
    pytest.importorskip("ray", reason="extra dfercli[ray]")
    from ray.cluster_utils import Cluster

    paths = os.pathsep.join([os.path.dirname(__file__), os.environ.get("PYTHONPATH", "")])
    monkeypatch.setenv("PYTHONPATH", paths)
    nodes = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "num_gpus": 1})
    yield nodes
    nodes.shutdown()


def dfer(*arguments, code=0):
    assert run([*map(str, arguments), *OPTIONS]) == code


def test_a_node_that_is_killed_gives_its_sources_to_others(videos, checkpoint, tmp_path, cluster):
    second = cluster.add_node(num_cpus=1)
    cluster.wait_for_nodes()
    here, there = tmp_path / "here.csv", tmp_path / "there.csv"
    model = ("--checkpoint", checkpoint)
    dfer("predict", videos, *model, "--out", here, "--workers", 0)
    journal = tmp_path / ".there.csv.work" / "journal.jsonl"
    killed = []

    def kill_once_a_source_is_done():
        until = time.monotonic() + 120
        while time.monotonic() < until:
            if journal.is_file() and len(journal.read_text().splitlines()) > 1:
                cluster.remove_node(second, allow_graceful=False)
                killed.append(time.monotonic())
                return
            time.sleep(0.05)

    thread = threading.Thread(target=kill_once_a_source_is_done)
    thread.start()
    ray = ("--engine", "ray", "--ray-address", cluster.address, "--workers", 2)
    dfer("predict", videos, *model, "--out", there, *ray)
    thread.join()
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
