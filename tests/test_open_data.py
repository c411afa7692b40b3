"""`dfer data get`: a loopback Zenodo that is whole, cut, wrong, busy or hostile."""

import io
import os
import stat
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from drawn_sets import draw_crema_d
from typer.testing import CliRunner
from zenodo_server import Zenodo, archive_of, serving

from dfercli.artifacts.atomic import is_temporary
from dfercli.cli.app import app
from dfercli.config import GetConfig
from dfercli.data.crema_d import CREMA_D
from dfercli.errors import ArtifactError, ConfigError, ServiceError
from dfercli.open_data import run as get
from dfercli.open_data import unpack as unpacking
from dfercli.open_data import zenodo as client
from dfercli.progress import SilentProgress

ONE = "Video_Speech_Actor_01.zip"
TWO = "Video_Speech_Actor_02.zip"


class Listener(SilentProgress):
    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, message: str) -> None:
        self.notes.append(message)


@pytest.fixture
def zenodo(tmp_path, monkeypatch):
    video = tmp_path / "video"
    video.write_bytes(os.urandom(300_000))
    files = {
        f"Video_Speech_Actor_{actor:02d}.zip": archive_of(
            {
                f"Actor_{actor:02d}/01-01-0{emotion}-01-01-01-{actor:02d}.mp4": video
                for emotion in (1, 3)
            }
        )
        for actor in (1, 2)
    }
    monkeypatch.setattr(client, "FIRST_WAIT_SECONDS", 0.01)
    with serving(files) as server:
        monkeypatch.setenv(client.PLACE_VARIABLE, server.url)
        yield server


def fetch(root: Path, actors: str = "1", progress: SilentProgress | None = None) -> int:
    progress = progress or SilentProgress()
    return get.run(get.plan(GetConfig("ravdess", root, actors), progress), progress)


def files_below(root: Path) -> list[str]:
    return sorted(str(path.relative_to(root)) for path in root.rglob("*.mp4"))


def num_fetched(zenodo: Zenodo) -> int:
    return sum("/files/" in path for path, _ in zenodo.requests)


def test_archives_are_fetched_checked_unpacked_and_not_fetched_again(tmp_path, zenodo):
    root = tmp_path / "data"
    assert fetch(root, "1-2") == 4
    assert len(files_below(root)) == 4
    assert not list(root.glob("*.zip"))
    plan = get.plan(GetConfig("ravdess", root, "1,2"), SilentProgress())
    assert (plan.files, plan.num_done) == ((), 2)
    (root / files_below(root)[0]).unlink()
    plan = get.plan(GetConfig("ravdess", root, "1,2"), SilentProgress())
    assert [file.key for file in plan.files] == [ONE]


def test_a_cut_download_is_resumed(tmp_path, zenodo):
    zenodo.cut_at = 400_000
    listener = Listener()
    assert fetch(tmp_path / "data", progress=listener) == 2
    spans = [span for path, span in zenodo.requests if path.endswith(ONE)]
    assert spans == [None, "bytes=400000-"]
    assert len(listener.notes) == 1


def test_a_killed_download_is_resumed(tmp_path, zenodo, monkeypatch):
    root = tmp_path / "data"
    monkeypatch.setattr(client, "TRIES", 1)
    zenodo.cut_at = 400_000
    with pytest.raises(ServiceError):
        fetch(root)
    assert fetch(root) == 2
    assert [span for path, span in zenodo.requests if path.endswith(ONE)][1] == "bytes=400000-"


def test_a_wrong_md5_is_fetched_once_more_and_then_refused(tmp_path, zenodo):
    zenodo.md5[ONE] = "0" * 32
    with pytest.raises(ArtifactError, match=r"MD5 is [0-9a-f]{32}, expected 0+, twice"):
        fetch(tmp_path / "data")
    assert num_fetched(zenodo) == 2
    assert files_below(tmp_path / "data") == []
    assert not (tmp_path / "data" / ONE).exists()


