"""All checks that need a GPU, in one command and under ten minutes; one report to send.

Golden values of the published implementation, `dfer demo`, training steps against the published
arithmetic (`gpu_training.py`), `dfer bench`, a training that is stopped and resumed, memory. Needs
no weights and no data. Each step runs in its own process with a time limit; if one fails, the
report shows its last lines, and the others go on.

    python benchmarks/gpu_acceptance.py    # writes gpu-report/report.md and report.json
    python benchmarks/gpu_acceptance.py --device cpu --toy    # the same at a toy size
"""

import argparse
import json
import os
import platform
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
ROOT = HERE.parent
TAIL = 12
MOST_SECONDS = 590.0
PATIENCE = 1.0  # factor on the limit of each step
PYTHON = (sys.executable, "-B")
DFER = (*PYTHON, "-c", "from dfercli.cli.start import main; main()")
STOPPED = 143  # by SIGTERM, after saving


@dataclass(frozen=True)
class Step:
    """The outcome of one step.

    Attributes:
        name: Of the step.
        passed: Whether it did as it should.
        seconds: How long it took.
        found: Numbers, by name.
        said: The last lines that it printed.
    """

    name: str
    passed: bool
    seconds: float
    found: dict[str, Any] = field(default_factory=dict)
    said: str = ""


@dataclass(frozen=True)
class Setting:
    """Device and size of the steps.

    Attributes:
        device: `cuda` or `cpu`.
        toy: Whether to use the sizes of a test.
        out: Folder for all outputs.
        deadline: When everything must be done, by `time.monotonic`.
    """

    device: str
    toy: bool
    out: Path
    deadline: float


class StepError(Exception):
    """A step failed; says why."""


