import errno
import json
import multiprocessing
import os
import signal
import time
import zlib
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import pytest
from faults import at_first, raising
from llm_server import LONG, Reply, caption_answer, refused, serve

from dfercli.artifacts.atomic import read_json
from dfercli.artifacts.bug_log import BugLog
from dfercli.artifacts.captions import read_captions
from dfercli.artifacts.face_store import STORE_SCHEMA, ClipRow, read_clips
from dfercli.artifacts.jsonl import write_rows
from dfercli.cli.app import run
from dfercli.config import DescribeConfig, PreprocessConfig
from dfercli.descriptions import captions
from dfercli.descriptions import run as describe_run
from dfercli.descriptions.cache import ANSWER_SCHEMA, Answer
from dfercli.descriptions.run import caption_store
from dfercli.errors import ArtifactError
from dfercli.preprocessing.clip_captions import caption_clips
from dfercli.progress import LogProgress
from dfercli.typed import typed

SEEN = "The brows rise slowly while the lips part, then the head leans to the left."
SHORT = "The brows rise, the lips part, then the head leans left."


@pytest.fixture(autouse=True)
def _place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret-0123456789abcdef")
    monkeypatch.setenv("DFER_CACHE", str(tmp_path / "cache"))


def make_store(folder, clips=3, frames=3, label="happiness", size=16):
    rows = []
    for number in range(clips):
        clip_id = f"clip-{number:03d}"
        pixels = np.random.default_rng(number).integers(0, 255, (size, size, 3), np.uint8)
        for frame in range(frames):
            path = folder / "frames" / clip_id / f"{frame:06d}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(path), np.roll(pixels, frame, axis=0))
        rows.append(
            ClipRow(
                clip_id, f"{label}/{label}_{number}.mp4", 0, label, "anna", frames, 25.0, 0.0, 1.0,
                "haar",
            ).to_row()
        )  # fmt: skip
    write_rows(folder / "clips.jsonl", rows)
    dataset = {"schema": STORE_SCHEMA, "label_set": ["happiness", "awe"]}
    (folder / "dataset.json").write_text(json.dumps(dataset))
    return folder


def polite(request, number):
    """A different text for every clip, and one short text for all."""
    if not request.images:
        return Reply(caption_answer(SHORT))
    frame = zlib.crc32("".join(request.images).encode())
    return Reply(caption_answer(f"{SEEN} It takes {frame} steps."))


def caption(monkeypatch, server, *more, store="faces"):
    monkeypatch.setenv("OPENAI_BASE_URL", server.url)
    return run(["describe", store, "--model", "eyes", "--max-retries", "0", *more])


def test_every_clip_gets_a_caption_in_two_passes(tmp_path, monkeypatch, capsys):
    make_store(tmp_path / "faces")
    with serve(polite) as server:
        assert caption(monkeypatch, server, "--refine-model", "pen", "--frames", "2") == 0
    captions = read_captions(tmp_path / "faces")
    assert {row.caption for row in captions.values()} == {SHORT}
    assert sorted(captions) == ["clip-000", "clip-001", "clip-002"]
    row = captions["clip-000"]
    assert (row.model, row.refine_model, row.frames, row.masked) == ("eyes", "pen", (0, 2), 0)
    assert len(row.answers) == 2
    seen = [request for request in server.received if request.images]
    refined = [request for request in server.received if not request.images]
    assert len(seen) == len(refined) == 3
    assert {request.body["model"] for request in seen} == {"eyes"}
    assert {request.body["model"] for request in refined} == {"pen"}
    assert all(SEEN in request.prompt for request in refined)
    assert "3 of 3 clips have a caption (3 new, 0 failed)" in capsys.readouterr().out


@pytest.mark.parametrize(("layout", "images"), [("sheet", 1), ("separate", 3)])
def test_frames_go_out_as_a_sheet_or_one_by_one(tmp_path, monkeypatch, layout, images):
    make_store(tmp_path / "faces", clips=1, frames=3)
    with serve(polite) as server:
        assert caption(monkeypatch, server, "--images", layout) == 0
    (seen,) = (request for request in server.received if request.images)
    assert len(seen.images) == images
    assert all(url.startswith("data:image/jpeg;base64,") for url in seen.images)
    assert " 3 " in seen.prompt


def test_label_subject_and_paths_never_reach_the_model(tmp_path, monkeypatch):
    make_store(tmp_path / "faces")
    with serve(polite) as server:
        assert caption(monkeypatch, server) == 0
    for request in server.received:
        sent = request.raw.decode().lower()
        for image in request.images:
            sent = sent.replace(image.lower(), "")
        for secret in ("happ", "awe", "anna", "mp4", "clip-0", "faces", str(tmp_path).lower()):
            assert secret not in sent