@pytest.mark.parametrize(("status", "headers"), [(429, {"Retry-After": "0"}), (503, {}), (500, {})])
def test_a_busy_server_is_asked_again(status, headers, tmp_path, zenodo):
    zenodo.refusals = [(status, headers)] * 2
    listener = Listener()
    assert fetch(tmp_path / "data", progress=listener) == 2
    assert all(f"answered {status}" in note for note in listener.notes)
    assert len(listener.notes) == 2


def test_a_part_outlives_a_busy_server(tmp_path, zenodo, monkeypatch):
    monkeypatch.setattr(client, "TRIES", 1)
    zenodo.cut_at = 400_000
    with pytest.raises(ServiceError):
        fetch(tmp_path / "data")
    zenodo.refusals = [(503, {})]
    with pytest.raises(ServiceError):
        fetch(tmp_path / "data")
    assert fetch(tmp_path / "data") == 2
    assert zenodo.requests[-1][1] == "bytes=400000-"


def test_retry_after_is_obeyed(tmp_path, zenodo, monkeypatch):
    zenodo.refusals = [(429, {"Retry-After": "7"})]
    waits = []
    file = client.read_record("1188976", client.Patience(print))[0]
    client.fetch_file(
        "1188976", file, tmp_path / ONE, client.Patience(print, waits.append), lambda *_: None
    )
    assert waits == [7.0]


def test_a_server_that_asks_for_an_hour_is_not_waited_for(tmp_path, zenodo):
    zenodo.refusals = [(429, {"Retry-After": "3600"})]
    with pytest.raises(ServiceError, match="asks to wait 3600 s"):
        fetch(tmp_path / "data")


def test_a_missing_file_is_not_requested_again(tmp_path, zenodo):
    zenodo.refusals = [(404, {})]
    with pytest.raises(ServiceError, match="answered 404"):
        fetch(tmp_path / "data")
    assert num_fetched(zenodo) == 1


def test_one_failure_stops_the_other_downloads(tmp_path, zenodo):
    zenodo.md5[ONE] = "0" * 32
    with pytest.raises(ArtifactError, match=ONE):
        fetch(tmp_path / "data", "1-2")
    del zenodo.md5[ONE]
    assert fetch(tmp_path / "data", "1-2") >= 2


def link_to(target: str) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        entry = zipfile.ZipInfo("Actor_01/01-01-01-01-01-01-01.mp4")
        entry.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(entry, target)
    return buffer.getvalue()


def named(*names: str, content: bytes = b"x" * 100) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name in names:
            archive.writestr(name, content)
    return buffer.getvalue()


def bomb() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("Actor_01/01-01-01-01-01-01-01.mp4", bytes(10_000_000))
    return buffer.getvalue()


VIDEO = "01-01-01-01-01-01-01.mp4"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (named(f"../{VIDEO}"), "expected names"),
        (named(f"Actor_01/../../{VIDEO}"), "expected names"),
        (named(f"/tmp/{VIDEO}"), "expected names"),
        (named(f"a\\..\\{VIDEO}"), "expected names"),
        (named(VIDEO, VIDEO.upper()), "twice"),
        (link_to("/etc/passwd"), "link or a device"),
        (bomb(), "would grow"),
        (b"no archive at all", "cannot be unpacked"),
        (named(VIDEO)[:-30], "cannot be unpacked"),
    ],
)
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_hostile_archive_writes_nothing(content, message, tmp_path, zenodo):
    root = tmp_path / "inner" / "data"
    zenodo.files[ONE] = content
    with pytest.raises(ArtifactError, match=message):
        fetch(root)
    assert files_below(tmp_path) == []
    assert not [path for path in root.iterdir() if is_temporary(path)]


def test_a_link_in_the_way_is_not_written_through(tmp_path, zenodo):
    root, elsewhere = tmp_path / "data", tmp_path / "elsewhere"
    root.mkdir()
    elsewhere.mkdir()
    (root / "Actor_01").symlink_to(elsewhere)
    with pytest.raises(ArtifactError):
        fetch(root)
    assert list(elsewhere.iterdir()) == []