def call(setting: Setting, seconds: float, *command: str) -> str:
    """Run a command and return its output.

    Raises:
        StepError: it failed, or took longer than `seconds` or than the time that is left.
    """
    limit = min(PATIENCE * seconds, setting.deadline - time.monotonic())
    if limit <= 0:
        raise StepError("no time is left")
    try:
        done = subprocess.run(
            command, cwd=ROOT, capture_output=True, text=True, timeout=limit, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise StepError(f"longer than {limit:.0f} s\n{_text(error.stderr)}") from error
    if done.returncode:
        raise StepError(f"exit code {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout


def _text(said: bytes | str | None) -> str:
    return said.decode(errors="replace") if isinstance(said, bytes) else said or ""


def golden(setting: Setting) -> dict[str, Any]:
    """The published implementation's logits and losses, computed on the device in float32."""
    told = call(setting, 120, *PYTHON, str(Path(__file__)), "--golden", setting.device)
    found: dict[str, float] = json.loads(told.splitlines()[-1])
    if found["logits"] > 2e-4 or found["losses"] > 1e-3:
        raise StepError(f"too far from the published implementation: {found}")
    return found


def golden_differences(device: str) -> dict[str, float]:
    """The largest differences from `tests/golden`, over three positions of the class text."""
    sys.path.insert(0, str(ROOT / "tests"))
    import numpy as np
    import torch
    import torch.nn.functional as F
    from golden_input import golden_frames
    from golden_weights import GOLDEN, weights_by_formula

    from dfercli.config import OptimConfig
    from dfercli.inference.devices import set_float32
    from dfercli.models.optimizer import build_optimizer
    from dfercli.models.published_checkpoint import build_published

    set_float32(exact=True)
    values = dict(np.load(GOLDEN / "formula-values.npz", allow_pickle=False))
    frames, labels = golden_frames().to(device), torch.tensor([3, 5], device=device)
    found = {"logits": 0.0, "losses": 0.0}
    for position in ("end", "middle", "front"):
        model = build_published(weights_by_formula("specific"), position)[0].to(device)
        with torch.no_grad():
            logits = model(frames).cpu().numpy()
        expected = values[f"{position}-specific/logits"]
        found["logits"] = max(found["logits"], float(np.abs(logits - expected).max()))
        optimizer, losses = build_optimizer(model, OptimConfig()), []
        for _ in range(2):
            loss = F.cross_entropy(model(frames), labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        wanted = values[f"{position}-specific/losses"]
        found["losses"] = max(found["losses"], float(np.abs(losses / wanted - 1).max()))
    return found


def demo(setting: Setting) -> dict[str, Any]:
    """`dfer demo`: drawn faces through all stages."""
    people = ("4", "1", "1") if setting.toy else ("28", "7", "16")
    options = zip(("--train-identities", "--test-identities", "--epochs"), people, strict=True)
    flags = [word for pair in options for word in pair]
    if setting.toy:
        flags += ["--workers", "1"]
    call(setting, 200, *DFER, "demo", "--out", str(setting.out / "demo"), *flags)
    written = (setting.out / "demo").glob("**/evaluation/*/metrics.json")
    measured = json.loads(max(written, key=lambda path: path.stat().st_mtime).read_text())
    return {"WAR": measured["war"], "UAR": measured["uar"]}


def training(setting: Setting) -> dict[str, Any]:
    """Training steps against the published arithmetic; ratios, shares and memory."""
    out = setting.out / "gpu_training.json"
    toy = ("--clip", "tiny-vit/random", "--batch-size", "2", "--frames", "2", "--steps", "1")
    size = (*toy, "--windows", "2") if setting.toy else ("--steps", "3", "--windows", "5")
    script = (str(HERE / "gpu_training.py"), "--device", setting.device)
    call(setting, 240, *PYTHON, *script, *size, "--json", str(out))
    told = json.loads(out.read_text())
    rows = {f"{row['clip']}, {row['variant']}": row for row in told["rows"]}
    shown = ("ratio_to_reference", "share_of_bf16", "step_seconds", "peak_gb", "pieces")
    return {
        "bf16 TFLOP/s": told["bf16_flops_per_second"] / 1e12,
        **{name: {key: row[key] for key in shown} for name, row in rows.items()},
    }


def bench(setting: Setting) -> dict[str, Any]:
    """`dfer bench` on the device."""
    toy = ("--clip", "tiny/random", "--num-frames", "4", "--runs", "1", "--batch-sizes", "1")
    size = toy if setting.toy else ("--runs", "3", "--batch-sizes", "1,8,48")
    told = json.loads(
        call(setting, 150, *DFER, "bench", "--device", setting.device, *size, "--json")
    )
    batches = told["inference"]["batches"]
    return {
        **{f"{one['batch_size']} clips": one["ratio_to_reference"] for one in batches},
        "training step": told["training"]["ratio_to_reference"],
        "precision": told["training"]["precision"],
        "memory MB": told["memory_mb"],
        "peak GFLOP/s": told["peak_gflops"],
    }


def resuming(setting: Setting) -> dict[str, Any]:
    """A training that SIGTERM stops and `--resume` continues, against an undisturbed one."""
    faces = setting.out / "demo" / "faces-train"
    epochs = "3" if setting.toy else "6"
    options = ("--recipe", "demo", "--select", "last", "--epochs", epochs, "--batch-size", "4")
    device = ("--accelerator", setting.device, "--precision", "32")
    command = (*DFER, "train", str(faces), *options, *device, "--out", str(setting.out / "runs"))
    call(setting, 150, *command, "--name", "whole")
    if not _stopped(setting, (*command, "--name", "stopped")):
        raise StepError("it was over before it could be stopped")
    stopped = setting.out / "runs" / "stopped"
    call(setting, 150, *DFER, "train", "--resume", str(stopped))
    rows = [_epochs(setting.out / "runs" / name) for name in ("whole", "stopped")]
    if [row["epoch"] for row in rows[0]] != [row["epoch"] for row in rows[1]]:
        raise StepError(f"other epochs after resuming: {rows[1]}")
    pairs = zip(*rows, strict=True)
    worst = max(abs(one["train_loss"] - other["train_loss"]) for one, other in pairs)
    if worst > 1e-2:
        raise StepError(f"a loss differs by {worst:.3g} after resuming")
    return {"largest difference of a loss": worst, "epochs": len(rows[0])}


def _stopped(setting: Setting, command: tuple[str, ...]) -> bool:
    """Start a training and stop it by SIGTERM after its first epoch; False if that was too late."""
    run = setting.out / "runs" / "stopped"
    log = (setting.out / "stopped.log").open("w")
    with log, subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=log) as process:
        while process.poll() is None and not _epochs(run):
            if time.monotonic() > setting.deadline:
                process.kill()
            time.sleep(0.05)
        process.send_signal(signal.SIGTERM)
        return process.wait() == STOPPED


def _epochs(run: Path) -> list[dict[str, Any]]:
    path = run / "fold-1" / "metrics.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.is_file() else []


STEPS: dict[str, Callable[[Setting], dict[str, Any]]] = {
    "golden values": golden,
    "dfer demo": demo,
    "stopped and resumed": resuming,
    "gpu_training.py": training,
    "dfer bench": bench,
}


def take(name: str, setting: Setting) -> Step:
    """Run one step."""
    begun = time.monotonic()
    try:
        found = STEPS[name](setting)
    except StepError as error:
        said = "\n".join(str(error).strip().splitlines()[-TAIL:])
        return Step(name, False, time.monotonic() - begun, said=said)
    except (OSError, ValueError, KeyError) as error:  # a step wrote something unexpected
        return Step(name, False, time.monotonic() - begun, said=repr(error))
    return Step(name, True, time.monotonic() - begun, found)


def machine(device: str) -> dict[str, Any]:
    """Device, versions."""
    import torch

    is_cuda = device == "cuda"
    return {
        "device": torch.cuda.get_device_name() if is_cuda else platform.machine(),
        "compute capability": torch.cuda.get_device_capability() if is_cuda else None,
        "memory GB": torch.cuda.get_device_properties(0).total_memory / 1e9 if is_cuda else None,
        "torch": torch.__version__,
        "CUDA": torch.version.cuda,
        "python": platform.python_version(),
        "cores": os.cpu_count(),
    }


def page(told: dict[str, Any]) -> str:
    """The report as Markdown."""
    lines = ["# GPU acceptance", "", "| | |", "|---|---|"]
    lines += [f"| {name} | {value} |" for name, value in told["machine"].items()]
    lines += ["", "| step | passed | s |", "|---|---|---:|"]
    for step in told["steps"]:
        passed = "yes" if step["passed"] else "**no**"
        lines.append(f"| {step['name']} | {passed} | {step['seconds']:.0f} |")
    for step in told["steps"]:
        lines += ["", f"## {step['name']}", ""]
        if step["said"]:
            lines += ["```text", step["said"], "```"]
        lines += [f"- {name}: {_shown(value)}" for name, value in step["found"].items()]
    lines += ["", "Goals: gpu_training.py 6 times the published arithmetic by default at batch 48,"]
    lines += ["and 45 % of the bf16 rate for ViT-B/16.", ""]
    return "\n".join(lines)


def _shown(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {_shown(one)}" for name, one in value.items())
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def main(arguments: list[str] | None = None) -> int:
    """Run all steps and write the report; 1 if one failed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cuda", choices=("cuda", "cpu"))
    parser.add_argument("--toy", action="store_true", help="use the sizes of a test")
    parser.add_argument("--out", type=Path, default=Path("gpu-report"))
    parser.add_argument("--only", nargs="+", default=list(STEPS), choices=list(STEPS))
    parser.add_argument("--golden", metavar="DEVICE", help="only print the golden differences")
    options = parser.parse_args(arguments)
    if options.golden:
        print(json.dumps(golden_differences(options.golden)))
        return 0
    import torch

    if options.device == "cuda" and not torch.cuda.is_available():
        parser.error("PyTorch sees no CUDA device here; --device cpu --toy tries the script itself")
    begun = time.monotonic()
    options.out.mkdir(parents=True, exist_ok=True)
    out = options.out.absolute()
    setting = Setting(options.device, options.toy, out, begun + MOST_SECONDS)
    steps = []
    for name in options.only:
        step = take(name, setting)
        steps.append(step)
        print(
            f"{name}: {'passed' if step.passed else 'FAILED'} in {step.seconds:.0f} s", flush=True
        )
    told = {"machine": machine(options.device), "steps": [asdict(step) for step in steps]}
    (out / "report.json").write_text(json.dumps(told, indent=1) + "\n")
    (out / "report.md").write_text(page(told))
    print(f"{time.monotonic() - begun:.0f} s; send {out / 'report.md'} and report.json")
    return 0 if all(step.passed for step in steps) else 1


if __name__ == "__main__":
    sys.exit(main())
