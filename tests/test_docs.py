"""The generated pages match what the scripts make, and the site builds."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "docs" / "generate"))

import commands  # noqa: E402
import house  # noqa: E402


def test_the_page_of_commands_matches_the_options():
    assert commands.PAGE.read_text() == commands.page(), "run python docs/generate/commands.py"


def test_every_package_stands_in_the_picture_of_the_house():
    drawn = house.PICTURE.read_text()
    for names in house.layers():
        for name in names:
            assert f">{name}</text>" in drawn, "run python docs/generate/house.py"


@pytest.mark.slow
def test_the_site_builds_without_a_warning(tmp_path):
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "commands.html").is_file()
