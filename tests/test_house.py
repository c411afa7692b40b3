"""What a newcomer meets first: README, CI, Dockerfile, help, start-up."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from dfercli.cli.app import app, run
from dfercli.overrides import read_toml

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()


def sh_blocks() -> list[str]:
    return re.findall(r"```sh\n(.*?)```", README, flags=re.DOTALL)


def install_command() -> str:
    return sh_blocks()[0].strip()


def commands_of(group, prefix: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    found = [(*prefix, command.name) for command in group.registered_commands]
    for sub in group.registered_groups:
        found += commands_of(sub.typer_instance, (*prefix, sub.name))
    return found


COMMANDS = commands_of(app)


def test_the_first_readme_command_installs_and_runs_the_demo():
    assert install_command() == (
        "python3 -m venv .venv && .venv/bin/pip install . && .venv/bin/dfer demo"
    )


def test_ci_calls_the_second_readme_command_with_the_slow_tests():
    second = sh_blocks()[1].strip()
    assert ".venv/bin/pytest" in second
    assert f'{second} -m ""' in (ROOT / ".ci" / "run").read_text().splitlines()


def test_ci_checks_lint_types_and_layers():
    script = (ROOT / ".ci" / "run").read_text()
    assert all(tool in script for tool in ("ruff check", "mypy", "lint-imports"))


def test_dockerfile_copies_what_exists_and_installs_by_the_readme():
    lines = (ROOT / "Dockerfile").read_text().splitlines()
    copies = [
        shlex.split(line)[1:-1]
        for line in lines
        if line.startswith("COPY ") and "--from" not in line
    ]
    assert copies
    for source in (source for sources in copies for source in sources):
        assert (ROOT / source).exists(), source
    install = install_command().removesuffix(" && .venv/bin/dfer demo")
    assert f"RUN {install}" in lines
    copied = {source for sources in copies for source in sources}
    project = read_toml(ROOT / "pyproject.toml")["project"]
    assert {project["readme"], *project["license-files"], "dfercli", "prompts"} <= copied
    assert any(line.startswith("USER ") and line != "USER root" for line in lines)
    assert any(line.startswith("VOLUME ") for line in lines)


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_every_command_has_help_an_example_and_a_place_in_the_docs(command, capsys):
    assert run([*command, "--help"]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert re.search(rf"Examples?: dfer {' '.join(command)}", shown), "no example in the help"
    assert f"### dfer {' '.join(command)}\n" in (ROOT / "docs" / "commands.md").read_text()


def test_help_is_quick_and_loads_no_heavy_library():
    program = (
        "import sys; from dfercli.cli.app import run; code = run(['--help']); "
        "heavy = {'torch', 'cv2', 'decord', 'open_clip', 'face_alignment', 'pandas', 'numpy'}; "
        "sys.stderr.write(' '.join(sorted(heavy & set(sys.modules)))); sys.exit(code)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert "Usage: dfer" in done.stdout
    assert done.stderr == ""


def test_every_error_has_its_exit_code_and_one_line(capsys, monkeypatch):
    from dfercli import errors
    from dfercli.cli import app as app_module

    for kind, code in (
        (errors.ConfigError, 2),
        (errors.DataError, 3),
        (errors.ArtifactError, 4),
        (errors.ServiceError, 5),
    ):

        def fail(*_: object, kind: type[errors.DferError] = kind, **__: object) -> None:
            raise kind("what went\nwrong [bold]here[/bold]", hint="the next step")

        monkeypatch.setattr(app_module, "app", fail)
        assert run([]) == code
        assert capsys.readouterr().err == (
            "error: what went wrong [bold]here[/bold]\nhint: the next step\n"
        )


def test_interrupt_exits_with_130(capsys, monkeypatch):
    from dfercli.cli import app as app_module

    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(app_module, "app", interrupt)
    assert run([]) == 130
    assert capsys.readouterr().err == "error: interrupted\n"


def test_a_full_disk_is_one_line_and_exit_4(capsys, monkeypatch):
    import errno

    from dfercli.cli import app as app_module

    def fill(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", "runs/a")

    monkeypatch.setattr(app_module, "app", fill)
    assert run([]) == 4
    assert capsys.readouterr().err == "error: No space left on device: runs/a\n"


def test_a_bug_keeps_its_traceback(monkeypatch):
    from dfercli.cli import app as app_module

    def break_down(*_: object, **__: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(app_module, "app", break_down)
    with pytest.raises(ZeroDivisionError):
        run([])


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (["nonsense"], "No such command"),
        (["train", "faces/", "--nonsense"], "No such option"),
        (["train", "faces/", "--seed", "many"], "--seed"),
        (["train", "faces/", "--precision", "64"], "precision"),
        (["train", "faces/", "--set", "optim.batchsize=8"], "unknown setting optim.batchsize"),
        (["train"], "DATASET"),
    ],
)
def test_wrong_usage_is_one_line_and_exit_2(arguments, part, capsys):
    assert run(arguments) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert part in error.splitlines()[0]


@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_streams_lead_nowhere(closed):
    program = "from dfercli.cli.start import main; main()"
    dfer = f"{shlex.quote(sys.executable)} -c {shlex.quote(program)}"
    done = subprocess.run(f"{dfer} --version {closed}", shell=True, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    wrong = subprocess.run(f"{dfer} nosuch {closed}", shell=True, capture_output=True, text=True)
    assert wrong.returncode == 2
    assert "Traceback" not in wrong.stderr


def test_a_command_ends_after_all_exit_functions_but_without_the_last_collection(tmp_path):
    """And a bug ends as Python does it, with its traceback."""
    program = tmp_path / "program.py"
    program.write_text(
        "import atexit, sys, threading, time\n"
        "from dfercli.cli import app, start\n"
        "class Kept:\n"
        "    def __del__(self): print('collected')\n"
        "kept = [Kept()]; kept.append(kept)\n"
        "def late(): time.sleep(0.2); print('thread')\n"
        "def run(arguments):\n"
        "    atexit.register(print, 'exit function')\n"
        "    threading.Thread(target=late).start()\n"
        "    if arguments: raise RuntimeError('a bug')\n"
        "    return 3\n"
        "app.run = run\n"
        "start.main()\n"
    )
    done = subprocess.run([sys.executable, program], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (3, "thread\nexit function\n")
    bug = subprocess.run([sys.executable, program, "x"], capture_output=True, text=True)
    assert bug.returncode == 1
    assert bug.stdout == "thread\nexit function\ncollected\n"
    assert "RuntimeError: a bug" in bug.stderr


def test_no_tracked_file_names_a_machine_or_an_index():
    tracked = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.split("\0")
    forbidden = re.compile(r"--(?:extra-)?index-ur[l]|--find-link[s]|/roo[t]/|/hom[e]/\w+/")
    for name in filter(None, tracked):
        path = ROOT / name
        if path.suffix in {".py", ".md", ".toml", ".txt", ".json", ""} and path.is_file():
            text = path.read_text(errors="ignore")
            assert not forbidden.search(text), name
