"""Worker processes that crash, hang or are killed; shards; Ray."""

import os
import shutil
import signal
import socket
import threading
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from in_workers import set_up_trouble
from running import Running

from dfercli.artifacts.face_store import read_clips, read_failures
from dfercli.cli.app import run as dfer
from dfercli.config import PreprocessConfig
from dfercli.drawn_faces.clip import render_clip
from dfercli.drawn_faces.identity import random_identity
from dfercli.errors import ConfigError, DataError, ServiceError
from dfercli.preprocessing import merge
from dfercli.preprocessing.ray_engine import require_listener
from dfercli.preprocessing.run import run
from dfercli.preprocessing.worker_pool import Advanced, Finished, Lost, WorkerPool
from dfercli.progress import LogProgress
from dfercli.video.write import write_video

FAST = PreprocessConfig(detector="haar", min_face=80, workers=0)


@pytest.fixture(scope="module")
def videos(tmp_path_factory):
    """Four short videos of one drawn face."""
    rng = np.random.default_rng(5)
    clip = render_clip(random_identity(rng), "happiness", rng, num_frames=8)
    folder = tmp_path_factory.mktemp("videos")
    for number in range(4):
        write_video(folder / f"{number}.mp4", clip.frames, clip.fps)
    return folder


def preprocess(*sources, out, **changes):
    config = replace(FAST, sources=tuple(str(source) for source in sources), out=out, **changes)
    return run(config, LogProgress())


def contents(store):
    return {
        str(path.relative_to(store)): path.read_bytes()
        for path in sorted(store.rglob("*"))
        if path.is_file()
    }


def test_jobs_that_crash_exit_or_hang_cost_only_themselves():
    jobs = ["one", "crash", "two", "hang", "exit", "three"]
    with WorkerPool(set_up_trouble, "did", workers=2, time_limit=4) as pool:
        events = list(pool.run(jobs))
    finished = {event.job: event.result for event in events if isinstance(event, Finished)}
    lost = {event.job: event.reason for event in events if isinstance(event, Lost)}
    assert finished == {"one": "did one", "two": "did two", "three": "did three"}
    assert "killed by SIGKILL" in lost["crash"]
    assert "exit code 7" in lost["exit"]
    assert "no progress for 4 s" in lost["hang"]
    assert any(isinstance(event, Advanced) for event in events)


def test_a_killed_run_is_completed_to_the_store_of_an_uninterrupted_one(videos, tmp_path):
    preprocess(videos, out=tmp_path / "whole")
    out = tmp_path / "killed"
    options = ["--detector", "haar", "--min-face", "80", "--workers", "1", "--out", out]
    for finished in (1, 2):
        process = Running("preprocess", videos, *options, folder=tmp_path / str(finished))
        process.wait_until(lambda least=finished: len(list(out.glob("sources/*.json"))) >= least)
        os.kill(process.pid, signal.SIGKILL)
        process.ended()
    assert not (out / "clips.jsonl").exists() or len(read_clips(out)) == 4
    preprocess(videos, out=out)
    assert contents(out) == contents(tmp_path / "whole")


def test_a_pipe_that_would_block_for_ever_is_a_failure(videos, tmp_path):
    os.mkfifo(tmp_path / "endless.mp4")
    preprocess(tmp_path / "endless.mp4", out=tmp_path / "faces")
    (failure,) = read_failures(tmp_path / "faces")
    assert failure.reason == "not a regular file"


def test_merged_shards_are_the_store_of_one_run(videos, tmp_path):
    preprocess(videos, out=tmp_path / "whole")
    preprocess(videos / "0.mp4", videos / "1.mp4", out=tmp_path / "a")
    preprocess(videos / "[123].mp4", out=tmp_path / "b")
    assert (
        dfer(
            [
                "data",
                "merge",
                str(tmp_path / "a"),
                str(tmp_path / "b"),
                "--out",
                str(tmp_path / "c"),
            ]
        )
        == 0
    )
    assert contents(tmp_path / "c") == contents(tmp_path / "whole")


