"""A long video in stretches, done side by side, gives the result of one worker."""

import shutil
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from in_workers import set_up_that_dies, set_up_that_is_written_over
from test_preprocess_scale import FAST, contents

from dfercli.artifacts.face_store import read_clips, read_track
from dfercli.drawn_faces.clip import render_clip
from dfercli.drawn_faces.identity import random_identity
from dfercli.preprocessing import engines, face_clips, source_worker, stretched
from dfercli.preprocessing import run as preprocess_run
from dfercli.preprocessing.run import run
from dfercli.progress import SilentProgress
from dfercli.video import stretches
from dfercli.video.decode import VideoReader
from dfercli.video.seek import UnclearTimesError, packet_times
from dfercli.video.stretches import cut_into_stretches
from dfercli.video.write import write_video

FPS = 12.0
SECONDS = 27
SEAMS = 8
MOST_PIXELS = 10**7


def frames_of_people():
    """Two people who move about; one of them is away around every third seam."""
    rng = np.random.default_rng(3)
    people = [
        render_clip(random_identity(rng), "happiness", rng, num_frames=24, fps=FPS, size=160).frames
        for _ in range(2)
    ]
    for number in range(round(SECONDS * FPS)):
        image = np.full((200, 400, 3), 128, np.uint8)
        turn = number % 46
        face = turn if turn < 24 else 46 - turn  # there and back, without a cut
        shift = round(12 * np.sin(number / 15))
        image[20:180, 20 + shift : 180 + shift] = people[0][face]
        if (number / FPS + 1.2) % 9 > 1.5:
            image[30:190, 220 - shift : 380 - shift] = people[1][face]
        yield image


@pytest.fixture(scope="module")
def video(tmp_path_factory):
    path = tmp_path_factory.mktemp("long") / "people.mp4"
    write_video(path, frames_of_people(), FPS, gop_seconds=0.5)
    return path


@pytest.fixture
def short_stretches(monkeypatch):
    """Cut even so short a video, into one stretch more than `SEAMS`."""
    monkeypatch.setattr(stretched, "LONG_SECONDS", SECONDS / (SEAMS + 1))
    monkeypatch.setattr(stretches, "SHORTEST", 2.0)
    monkeypatch.setattr(stretched, "num_cores", lambda: 1)

    def with_all(path, count, max_pixels):
        return cut_into_stretches(path, SEAMS + 1, max_pixels)

    monkeypatch.setattr(stretched, "cut_into_stretches", with_all)


def store_of(video, out, workers):
    config = replace(FAST, sources=(str(video),), out=out, workers=workers, lost_seconds=2.0)
    return run(config, SilentProgress())


@pytest.fixture(scope="module")
def by_one(video, tmp_path_factory):
    out = tmp_path_factory.mktemp("one") / "faces"
    return store_of(video, out, 1), out


@pytest.mark.usefixtures("short_stretches")
def test_eight_seams_give_the_result_of_one_worker(video, by_one, tmp_path):
    assert len(cut_into_stretches(video, SEAMS + 1, MOST_PIXELS)) == SEAMS + 1
    whole, out = by_one
    result = store_of(video, tmp_path / "faces", 2)
    assert result.num_frames == whole.num_frames == round(SECONDS * FPS)
    assert result.failures == whole.failures
    clips, expected = read_clips(tmp_path / "faces"), read_clips(out)
    assert len(clips) == len(expected) >= 2
    for ours, theirs in zip(clips, expected, strict=True):
        assert (ours.clip_id.rpartition("-")[2], ours.fps) == (
            theirs.clip_id.rpartition("-")[2],
            theirs.fps,
        )
        found = read_track(tmp_path / "faces", ours.clip_id)
        known = read_track(out, theirs.clip_id)
        differing = set(found.frame_index.tolist()) ^ set(known.frame_index.tolist())
        assert len(differing) <= SEAMS  # at most one frame at a seam
        _, mine, other = np.intersect1d(found.frame_index, known.frame_index, return_indices=True)
        off_px = np.abs(found.box_xyxy_px[mine] - known.box_xyxy_px[other]).max(axis=1)
        assert (off_px > 0.5).sum() <= SEAMS
        crops = {path.name for path in (tmp_path / "faces" / "frames" / ours.clip_id).iterdir()}
        assert len(crops) == ours.num_frames
        assert crops == {f"{index:06d}.jpg" for index in found.frame_index}
    assert not list((tmp_path / "faces" / "frames").glob(".*"))


