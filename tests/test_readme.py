"""The README's commands, run as they stand on what a (small) demo leaves behind."""

import re
import shlex
from pathlib import Path

import pytest

from dfercli.cli.app import run
from dfercli.config import DemoConfig
from dfercli.demo import run as run_demo
from dfercli.progress import LogProgress

README = (Path(__file__).parents[1] / "README.md").read_text()


def pipeline_lines() -> list[str]:
    section = README.split("## The pipeline")[1].split("### On a benchmark")[0]
    blocks = re.findall(r"```sh\n(.*?)```", section, flags=re.DOTALL)
    return [line for block in blocks for line in block.splitlines() if line.startswith("dfer ")]


def python_block() -> str:
    return re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)[0]


@pytest.fixture(scope="module")
def after_the_demo(tmp_path_factory):
    folder = tmp_path_factory.mktemp("readme")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        # The README names one of the held-out people of the real demo.
        held_out = DemoConfig.train_identities
        small = DemoConfig(train_identities=4, test_identities=1, epochs=1, workers=2)
        run_demo(small, LogProgress())
        videos = Path("dfer-demo/videos/test/happiness")
        (videos / "person-004.mp4").rename(videos / f"person-{held_out:03d}.mp4")
    return folder


def test_the_pipeline_and_python_examples_run(after_the_demo, monkeypatch, capsys):
    monkeypatch.chdir(after_the_demo)
    lines = pipeline_lines()
    assert len(lines) >= 7
    for line in lines:
        arguments = shlex.split(line, comments=True)[1:]
        assert run(arguments) == 0, f"{line}\n{capsys.readouterr().err}"
    assert Path("results/windows.csv").read_text().startswith("schema,")
    assert list(Path("results/exports/eaf").iterdir())
    names: dict[str, object] = {}
    exec(python_block(), names)
    assert len(names["table"]) >= 1


def test_benchmark_examples_are_understood(capsys):
    """Their data cannot be here: the commands must get far enough to say so."""
    section = README.split("### On a benchmark")[1].split("###")[0]
    lines = [line for line in section.splitlines() if line.startswith("dfer ")]
    assert lines
    for line in lines:
        arguments = shlex.split(line, comments=True)[1:]
        if "--root" in arguments:
            assert run(arguments) == 3
            assert "/data/DFEW" in capsys.readouterr().err
