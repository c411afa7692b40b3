"""Processes that find faces start quickly, as they import only these packages."""

import json
import subprocess
import sys

from drawn_videos import write_drawn_video

ALLOWED = {
    *("dfercli", "numpy", "cv2", "av", "decord", "PIL"),
    *("filelock", "platformdirs"),  # for stores and caches
    *("cython_runtime", "backports", "typing_extensions"),  # which the others bring along
}
PROGRAM = """
import json, sys
from dfercli.config import PreprocessConfig
from dfercli.faces.build import DetectorChoice
from dfercli.faces.stream_maker import StreamSetting
from dfercli.preprocessing import do_sources, worker_pool
from dfercli.preprocessing.source_worker import WorkerSetting, set_up_held, set_up_sources
from dfercli.preprocessing.time_grid import TimeGrid

choice = DetectorChoice("haar", None, None, "cpu")
setting = WorkerSetting(PreprocessConfig(), choice, 1, StreamSetting(()), TimeGrid(2.0, 16))
set_up_sources(setting), set_up_held(setting)
names = {name.partition(".")[0] for name in sys.modules}
print(json.dumps(sorted(names - set(sys.stdlib_module_names))))
"""


def test_a_worker_imports_no_more_than_it_needs():
    answer = subprocess.run([sys.executable, "-c", PROGRAM], check=True, capture_output=True)
    imported = {name for name in json.loads(answer.stdout) if not name.startswith("_")}
    assert {"cv2", "av", "dfercli"} <= imported <= ALLOWED, imported - ALLOWED


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
    program = tmp_path / "program.py"
    program.write_text(COMMAND)
    video = write_drawn_video(tmp_path / "short.mp4", seconds=0.5)
    command = [sys.executable, program, video, tmp_path / "faces"]
    answer = subprocess.run(command, check=True, capture_output=True, text=True)
    imported = set(json.loads(answer.stdout.splitlines()[-1]))
    assert "cv2" in imported
    assert not imported & {"torch", "scipy", "pandas", "matplotlib", "ray", "transformers"}