@pytest.mark.usefixtures("short_stretches")
def test_two_passes_over_stretches_are_the_same(video, by_one, tmp_path, monkeypatch):
    monkeypatch.setattr(stretched, "num_cores", lambda: 2)
    whole, out = by_one
    monkeypatch.setattr(engines, "num_workers", lambda config, jobs: 0)  # in this process
    monkeypatch.setattr(face_clips, "WAITING_BYTES", 0)
    store_of(video, tmp_path / "faces", 2)
    mine = {name: content for name, content in contents(tmp_path / "faces").items()}
    theirs = contents(out)
    jpegs = [sum(name.endswith(".jpg") for name in names) for names in (mine, theirs)]
    assert abs(jpegs[0] - jpegs[1]) <= SEAMS
    assert whole.num_clips == len(read_clips(tmp_path / "faces"))


@pytest.mark.usefixtures("short_stretches")
def test_a_worker_that_dies_in_a_stretch_costs_the_whole_source(video, tmp_path, monkeypatch):
    monkeypatch.setattr(preprocess_run, "set_up_sources", set_up_that_dies)
    result = store_of(video, tmp_path / "faces", 2)
    (failure,) = result.failures
    assert failure.stage == "worker"
    assert "SIGKILL" in failure.reason
    assert result.num_clips == 0
    assert not list((tmp_path / "faces" / "frames").iterdir())
    monkeypatch.setattr(preprocess_run, "set_up_sources", source_worker.set_up_sources)
    assert store_of(video, tmp_path / "faces", 2).num_clips >= 2


@pytest.mark.usefixtures("short_stretches")
def test_a_damaged_stretch_gives_the_result_of_one_worker(video, tmp_path, monkeypatch):
    monkeypatch.setattr(engines, "num_workers", lambda config, jobs: 0)  # in this process
    broken = tmp_path / "people.mp4"
    content = bytearray(video.read_bytes())
    half = len(content) // 2
    content[half : half + 3000] = bytes(3000)
    broken.write_bytes(content)
    one = store_of(broken, tmp_path / "one", 1)
    two = store_of(broken, tmp_path / "two", 2)
    assert two.num_frames == one.num_frames
    assert [clip.num_frames for clip in two.clips] == [clip.num_frames for clip in one.clips]
    assert [one.reason for one in two.failures] == [one.reason for one in one.failures]
    assert len(two.warnings) == len(one.warnings)


@pytest.mark.usefixtures("short_stretches")
def test_a_video_that_changes_between_stretches_is_done_as_a_whole(
    video, by_one, tmp_path, monkeypatch
):
    monkeypatch.setattr(preprocess_run, "set_up_sources", set_up_that_is_written_over)
    own = tmp_path / "people.mp4"
    shutil.copy(video, own)
    result = store_of(own, tmp_path / "faces", 2)
    assert result.num_clips == by_one[0].num_clips
    assert result.num_frames == by_one[0].num_frames


def packets_at(*times, keys):
    return [
        SimpleNamespace(
            pts=time, size=10, is_corrupt=False, is_discard=False, is_keyframe=number in keys
        )
        for number, time in enumerate(times)
    ]


@pytest.mark.parametrize(
    "packets",
    [
        packets_at(0, 2, 1, 3, 2, 4, keys=(0, 4)),  # time goes back at a key frame
        packets_at(0, 1, 2, keys=(1,)),  # nothing can be decoded from the first packet
        [*packets_at(0, 1, keys=(0,)), *packets_at(None, keys=(0,))],
    ],
)
def test_a_video_whose_times_go_backwards_is_not_cut(packets):
    container = SimpleNamespace(demux=lambda stream: iter(packets))
    with pytest.raises(UnclearTimesError):
        list(packet_times(container, None, lambda: None))


def test_a_video_is_cut_only_where_its_times_are_clear(video, tmp_path, monkeypatch):
    monkeypatch.setattr(stretches, "SHORTEST", 2.0)
    plan = cut_into_stretches(video, 4, MOST_PIXELS)
    assert [stretch.number for stretch in plan] == [0, 1, 2, 3]
    whole = [(frame.index, round(frame.pts_seconds, 4)) for frame in VideoReader(video)]
    assert plan[0].num_frames == len(whole)
    read = []
    for stretch in plan:
        reader = VideoReader(video, stretch=stretch)
        read += [
            (frame.index, round(frame.pts_seconds, 4))
            for frame in reader
            if stretch.holds(frame.pts_seconds)
        ]
    assert read == whole

    rare = tmp_path / "rare.mp4"  # one key frame, at the beginning
    frames = (np.full((64, 64, 3), 100 + number % 2, np.uint8) for number in range(300))
    write_video(rare, frames, FPS, gop_seconds=600)
    assert cut_into_stretches(rare, 4, MOST_PIXELS) == []

    assert cut_into_stretches(tmp_path, 4, MOST_PIXELS) == []
    (tmp_path / "text.mp4").write_text("no video")
    assert cut_into_stretches(tmp_path / "text.mp4", 4, MOST_PIXELS) == []