def test_metadata_of_a_frame_does_not_go_out(tmp_path, monkeypatch):
    make_store(tmp_path / "faces", clips=1, frames=1)
    path = tmp_path / "faces" / "frames" / "clip-000" / "000000.jpg"
    jpeg = path.read_bytes()
    comment = b"label: happiness"
    marked = jpeg[:2] + b"\xff\xfe" + (len(comment) + 2).to_bytes(2, "big") + comment + jpeg[2:]
    path.write_bytes(marked)
    with serve(polite) as server:
        assert caption(monkeypatch, server, "--images", "separate") == 0
    import base64

    (seen,) = (request for request in server.received if request.images)
    assert comment not in base64.b64decode(seen.images[0].partition(",")[2])


def test_a_leaked_label_is_asked_for_again(tmp_path, monkeypatch):
    make_store(tmp_path / "faces", clips=1)

    def behaviour(request, number):
        if request.images and "cannot be used" not in request.prompt:
            return Reply(caption_answer("A happy face: the brows rise."))
        return polite(request, number)

    with serve(behaviour) as server:
        assert caption(monkeypatch, server) == 0
    row = read_captions(tmp_path / "faces")["clip-000"]
    assert (row.caption, row.masked) == (SHORT, 0)
    assert len(server.received) == 3
    assert "happy" not in server.prompts[1]


def test_a_label_leaked_again_is_masked_before_the_next_pass(tmp_path, monkeypatch):
    make_store(tmp_path / "faces", clips=1)

    def behaviour(request, number):
        if request.images:
            return Reply(caption_answer("A Joyfully smiling, awestruck and awed face."))
        return Reply(caption_answer(SHORT))

    with serve(behaviour) as server:
        assert caption(monkeypatch, server) == 0
    assert read_captions(tmp_path / "faces")["clip-000"].masked == 2
    assert "A ... smiling, awestruck and ... face." in server.prompts[2]


def test_a_label_leaked_by_the_refining_pass_is_masked(tmp_path, monkeypatch):
    make_store(tmp_path / "faces", clips=1)

    def behaviour(request, number):
        return Reply(caption_answer(SEEN if request.images else "An angry brow, lips part."))

    with serve(behaviour) as server:
        assert caption(monkeypatch, server) == 0
    row = read_captions(tmp_path / "faces")["clip-000"]
    assert (row.caption, row.masked) == ("An ... brow, lips part.", 1)


def test_a_caption_that_stays_too_long_is_refused_and_the_rest_kept(tmp_path, monkeypatch, capsys):
    make_store(tmp_path / "faces", clips=3)
    first = []

    def behaviour(request, number):
        if request.images:
            first.append(request.images) if not first else None
            return Reply(caption_answer("Odd brow." if request.images == first[0] else SEEN))
        return Reply(caption_answer(LONG if "Odd brow." in request.prompt else SHORT))

    with serve(behaviour) as server:
        assert caption(monkeypatch, server, "--concurrency", "1") == 3
    assert sorted(read_captions(tmp_path / "faces")) == ["clip-001", "clip-002"]
    out, err = capsys.readouterr()
    assert "2 of 3 clips have a caption (2 new, 1 failed)" in out
    assert "no caption for clip-000" in err
    assert "CLIP tokens, 75 are allowed" in err
    assert "error: 1 of 3 clips have no caption; the rest is kept" in err


def test_one_failure_never_stops_the_rest_and_only_it_is_asked_again(tmp_path, monkeypatch, capsys):
    make_store(tmp_path / "faces", clips=4)
    broken = []

    def behaviour(request, number):
        if request.images and (not broken or request.images in broken):
            broken.append(request.images)
            return refused(500, "oops")
        return polite(request, number)

    with serve(behaviour) as server:
        assert caption(monkeypatch, server, "--concurrency", "2") == 3
        assert "failed (500)" in capsys.readouterr().err
        assert len(read_captions(tmp_path / "faces")) == 3
        sent = len(server.received)
        server.behaviour = polite
        assert caption(monkeypatch, server) == 0
    assert len(server.received) == sent + 2
    assert len(read_captions(tmp_path / "faces")) == 4


