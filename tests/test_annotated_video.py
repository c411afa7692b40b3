"""The annotated video: original size, times and sound."""

import threading
from fractions import Fraction

import av
import cv2
import numpy as np
import pytest
from av.audio.resampler import AudioResampler

from dfercli.artifacts.predictions import WindowPrediction
from dfercli.errors import DataError
from dfercli.prediction.annotate import annotate
from dfercli.prediction.clip_faces import StoredFaces
from dfercli.prediction.tracked_source import TrackedSource
from dfercli.report.colours import class_colours
from dfercli.report.face_panel import FacePanels, PanelText
from dfercli.report.overlay import Overlay, ShownFace
from dfercli.report.timeline import build_timelines
from dfercli.report.video_prediction import VideoPrediction
from dfercli.video import sound
from dfercli.video.annotated import write_annotated
from dfercli.video.frames import Frame

SOUND_FRAME = 576  # samples; MP3 at low rates takes no other frame size
TIMES = (0.0, 0.033, 0.1, 0.5, 0.55)  # a variable frame rate


def grey_frames(times=TIMES, size=(47, 63)):
    for index, seconds in enumerate(times):
        yield Frame(index, seconds, np.full((*size, 3), 40 * index, np.uint8))


def video_with_sound(path, codec, rate=48000, pictures="libx264"):
    with av.open(str(path), "w") as container:
        video = container.add_stream(pictures, rate=25)
        video.width = video.height = 64
        sound = container.add_stream(codec, rate=rate)
        for number in range(25):
            picture = av.VideoFrame.from_ndarray(np.zeros((64, 64, 3), np.uint8), format="rgb24")
            picture.pts, picture.time_base = number, Fraction(1, 25)
            container.mux(video.encode(picture))
        container.mux(video.encode())
        resampler = AudioResampler(sound.format, sound.layout, rate, frame_size=SOUND_FRAME)
        tone = np.sin(np.arange(rate) * 2880 / rate).astype(np.float32)
        whole = av.AudioFrame.from_ndarray(tone[None], "fltp", "mono")
        whole.sample_rate, whole.pts = rate, 0
        for part in resampler.resample(whole):
            container.mux(sound.encode(part))
        container.mux(sound.encode())
    return path


def test_frames_keep_their_times_and_an_odd_size_is_padded(tmp_path):
    out = tmp_path / "a.mp4"
    assert write_annotated(out, grey_frames(), sound_of=None) == len(TIMES)
    with av.open(str(out)) as container:
        frames = list(container.decode(video=0))
        stream = container.streams.video[0]
        assert (stream.codec_context.name, stream.width, stream.height) == ("h264", 64, 48)
        assert stream.codec_context.pix_fmt == "yuv420p"
    np.testing.assert_allclose([frame.time for frame in frames], TIMES, atol=1e-3)


@pytest.mark.parametrize(
    ("codec", "suffix", "rate", "pictures"),
    [
        ("aac", ".mp4", 48000, "libx264"),
        ("libopus", ".mkv", 48000, "libx264"),
        ("aac", ".ts", 48000, "libx264"),  # the video does not start at 0
        ("libmp3lame", ".avi", 44100, "mpeg4"),
        ("libmp3lame", ".avi", 11025, "mpeg4"),  # not a rate of MP3 in MP4
        ("libmp3lame", ".mp4", 44100, "libx264"),
        ("pcm_s16le", ".avi", 6000, "mpeg4"),  # not a rate of AAC
        ("pcm_s16le", ".avi", 192000, "mpeg4"),
    ],
)
def test_sound_is_kept_and_stays_in_time(tmp_path, codec, suffix, rate, pictures):
    source = video_with_sound(tmp_path / f"source{suffix}", codec, rate, pictures)
    out = tmp_path / "out.mp4"
    times = np.arange(0.4, 1.0, 0.04)
    frames = (Frame(10 + i, float(t), np.zeros((64, 64, 3), np.uint8)) for i, t in enumerate(times))
    write_annotated(out, frames, sound_of=source)
    with av.open(str(out)) as container:
        (stream,) = container.streams.audio
        kept = "mp3" if (codec, suffix) == ("libmp3lame", ".mp4") else "aac"
        assert stream.codec_context.codec.canonical_name == kept
        heard = [frame for frame in container.decode(stream) if frame.pts >= 0]
    assert heard[0].time < 0.1
    assert 0.4 < heard[-1].time < 0.7
    assert max(float(np.abs(frame.to_ndarray()).max()) for frame in heard) > 0.5


