"""The window of live prediction, in its own process."""

import shutil
import subprocess
import sys
from collections.abc import Iterator

import numpy as np
import pytest

from dfercli.errors import ConfigError
from dfercli.video.window import Window

PICTURE = np.full((60, 80, 3), 200, np.uint8)


@pytest.fixture
def display(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A virtual display."""
    if shutil.which("Xvfb") is None:
        pytest.skip("Xvfb is not installed")
    command = ["Xvfb", "-displayfd", "1", "-screen", "0", "640x480x24"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as server:
        assert server.stdout is not None
        name = f":{server.stdout.readline().decode().strip()}"
        monkeypatch.setenv("DISPLAY", name)
        yield name
        server.terminate()


def test_a_window_opens_with_all_decoders_loaded(display: str) -> None:
    import av
    import decord

    assert av.__version__
    assert decord.__version__
    with Window("dfer") as window:
        assert window.show(PICTURE)
        assert window.show(PICTURE)


def test_a_missing_display_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DISPLAY", ":987")
    with Window("dfer") as window, pytest.raises(ConfigError, match="no window can be opened"):
        window.show(PICTURE)
    assert capfd.readouterr().err == ""


def test_the_window_is_loaded_without_the_decoders() -> None:
    code = "import sys, dfercli.video.window; print('av' in sys.modules, 'decord' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]