@pytest.mark.parametrize("place", ["tidy", "append_caption"])
def test_a_bug_in_one_caption_costs_that_clip_alone(tmp_path, monkeypatch, capsys, place):
    store = make_store(tmp_path / "faces")
    module = captions if place == "tidy" else describe_run
    fault = raising(getattr(module, place), KeyError("odd"), partial(at_first, done=[]))
    monkeypatch.setattr(module, place, fault)
    with serve(polite) as server:
        assert caption(monkeypatch, server, "--concurrency", "1") == 3
        out, err = capsys.readouterr()
        assert "2 of 3 clips have a caption (2 new, 1 failed)" in out
        assert "no caption for clip-000: bug: KeyError: 'odd'" in err
        assert f"traceback in {Path('faces') / 'bugs.log'}" in err
        assert "1 source hit a bug in dfer: please report it" in err
        assert (store / "bugs.log").read_text().count("Traceback") == 1
        # As one of the streams of `dfer preprocess`, too.
        (store / "captions.jsonl").unlink()
        odder = raising(fault, KeyError("odder"), partial(at_first, done=[]))
        monkeypatch.setattr(module, place, odder)
        bugs = BugLog(store / "bugs.log")
        config = PreprocessConfig(out=store, model_for_captions="eyes")
        (failure,) = caption_clips(read_clips(store), config, bugs, LogProgress())
    assert failure.stage == "bug"
    assert failure.source.startswith("frames/clip-")
    assert failure.reason.startswith("bug: KeyError: 'odder'")
    assert len(read_captions(store)) == 2


def test_a_broken_frame_fails_its_clip_alone(tmp_path, monkeypatch, capsys):
    make_store(tmp_path / "faces", clips=3)
    (tmp_path / "faces" / "frames" / "clip-000" / "000000.jpg").write_bytes(b"no image")
    (tmp_path / "faces" / "frames" / "clip-001" / "000001.jpg").unlink()
    with serve(polite) as server:
        assert caption(monkeypatch, server) == 3
    err = capsys.readouterr().err
    assert "not a JPEG image" in err
    assert "holds 2 frames" in err
    assert sorted(read_captions(tmp_path / "faces")) == ["clip-002"]


def test_a_refused_key_ends_at_once(tmp_path, monkeypatch, capsys):
    make_store(tmp_path / "faces", clips=30)
    with serve(lambda request, number: refused(401, "bad key")) as server:
        assert caption(monkeypatch, server, "--concurrency", "2") == 5
    assert len(server.received) <= 6
    assert "refused the key" in capsys.readouterr().err


def test_a_server_that_refuses_everything_is_given_up_on(tmp_path, monkeypatch, capsys):
    make_store(tmp_path / "faces", clips=40)
    with serve(lambda request, number: refused(400, "no images here")) as server:
        assert caption(monkeypatch, server) == 5
    assert "the first 20 clips all failed" in capsys.readouterr().err
    assert len(server.received) < 60


def test_the_limit_of_requests_keeps_what_was_done(tmp_path, monkeypatch, capsys):
    make_store(tmp_path / "faces", clips=5)
    with serve(polite) as server:
        more = ("--max-requests", "4", "--concurrency", "1")
        assert caption(monkeypatch, server, *more) == 3
        assert len(server.received) == 4
        assert len(read_captions(tmp_path / "faces")) == 2
        assert "the limit of 4 requests is reached" in capsys.readouterr().err
        assert caption(monkeypatch, server) == 0
    assert len(server.received) == 10


def test_captions_of_other_settings_are_kept_unless_overwritten(tmp_path, monkeypatch, capsys):
    make_store(tmp_path / "faces", clips=2)
    with serve(polite) as server:
        assert caption(monkeypatch, server) == 0
        assert caption(monkeypatch, server, "--frames", "2") == 0
        assert "2 captions were made with other settings and are kept" in capsys.readouterr().err
        assert len(server.received) == 4
        assert caption(monkeypatch, server, "--frames", "2", "--overwrite") == 0
        assert caption(monkeypatch, server, "--frames", "2", "--overwrite") == 0
    assert len(server.received) == 8
    rows = read_captions(tmp_path / "faces")
    assert {row.frames for row in rows.values()} == {(0, 2)}


def test_dry_run_sends_nothing_and_needs_no_key(tmp_path, monkeypatch, capsys):
    make_store(tmp_path / "faces", clips=5)
    monkeypatch.delenv("OPENAI_API_KEY")
    with serve(polite) as server:
        assert caption(monkeypatch, server, "--dry-run") == 0
        assert server.received == []
    out = capsys.readouterr().out
    assert "contact sheet of 8 frames" in out
    assert "requests: at most 10" in out
    assert "tokens sent, estimated: " in out
    assert not (tmp_path / "faces" / "captions.jsonl").exists()


