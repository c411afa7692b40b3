"""A short hunt of `benchmarks/fuzz.py`: no mutation causes a fault, and a fault is noticed."""

import json
import os
import random
import subprocess
import sys
import threading
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
CASES = 90  # one or two of each kind


@pytest.mark.slow
def test_mutations_of_each_kind_make_no_fault(tmp_path):
    out = tmp_path / "verdicts.jsonl"
    # In its own process: it forks, which a process with threads must not do.
    done = subprocess.run(
        [sys.executable, BENCHMARKS / "fuzz.py", "--quick", "--cases", str(CASES), "--json", out],
        capture_output=True,
        text=True,
        errors="replace",
    )
    assert done.returncode == 0, done.stdout + done.stderr
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    assert len(rows) == CASES
    assert {row["code"] for row in rows} == {0, 2, 3, 4, 5}
    assert {row["case"].partition(":")[0] for row in rows} == {"artefacts", "media", "answers"}
    # The hunt would be in vain if nearly all mutations were refused at the door.
    assert sum(row["code"] == 0 for row in rows) > CASES / 10
    asked = [row["said"] for row in rows if row["kind"].startswith("answers")]
    assert sum("no LLM server answers" in said for said in asked) < len(asked) / 4


def test_mutations_are_the_same_each_time(monkeypatch, tmp_path):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    from fuzzing import mutations

    rows = b'{"a": [1, {"b": "c"}], "d": null}\n' * 3
    ways = {
        mutations.change_json: b'{"a": [1, {"b": "c"}], "d": null}',
        mutations.change_rows: rows,
        mutations.change_toml: b"[a]\nb = 1\nc = [2]\n",
        mutations.change_text: b"source,label\na.mp4,fear\n",
    }
    for change, content in ways.items():
        made = [
            [change(random.Random(f"{n}"), content, tmp_path) for n in range(200)] for _ in range(2)
        ]
        assert made[0] == made[1]
        assert len({new for new, _ in made[0]}) > 50, change
        assert sum(new == content for new, _ in made[0]) < 20, change


# The expected report -> what a command does wrong. {outside} is where it must not go.
WRONG = {
    "exit code 1: ZeroDivisionError": "1 / 0",
    "exit code 3 with 0 lines": "raise SystemExit(3)",
    "exit code 3 with 2 lines": "end('error: a\\nerror: b')",
    "a bug was told": "end('error: bug: KeyError')",
    "terminal escape": "print('\\x1b[2J')",
    "hang: computed for 2": "while True: pass",
    "hang: computed for 0": "time.sleep(600)",
    "memory": "bytearray(1_400_000_000)",
    "died of SIGSEGV": "os.kill(os.getpid(), 11)",
    "outside its folder: open": "open('{outside}/new', 'w')",
    "outside its folder: shutil.rmtree": "shutil.rmtree('{outside}', ignore_errors=True)",
    "outside its folder: os.remove": "with suppress(OSError): os.unlink('{outside}/file')",
    "outside its folder: os.rename": "os.rename('x', '{outside}/x')",
    "outside its folder: os.mkdir": "os.mkdir('{outside}/x')",
    "outside its folder: os.symlink": "os.symlink('x', '{outside}/x')",
    "outside its folder: subprocess.Popen": "subprocess.run(['true'])",
    "outside its folder: os.system": "os.system('true')",
    "outside its folder: socket.connect": "socket.create_connection(('192.0.2.1', 9), timeout=1)",
    "outside its folder: open '": "subprocess.run([sys.executable, '-c', CHILD])",
    "gone or changed": "mmap.mmap(KEPT, 0)[:1] = b'x'",
    "a formula in": "open('a.csv', 'w').write('a,=cmd()\\n')",
    "a script in": "open('a.html', 'w').write('<script>fuzz(1)</script>')",
}
FINE = "print('fine'); open('a.csv', 'w').write('a,-1.5')"
DRIVER = """
import json, mmap, os, shutil, socket, subprocess, sys, time
sys.path.insert(0, sys.argv[1])
from contextlib import suppress
from pathlib import Path
from fuzzing import running
import dfercli.cli.app as app

def end(said):
    print(said, file=sys.stderr)
    raise SystemExit(3)

def start(folder, outside, wrong):
    names = {"CHILD": f"open('{outside}/x', 'w')", "KEPT": os.open(outside / "file", os.O_RDWR)}
    app.run = lambda arguments: exec(wrong, {**globals(), **names}) or 0
    one = running.Running(running.Case("n", "k", "w", (), kept=(outside,)), folder, 2.0)
    one.start()
    return one

running.WAITS = 1
rows = json.loads(sys.argv[2])
left = {n: start(Path(folder), Path(outside), wrong)
        for n, (folder, outside, wrong) in enumerate(rows)}
found = {}
while left:
    time.sleep(0.01)
    found |= {n: verdict.faults for n, one in left.items() if (verdict := one.poll())}
    left = {n: one for n, one in left.items() if n not in found}
print(json.dumps([found[n] for n in range(len(rows))]))
"""


def test_a_process_with_threads_forks_no_case(monkeypatch, tmp_path):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    from fuzzing import running

    one = running.Running(running.Case("n", "k", "w", ()), tmp_path, 1.0)
    waiting = threading.Event()
    thread = threading.Thread(target=waiting.wait)
    thread.start()
    try:
        with pytest.raises(RuntimeError, match="threads"):
            one.start()
    finally:
        waiting.set()
        thread.join()


def test_each_kind_of_fault_is_seen(tmp_path):
    rows = []
    for number, wrong in enumerate([*WRONG.values(), FINE]):
        folder, outside = (tmp_path / f"{name}-{number}" for name in ("case", "outside"))
        folder.mkdir()
        outside.mkdir()
        (outside / "file").write_text("of the user")
        rows.append((str(folder), str(outside), wrong.replace("{outside}", str(outside))))
    told = subprocess.run(
        [sys.executable, "-c", DRIVER, str(BENCHMARKS), json.dumps(rows)],
        capture_output=True,
        text=True,
        check=True,
    )
    *found, fine = json.loads(told.stdout)
    for expected, faults in zip(WRONG, found, strict=True):
        assert any(fault.startswith(expected) for fault in faults), (expected, faults)
    assert fine == []
    for _, outside, wrong in rows:
        assert os.listdir(outside) == ["file"], wrong
        if "KEPT" not in wrong:
            assert (Path(outside) / "file").read_text() == "of the user"