def test_shards_of_other_settings_are_refused(videos, tmp_path):
    preprocess(videos / "0.mp4", out=tmp_path / "a")
    preprocess(videos / "1.mp4", out=tmp_path / "b", size=112)
    with pytest.raises(ConfigError, match="size 224 -> 112"):
        merge.run((tmp_path / "a", tmp_path / "b"), tmp_path / "c", LogProgress())
    with pytest.raises(DataError, match="not a face store"):
        merge.run((tmp_path / "a", tmp_path / "nothing"), tmp_path / "d", LogProgress())


def test_ray_gives_the_same_store(videos, tmp_path, monkeypatch):
    pytest.importorskip("ray", reason="extra dfercli[ray]")
    monkeypatch.setenv("RAY_ADDRESS", "local")  # whatever else runs on this machine
    preprocess(videos, out=tmp_path / "here")
    preprocess(videos, out=tmp_path / "there", engine="ray", workers=2)
    assert contents(tmp_path / "there") == contents(tmp_path / "here")


@pytest.mark.parametrize("scheme", ["", "ray://"])
def test_a_ray_address_where_nobody_listens_is_one_line_within_seconds(
    videos, tmp_path, capfd, scheme
):
    pytest.importorskip("ray", reason="extra dfercli[ray]")
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]  # free once the server is closed
    options = ["--out", str(tmp_path), "--engine", "ray", "--detector", "haar", "--ray-address"]
    began = time.monotonic()
    assert dfer(["preprocess", str(videos), *options, f"{scheme}127.0.0.1:{port}"]) == 5
    assert time.monotonic() - began < 25
    assert capfd.readouterr().err.splitlines() == [
        f"error: no Ray cluster at {scheme}127.0.0.1:{port}: Connection refused"
    ]
    assert dfer(["preprocess", str(videos), *options, "somewhere"]) == 2


@pytest.mark.parametrize(
    "greeting", [None, b"SSH-2.0-OpenSSH_9.6\r\n", b"HTTP/1.1 400 Bad\r\n\r\n"]
)
def test_a_port_where_something_else_listens_is_one_line_within_seconds(greeting):
    ray = pytest.importorskip("ray", reason="extra dfercli[ray]")
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"

        def answer():
            with suppress(OSError):  # when the test ends
                while True:
                    open_connections.append(server.accept()[0])
                    if greeting is not None:
                        open_connections[-1].sendall(greeting)

        open_connections = []

        threading.Thread(target=answer, daemon=True).start()
        began = time.monotonic()
        with pytest.raises(ServiceError, match=f"no Ray cluster at {address}: something other"):
            require_listener(ray, address)
        assert time.monotonic() - began < 10
    for connection in open_connections:
        connection.close()


def test_interrupting_ends_with_130_and_leaves_a_store_that_resumes(videos, tmp_path):
    out = tmp_path / "faces"
    options = ["--detector", "haar", "--min-face", "80", "--workers", "1", "--out", out]
    process = Running("preprocess", videos, *options, folder=tmp_path / "p")
    process.wait_until(lambda: any(out.glob("sources/*.json")))
    os.kill(process.pid, signal.SIGINT)
    assert process.ended() == 130
    assert process.err == "error: interrupted\n"
    assert not list(out.rglob("*.partial-*"))
    assert preprocess(videos, out=out).num_clips == 4


def test_the_default_suite_runs_on_a_path_with_other_letters(videos, tmp_path):
    place = tmp_path / "Gesichter ü 顔"
    place.mkdir()
    shutil.copyfile(videos / "0.mp4", place / "vidéo 1.mp4")
    (clip,) = preprocess(place, out=place / "store").clips
    assert clip.clip_id.startswith("vid_o_1-")
    assert Path(place / "store" / clip.source).resolve() == place / "vidéo 1.mp4"