def test_show_prints_the_captions_of_a_store(tmp_path, monkeypatch, capsys):
    make_store(tmp_path / "faces", clips=1)
    with serve(polite) as server:
        assert caption(monkeypatch, server) == 0
    assert run(["describe", "faces", "--show"]) == 0
    assert SHORT in capsys.readouterr().out


def test_a_torn_last_row_is_written_again(tmp_path, monkeypatch):
    store = make_store(tmp_path / "faces", clips=2)
    with serve(polite) as server:
        assert caption(monkeypatch, server) == 0
        path = store / "captions.jsonl"
        path.write_bytes(path.read_bytes()[:-20])
        assert caption(monkeypatch, server) == 0
    assert len(read_captions(store)) == 2
    assert len(server.received) == 4  # the answer was in the cache


def test_a_broken_captions_file_is_named(tmp_path):
    store = make_store(tmp_path / "faces", clips=1)
    (store / "captions.jsonl").write_text('{"schema": "other/1"}\n')
    with pytest.raises(ArtifactError, match=r"captions\.jsonl, line 1: expected schema"):
        read_captions(store)


def test_a_folder_that_is_no_face_store_is_refused(tmp_path, monkeypatch, capsys):
    (tmp_path / "faces").mkdir()
    assert run(["describe", "faces"]) == 3
    assert "not a face store" in capsys.readouterr().err


def test_the_stage_is_a_library_call(tmp_path, monkeypatch):
    store = make_store(tmp_path / "faces", clips=2)
    with serve(polite) as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.url)
        result = caption_store(store, DescribeConfig(model="eyes"), LogProgress())
    assert (result.clips, result.written, result.failed) == (2, 2, {})
    assert (result.tally.sent, result.tally.usage["total_tokens"]) == (4, 60)


KILLS, CLIPS, AT_ONCE = 10, 50, 4


def caption_all(store, url, cache):
    os.environ.update(OPENAI_BASE_URL=url)
    config = DescribeConfig(model="eyes", concurrency=AT_ONCE, frames=1, cache=cache)
    return caption_store(store, config, LogProgress())


def test_ten_kills_cost_only_the_work_in_progress(tmp_path):
    store = make_store(tmp_path / "faces", clips=CLIPS, frames=1)
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["test_captions", "openai", "open_clip"])
    moments = iter(np.random.default_rng(0).integers(1, 9, KILLS))

    def behaviour(request, number):
        time.sleep(0.005)
        return polite(request, number)

    with serve(behaviour) as server:
        arguments = (store, server.url, tmp_path / "llm")
        kills = 0
        for moment in moments:
            process = context.Process(target=caption_all, args=arguments)
            before = len(server.received)
            process.start()
            while len(server.received) < before + moment and process.is_alive():
                time.sleep(0.001)
            process.kill()
            process.join()
            kills += process.exitcode == -signal.SIGKILL
            captions = read_captions(store)
            answers = [path for path in (tmp_path / "llm").glob("??/*.json") if path.name[0] != "."]
            for path in answers:
                assert typed(Answer, read_json(path), "", schema=ANSWER_SCHEMA).key == path.stem
            assert {key for row in captions.values() for key in row.answers} <= {
                path.stem for path in answers
            }
        assert kills == KILLS
        assert 0 < len(read_captions(store)) < CLIPS
        result = caption_all(*arguments)
        assert (result.failed, result.stopped) == ({}, None)
        bodies = [request.raw for request in server.received]
        assert len(read_captions(store)) == CLIPS
        assert len(set(bodies)) == 2 * CLIPS
        assert len(bodies) <= 2 * CLIPS + KILLS * AT_ONCE
        assert caption_all(*arguments).tally.sent == 0
        assert len(server.received) == len(bodies)
    assert not list(Path(store).rglob("*.partial-*"))


def test_a_disk_that_fills_up_ends_in_one_line_and_what_was_done_is_kept(
    tmp_path, monkeypatch, capsys
):
    make_store(tmp_path / "faces", clips=9)
    real, calls = os.fsync, []

    def full(handle):
        calls.append(handle)
        if len(calls) > 7:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        real(handle)

    with serve(polite) as server:
        monkeypatch.setattr(os, "fsync", full)
        assert caption(monkeypatch, server, "--concurrency", "1") == 4
        asked = len(server.received)
        said = capsys.readouterr().err
        assert said.count("error: ") == 1
        assert "No space left on device" in said
        kept = read_captions(tmp_path / "faces")
        assert 0 < len(kept) < 9
        monkeypatch.setattr(os, "fsync", real)
        assert caption(monkeypatch, server) == 0
    assert asked <= 8
    assert len(read_captions(tmp_path / "faces")) == 9