def black_frames(count=25):
    return (Frame(i, i / 25, np.zeros((64, 64, 3), np.uint8)) for i in range(count))


def test_sound_that_cannot_be_decoded_in_places_is_left_out_there(tmp_path):
    source = video_with_sound(tmp_path / "source.avi", "libmp3lame", 44100, "mpeg4")
    content = bytearray(source.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 300] = bytes(300)
    source.write_bytes(content)
    notes = []
    out = tmp_path / "out.mp4"
    write_annotated(out, black_frames(), sound_of=source, note=notes.append)
    with av.open(str(out)) as container:
        assert sum(frame.samples for frame in container.decode(audio=0)) > 20_000
    assert not notes


def test_a_video_whose_sound_has_no_encoder_is_written_silent_with_a_note(tmp_path, monkeypatch):
    source = video_with_sound(tmp_path / "source.avi", "libmp3lame", 44100, "mpeg4")
    monkeypatch.setattr(sound, "_takes", lambda add_stream: False)
    notes = []
    out = tmp_path / "out.mp4"
    assert write_annotated(out, black_frames(), sound_of=source, note=notes.append) == 25
    with av.open(str(out)) as container:
        assert not container.streams.audio
    assert len(notes) == 1
    assert "its sound cannot be kept" in notes[0]


def test_sound_that_fails_midway_ends_there_with_a_note(tmp_path, monkeypatch):
    source = video_with_sound(tmp_path / "source.avi", "libmp3lame", 44100, "mpeg4")

    class Refusing:
        def __init__(self, *_):
            pass

        def resample(self, frame):
            raise ValueError("Frame does not match AudioResampler setup.")

    monkeypatch.setattr(sound, "AudioResampler", Refusing)
    notes = []
    out = tmp_path / "out.mp4"
    assert write_annotated(out, black_frames(), sound_of=source, note=notes.append) == 25
    with av.open(str(out)) as container:
        assert sum(1 for _ in container.decode(video=0)) == 25
    assert len(notes) == 1
    assert "its sound ends at 0.0 s" in notes[0]


def test_frames_closer_than_a_tick_and_far_apart_are_all_written(tmp_path):
    times = (5.0, 5.000001, 5.000002, 5.04, 400.0)
    out = tmp_path / "a.mp4"
    assert write_annotated(out, grey_frames(times), sound_of=None) == len(times)
    with av.open(str(out)) as container:
        written = [float(frame.pts * frame.time_base) for frame in container.decode(video=0)]
    assert written == pytest.approx([0, 0, 0, 0.04, 395.0], abs=1e-3)
    assert np.all(np.diff(written) > 0)


def test_a_video_without_frames_is_an_error_and_leaves_no_file(tmp_path):
    with pytest.raises(DataError, match="no frame"):
        write_annotated(tmp_path / "a.mp4", iter(()), sound_of=None)
    assert not list(tmp_path.iterdir())


def test_what_is_drawn_has_the_colour_of_the_class():
    rows = [WindowPrediction("a", 3, 0, 10, "anger", 0.9, False, (0.1, 0.9), (0,) * 4)]
    overlay = Overlay(
        ("happiness", "anger"),
        build_timelines(rows),
        (160, 120),
        length_seconds=20,
        min_confidence=0.5,
    )
    black = np.zeros((120, 160, 3), np.uint8)
    box = np.array([50.0, 40.0, 90.0, 80.0])
    drawn = overlay.draw(black, 5.0, [ShownFace(3, box, np.array([0.1, 0.9]))])
    anger = tuple(bytes.fromhex(class_colours(("happiness", "anger"))[1][1:]))
    assert tuple(drawn[60, 50]) == anger  # the box
    assert tuple(drawn[-5, 60]) == anger  # the first half of the timeline
    assert tuple(drawn[-5, 120]) != anger
    assert not black.any()