def test_only_videos_of_the_set_are_unpacked(tmp_path, zenodo):
    zenodo.files[ONE] = named(f"Actor_01/{VIDEO}", "run.sh", "Actor_01/._x.mp4", "holiday.mp4")
    assert fetch(tmp_path / "data") == 1
    assert files_below(tmp_path / "data") == [f"Actor_01/{VIDEO}"]
    assert not (tmp_path / "data" / "run.sh").exists()


def test_too_little_room_is_reported_before_anything_is_fetched(tmp_path, zenodo, monkeypatch):
    class Usage:
        free = 1_000_000

    monkeypatch.setattr(unpacking.shutil, "disk_usage", lambda path: Usage)
    with pytest.raises(ArtifactError, match=r"needs 0\.00 GB in .* where 0\.00 GB are free"):
        fetch(tmp_path / "data")
    assert num_fetched(zenodo) == 0


@pytest.mark.parametrize("actors", ["0", "25", "5-3", "x", "1-", "1,,2"])
def test_actors_who_do_not_exist(actors, tmp_path, zenodo):
    with pytest.raises(ConfigError, match="actors"):
        fetch(tmp_path / "data", actors)


def test_offline_says_so(tmp_path, zenodo, monkeypatch):
    monkeypatch.setenv("DFER_OFFLINE", "1")
    with pytest.raises(ArtifactError, match="DFER_OFFLINE"):
        fetch(tmp_path / "data")


def test_the_command_shows_size_and_licence_and_asks(tmp_path, zenodo):
    root = tmp_path / "data"
    arguments = ["data", "get", "ravdess", "--root", str(root), "--actors", "1-2"]
    asked = CliRunner().invoke(app, arguments)
    assert isinstance(asked.exception, ConfigError)
    assert "0.00 GB to fetch" in asked.stdout
    assert "CC BY-NC-SA" in asked.stdout
    assert not root.exists()
    done = CliRunner().invoke(app, [*arguments, "--yes"])
    assert done.exit_code == 0
    assert "4 videos unpacked" in done.stdout
    again = CliRunner().invoke(app, [*arguments, "--yes"])
    assert "nothing to fetch" in again.stdout


def test_crema_d_is_fetched_by_printed_commands(tmp_path):
    root = tmp_path / "CREMA-D"
    arguments = ["data", "get", "crema-d", "--root", str(root)]
    first = CliRunner().invoke(app, arguments)
    assert first.exit_code == 3
    assert f"git clone {CREMA_D.repository} {root}" in first.stdout
    assert f"git -C {root} lfs pull" in first.stdout
    draw_crema_d(root, [1001], num_frames=2)
    second = CliRunner().invoke(app, arguments)
    assert second.exit_code == 3
    assert "git clone" not in second.stdout
    assert "missing: 7431 of 7438 videos" in second.stdout
    assert "  1002_DFA_ANG_XX" in second.stdout
    assert "1001_IEO_ANG_HI" not in second.stdout


def test_a_bad_server_or_folder_is_refused_at_once(tmp_path, zenodo, monkeypatch):
    file = tmp_path / "file"
    file.write_text("mine")
    with pytest.raises(ConfigError, match="is a file, expected a folder"):
        fetch(file)
    monkeypatch.setenv(client.PLACE_VARIABLE, "file:///etc")
    with pytest.raises(ConfigError, match="DFER_ZENODO takes"):
        fetch(tmp_path / "data")
    assert zenodo.requests == []


def test_archives_are_unpacked_side_by_side(tmp_path):
    archives = [tmp_path / f"{actor:02d}.zip" for actor in range(1, 25)]
    for actor, archive in enumerate(archives, start=1):
        archive.write_bytes(named(f"Actor_{actor:02d}/01-01-01-01-01-01-{actor:02d}.mp4"))
    folder = tmp_path / "data"
    with ThreadPoolExecutor(6) as pool:
        found = list(pool.map(lambda path: unpacking.unpack(path, folder, bool), archives))
    assert sum(map(len, found)) == len(files_below(folder)) == 24
    assert {path.name[:6] for path in folder.iterdir()} == {"Actor_"}
