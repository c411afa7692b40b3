import os
import subprocess
import sys
import zipfile
from pathlib import Path

from dfercli.descriptions.prompt_files import prompts_folder

ROOT = Path(__file__).parents[1]


def test_prompts_are_found_in_a_checkout():
    assert prompts_folder() == ROOT / "prompts"
    assert (prompts_folder() / "class_texts.json").is_file()


def test_prompts_are_found_in_an_unpacked_wheel(tmp_path):
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)],
        cwd=ROOT,
        check=True,
        capture_output=True,
    )
    (wheel,) = tmp_path.glob("*.whl")
    site = tmp_path / "site"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)
    shipped = {path.name for path in (ROOT / "prompts").iterdir()}
    assert {path.name for path in (site / "dfercli" / "prompts").iterdir()} == shipped
    templates = Path("dfercli", "report", "templates")
    pages = {path.name for path in (ROOT / templates).iterdir()}
    assert pages
    assert {path.name for path in (site / templates).iterdir()} == pages
    program = (
        "from dfercli.descriptions import prompt_files, texts\n"
        "print(prompt_files.prompts_folder())\n"
        "print(texts.shipped_texts(('fear',)).positive[0][0])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(site)},
        check=True,
        capture_output=True,
        text=True,
    )
    folder, text = done.stdout.splitlines()
    assert Path(folder) == site / "dfercli" / "prompts"
    assert text.startswith("The brows")
