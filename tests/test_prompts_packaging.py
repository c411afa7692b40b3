import os
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

from dfercli.descriptions.prompt_files import prompts_folder

ROOT = Path(__file__).parents[1]


def test_prompts_are_found_in_a_checkout():
    assert prompts_folder() == ROOT / "prompts"
    assert (prompts_folder() / "class_texts.json").is_file()


def build(folder: Path, kind: str, out: Path) -> Path:
    """The wheel or sdist of a folder, as its build backend makes it."""
    command = [sys.executable, "-m", "hatchling", "build", "-t", kind, "-d", str(out)]
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
    (made,) = out.glob("*.whl" if kind == "wheel" else "*.tar.gz")
    return made


def test_a_wheel_made_from_the_sdist_holds_prompts_recipes_and_pages(tmp_path):
    sdist = build(ROOT, "sdist", tmp_path / "dist")
    with tarfile.open(sdist) as archive:
        archive.extractall(tmp_path / "source", filter="data")
    (source,) = (tmp_path / "source").iterdir()
    assert {"README.md", "LICENSE", "SECURITY.md", "docs", "tests"} <= set(os.listdir(source))
    wheel = build(source, "wheel", tmp_path / "dist")
    check = [sys.executable, "-m", "twine", "check", "--strict", str(sdist), str(wheel)]
    done = subprocess.run(check, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
    site = tmp_path / "site"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)
    shipped = {path.name for path in (ROOT / "prompts").iterdir()}
    assert {path.name for path in (site / "dfercli" / "prompts").iterdir()} == shipped
    for folder, pattern in (
        ("report/templates", "*"),
        ("recipes", "*.toml"),
        ("recipes/sweeps", "*.toml"),
        ("registry", "*.toml"),
    ):
        own = {path.name for path in (ROOT / "dfercli" / folder).glob(pattern)}
        assert own
        assert {path.name for path in (site / "dfercli" / folder).glob(pattern)} == own, folder
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
