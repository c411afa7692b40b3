"""`dfer data merge`: sources are told apart by their paths; nothing is lost or half-made."""

import shutil
from dataclasses import replace

import numpy as np
import pytest
from face_parts import write_caption

from dfercli.artifacts.captions import read_captions
from dfercli.artifacts.face_parts import write_landmarks
from dfercli.artifacts.face_store import read_clips
from dfercli.artifacts.parts_record import parts_made, record_parts
from dfercli.config import CheckConfig, PreprocessConfig
from dfercli.drawn_faces.clip import render_clip
from dfercli.drawn_faces.identity import random_identity
from dfercli.errors import ConfigError, DataError
from dfercli.preprocessing import check_data, merge
from dfercli.preprocessing.run import run
from dfercli.progress import LogProgress
from dfercli.video.write import write_video

FAST = PreprocessConfig(detector="haar", min_face=80, workers=0)


@pytest.fixture(scope="module")
def drawn():
    rng = np.random.default_rng(5)
    return render_clip(random_identity(rng), "happiness", rng, num_frames=8)


@pytest.fixture
def video(tmp_path, drawn):
    write_video(tmp_path / "one.mp4", drawn.frames, drawn.fps)
    return tmp_path / "one.mp4"


def preprocess(*sources, out, **changes):
    config = replace(FAST, sources=tuple(str(source) for source in sources), out=out, **changes)
    return run(config, LogProgress())


def merged(*shards, out):
    return merge.run(shards, out, LogProgress())


def test_videos_of_one_name_in_two_projects_stay_two(tmp_path, video):
    for project in ("p1", "p2"):
        (tmp_path / project / "videos").mkdir(parents=True)
        shutil.copyfile(video, tmp_path / project / "videos" / "001.mp4")
        preprocess(tmp_path / project / "videos", out=tmp_path / project / "faces")
    out = tmp_path / "both"
    result = merged(tmp_path / "p1" / "faces", tmp_path / "p2" / "faces", out=out)
    assert (result.num_sources, result.num_clips) == (2, 2)
    places = [clip.source for clip in read_clips(out)]
    assert places == ["../p1/videos/001.mp4", "../p2/videos/001.mp4"]
    report = check_data.run(CheckConfig(dataset=str(out), pictures=0), LogProgress())
    assert {finding.kind for finding in report.findings} == {"short", "unlabelled"}


def test_a_video_in_shards_of_different_depth_is_merged_once_and_known_at_any_depth(
    tmp_path, video
):
    shutil.copyfile(video, tmp_path / "two.mp4")
    preprocess(video, out=tmp_path / "a")
    preprocess(video, tmp_path / "two.mp4", out=tmp_path / "sub" / "b")
    out = tmp_path / "deep" / "er" / "ab"
    assert merged(tmp_path / "a", tmp_path / "sub" / "b", out=out).num_sources == 2
    assert [clip.source for clip in read_clips(out)] == ["../../../one.mp4", "../../../two.mp4"]
    again = preprocess(video, tmp_path / "two.mp4", out=out)
    assert again.num_skipped == 2
    assert len(read_clips(out)) == 2


def test_captions_landmarks_and_previews_are_merged_under_the_new_names(tmp_path, video):
    shutil.copyfile(video, tmp_path / "two.mp4")
    for source, store, text in ((video, "a", "The lips part."), ("two.mp4", "b", "A brow rises.")):
        (clip,) = preprocess(tmp_path / source, out=tmp_path / store, preview=True).clips
        write_caption(tmp_path / store, clip.clip_id, text)
        record_parts(tmp_path / store, {"landmarks": "drawn"})
        write_landmarks(tmp_path / store, clip.clip_id, np.zeros((8, 68, 2)))
    out = tmp_path / "sub" / "ab"
    for _ in range(2):  # complete parts stay as they are
        merged(tmp_path / "a", tmp_path / "b", out=out)
        ids = [clip.clip_id for clip in read_clips(out)]
        captions = read_captions(out)
        assert [captions[name].caption for name in ids] == ["The lips part.", "A brow rises."]
        assert {path.stem for path in (out / "landmarks").iterdir()} == set(ids)
        assert parts_made(out) == {"landmarks": "drawn"}
        keys = {name.removesuffix("-0") for name in ids}
        assert {path.stem for path in (out / "preview").glob("*.mp4")} == keys
        assert {path.stem for path in (out / "preview").glob("*.jpg")} == keys


def test_shards_whose_landmarks_were_made_in_two_ways_are_refused(tmp_path, video):
    preprocess(video, out=tmp_path / "a")
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    for name, how in (("a", "guessed"), ("b", "drawn")):
        (clip,) = read_clips(tmp_path / name)
        record_parts(tmp_path / name, {"landmarks": how})
        write_landmarks(tmp_path / name, clip.clip_id, np.zeros((8, 68, 2)))
    with pytest.raises(ConfigError, match=r"/b: landmarks .* by .drawn., those of .*/a by"):
        merged(tmp_path / "a", tmp_path / "b", out=tmp_path / "ab")
    assert not (tmp_path / "ab").exists()


@pytest.mark.parametrize("lost", ["frames", "tracks", "sources"])
def test_a_damaged_shard_is_refused_and_nothing_is_written(tmp_path, video, lost):
    preprocess(video, out=tmp_path / "a")
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    shutil.rmtree(tmp_path / "b" / lost)
    with pytest.raises(DataError, match="one-"):
        merged(tmp_path / "a", tmp_path / "b", out=tmp_path / "ab")
    assert not (tmp_path / "ab").exists()


def test_shards_of_other_settings_are_named_and_nothing_is_written(tmp_path, video):
    preprocess(video, out=tmp_path / "a")
    preprocess(video, out=tmp_path / "b", size=112)
    with pytest.raises(ConfigError, match=r"/a and .*/b were made .*: size 224 -> 112") as raised:
        merged(tmp_path / "a", tmp_path / "b", out=tmp_path / "ab")
    assert "--overwrite" not in str(raised.value.hint)
    assert not (tmp_path / "ab").exists()


def test_a_source_that_differs_between_shards_is_refused_and_nothing_is_written(tmp_path, video):
    preprocess(video, out=tmp_path / "a")
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    record = next((tmp_path / "b" / "sources").iterdir())
    record.write_text(record.read_text().replace('"num_frames": 8', '"num_frames": 9', 1))
    with pytest.raises(DataError, match="differs from the same source elsewhere"):
        merged(tmp_path / "a", tmp_path / "b", out=tmp_path / "ab")
    assert not (tmp_path / "ab").exists()
