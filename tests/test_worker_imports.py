"""Processes that find faces start quickly, as they import little."""

import json
import os
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
ALLOWED = {
    *("dfercli", "numpy", "cv2", "av", "decord"),
    *("cython_runtime", "backports", "typing_extensions"),  # which the others bring along
    Path(__file__).stem,
}
ELSEWHERE = {  # what takes long and others need: the command line, settings, downloads, versions
    *("dfercli.cli.app", "dfercli.config.training", "dfercli.config.using"),
    *("asyncio", "email", "http.client", "importlib.metadata", "tomllib", "urllib.request"),
}
# As the script that is installed; each worker imports it again.
SCRIPT = """
from {module} import {function}

if __name__ == "__main__":
    from test_worker_imports import {setup}
    from dfercli.config import PreprocessConfig
    from dfercli.faces.build import DetectorChoice
    from dfercli.faces.stream_maker import StreamSetting
    from dfercli.preprocessing.source_worker import WorkerSetting
    from dfercli.preprocessing.time_grid import TimeGrid
    from dfercli.preprocessing.worker_pool import Finished, WorkerPool

    choice = DetectorChoice("haar", None, None, "cpu")
    setting = WorkerSetting(PreprocessConfig(), choice, 1, StreamSetting(()), TimeGrid(2.0, 16))
    with WorkerPool({setup}, setting, workers=1, time_limit=60) as pool:
        (done,) = (event for event in pool.run([None]) if isinstance(event, Finished))
    print(*done.result)
"""


def set_up_and_tell(setting):
    from dfercli.preprocessing.source_worker import set_up_held, set_up_sources

    set_up_sources(setting), set_up_held(setting)
    return lambda job, report: sorted(sys.modules)


def test_a_worker_imports_no_more_than_it_needs(tmp_path):
    from dfercli.overrides import read_toml

    entry = read_toml(HERE.parent / "pyproject.toml")["project"]["scripts"]["dfer"]
    module, _, function = entry.partition(":")
    script = tmp_path / "dfer"
    names = {"module": module, "function": function, "setup": set_up_and_tell.__name__}
    script.write_text(SCRIPT.format(**names))
    paths = os.pathsep.join([str(HERE), str(HERE.parent), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "PYTHONPATH": paths}
    command = [sys.executable, str(script)]
    answer = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
    imported = set(answer.stdout.split())
    assert {"cv2", "av", module} <= imported
    assert not imported & ELSEWHERE
    packages = {name.partition(".")[0] for name in imported} - set(sys.stdlib_module_names)
    packages = {name for name in packages if not name.startswith("_")}
    assert packages <= ALLOWED, packages - ALLOWED


COMMAND = """
import json, sys
from dfercli.cli.app import run

if __name__ == "__main__":
    options = ["--detector", "haar", "--workers", "1", "--quiet"]
    assert run(["preprocess", sys.argv[1], "--out", sys.argv[2], *options]) == 0
    print(json.dumps(sorted({name.partition(".")[0] for name in sys.modules})))
"""


def test_preprocess_without_streams_runs_without_torch(tmp_path):
    """Its import takes as long as a few hundred frames."""
    from drawn_videos import write_drawn_video  # here, as workers import this file

    program = tmp_path / "program.py"
    program.write_text(COMMAND)
    video = write_drawn_video(tmp_path / "short.mp4", seconds=0.5)
    command = [sys.executable, program, video, tmp_path / "faces"]
    answer = subprocess.run(command, check=True, capture_output=True, text=True)
    imported = set(json.loads(answer.stdout.splitlines()[-1]))
    assert "cv2" in imported
    assert not imported & {"torch", "scipy", "pandas", "matplotlib", "ray", "transformers"}
    assert not imported & {"httpx2", "openai"}