SIZES = [(640, 360), (1920, 1080), (3840, 2160)]
SEVEN = ("happiness", "sadness", "neutral", "anger", "surprise", "disgust", "fear")
NUMBERS = np.array([0.05, 0.2, 0.05, 0.05, 0.5, 0.1, 0.05])


def drawn_on_grey(size, boxes, **settings):
    """The overlay of faces at these fractions of the frame, and the pixels that it changed."""
    width, height = size
    overlay = Overlay(SEVEN, (), size, length_seconds=1, min_confidence=0.3, **settings)
    grey = np.full((height, width, 3), 128, np.uint8)
    pixels = np.array(boxes) * [width, height, width, height]
    faces = [ShownFace(number, box, NUMBERS) for number, box in enumerate(pixels)]
    drawn = overlay.draw(grey, 0.0, faces)
    return drawn, (drawn != grey).any(axis=2), pixels.round().astype(int)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(
    "boxes",
    [
        [(0.4, 0.3, 0.6, 0.7)],
        [(0.0, 0.0, 0.2, 0.4)],
        [(0.75, 0.55, 1.0, 1.0)],
        [(0.3, 0.3, 0.4, 0.5), (0.42, 0.3, 0.52, 0.5), (0.54, 0.3, 0.64, 0.5)],
        [(0.1 * n, 0.5, 0.1 * n + 0.04, 0.58) for n in range(1, 9)],
    ],
)
def test_no_panel_covers_a_face_at_any_size(size, boxes):
    _, changed, pixels = drawn_on_grey(size, boxes)
    edge = max(size) // 200 + 4  # the lines of the boxes
    for left, top, right, bottom in pixels:
        assert not changed[top + edge : bottom - edge, left + edge : right - edge].any()


@pytest.mark.parametrize("size", SIZES)
def test_a_panel_names_the_face_and_shows_the_three_strongest_classes(size):
    drawn, changed, _ = drawn_on_grey(size, [(0.4, 0.3, 0.6, 0.7)], names={0: "Anna"})
    colours = dict(zip(SEVEN, class_colours(SEVEN), strict=True))
    lengths = {}
    for name in SEVEN:
        bar = (drawn == tuple(bytes.fromhex(colours[name][1:]))).all(axis=2)
        bar[:, int(0.39 * size[0]) : int(0.61 * size[0])] = False  # the box of the face
        lengths[name] = int(bar.sum(axis=1).max())
    strong = [lengths.pop(name) for name in ("surprise", "sadness", "disgust")]
    assert strong[0] > strong[1] > strong[2] > 0
    assert strong[1] / strong[0] == pytest.approx(0.4, abs=0.05)
    assert set(lengths.values()) == {0}
    other, _, _ = drawn_on_grey(size, [(0.4, 0.3, 0.6, 0.7)], names={0: "Bert"})
    rows = np.flatnonzero((other != drawn).any(axis=(1, 2)))  # where the name stands
    assert rows[-1] - rows[0] >= min(size) / 50  # high enough to be read
    assert changed.mean() < 0.2


def test_many_faces_have_short_panels():
    _, one, _ = drawn_on_grey(SIZES[1], [(0.1, 0.5, 0.14, 0.58)])
    boxes = [(0.1 * n, 0.5, 0.1 * n + 0.04, 0.58) for n in range(1, 9)]
    _, many, _ = drawn_on_grey(SIZES[1], boxes)
    assert many.sum() < 4 * one.sum()


def test_a_panel_stays_on_its_side_while_a_face_moves_a_little():
    overlay = Overlay(SEVEN, (), (640, 360), length_seconds=1, min_confidence=0.3)
    grey = np.full((360, 640, 3), 128, np.uint8)
    centres = []
    for step in range(40):  # past the place where the right side gets too narrow, and back
        shift = 40 * np.sin(step / 3)
        box = np.array([420.0 + shift, 100.0, 520.0 + shift, 220.0])
        drawn = overlay.draw(grey, 0.0, [ShownFace(0, box, NUMBERS)])
        changed = (drawn != grey).any(axis=2)
        changed[90:230, int(box[0]) - 4 : int(box[2]) + 5] = False
        centres.append(np.flatnonzero(changed.any(axis=0)).mean() - box[0])
    assert sum(abs(np.diff(centres)) > 100) <= 1


def test_classes_have_colours_of_their_own():
    names = ("happiness", "bored", "confused", "neutral")
    assert len(set(class_colours(names))) == len(names)


def test_sound_without_a_decoder_is_left_out_with_a_note(tmp_path):
    source = video_with_sound(tmp_path / "a.avi", "libmp3lame", 44100, "mpeg4")
    content = bytearray(source.read_bytes())
    kind = content.rindex(b"strf") + 8
    assert content[kind : kind + 2] == b"\x55\0"  # MP3
    content[kind : kind + 2] = b"\x77\x77"
    source.write_bytes(content)
    notes = []
    out = tmp_path / "b.mp4"
    assert write_annotated(out, black_frames(), sound_of=source, note=notes.append) == 25
    assert len(notes) == 1
    assert "its sound cannot be kept: there is no decoder for it" in notes[0]


def test_frames_of_other_sizes_are_fitted_to_the_first(tmp_path):
    sizes = ((47, 63), (100, 20), (1, 1999), (47, 64), (3, 3))
    frames = (Frame(i, i / 25, np.full((*size, 3), 99, np.uint8)) for i, size in enumerate(sizes))
    out = tmp_path / "a.mp4"
    assert write_annotated(out, frames, sound_of=None) == len(sizes)
    with av.open(str(out)) as container:
        assert {(f.width, f.height) for f in container.decode(video=0)} == {(64, 48)}


@pytest.mark.parametrize("sizes", [[(160, 120), (1999, 7)], [(40, 40), (4, 4), (300, 200)]])
def test_a_folder_of_pictures_of_several_sizes_is_annotated(tmp_path, sizes):
    folder = tmp_path / "frames"
    folder.mkdir()
    for number, size in enumerate(sizes * 2):
        picture = np.full((size[1], size[0], 3), 90, np.uint8)
        cv2.imwrite(str(folder / f"{number:06d}.png"), picture)
    row = WindowPrediction("a", 0, 0, 1, "a", 0.6, False, (0.6, 0.4), (0, 0, 9, 9))
    video = VideoPrediction(str(folder), ("a", "b"), (row,))
    store = tmp_path / "store"
    annotate(
        TrackedSource(str(folder), StoredFaces(store), ()), video, tmp_path / "a.mp4",
        length_seconds=1.0, min_confidence=0.5, stop=threading.Event(),
    )  # fmt: skip
    with av.open(str(tmp_path / "a.mp4")) as container:
        assert len(list(container.decode(video=0))) == 2 * len(sizes)


@pytest.mark.parametrize(
    ("place", "has_line"), [((300, 10, 390, 40), True), ((64, 20, 150, 50), False)]
)
def test_a_panel_far_from_its_face_has_a_line_to_it(place, has_line, monkeypatch):
    scene = np.zeros((300, 400, 3), np.uint8)
    colour = (10, 200, 30)
    text = PanelText(0, "#0", False, [("fear", 0.9, colour)])
    monkeypatch.setattr(FacePanels, "_place", lambda *_: place)
    FacePanels((400, 300), 300).draw(scene, np.array([[20.0, 20.0, 60.0, 60.0]]), [text])
    between = scene[:, 61 : place[0]].reshape(-1, 3)
    assert bool(between.any()) == has_line
