"""`dfer sweep`: a grid of settings, a run folder each, continued where it stopped."""

import json
from pathlib import Path

import pytest
from face_parts import store_with_parts

from dfercli.cli.app import run as dfer
from dfercli.errors import ConfigError
from dfercli.recipes import sweep_file
from dfercli.training.sweep import plan

SWEEP = """
dataset = "{store}"
out = "{out}"
select = "last"
accelerator = "cpu"

[data]
test = "{store}"
allow_leak = true
workers = 0

[model]
clip = "tiny-vit/random"
num_frames = 3

[optim]
epochs = 1
batch_size = 4

[grid]
"model.method" = ["finecliper", "mean-pooling"]
"model.finecliper.streams" = ["frames", ["frames", "parsing"]]
seed = [1, 2]
"""


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return store_with_parts(tmp_path_factory.mktemp("sweep") / "faces", clips_per_class=2)


def write_sweep(folder, store, text=SWEEP):
    path = folder / "sweep.toml"
    path.write_text(text.replace("{store}", str(store)).replace("{out}", str(folder / "runs")))
    return path


def test_every_combination_has_its_own_settings_and_the_recipe_of_its_method(store, tmp_path):
    runs = plan(write_sweep(tmp_path, store))
    assert len(runs) == 8
    assert runs[2].folder.name == "method-finecliper_streams-frames+parsing_seed-1"
    assert runs[2].config.model.finecliper.streams == ("frames", "parsing")
    assert runs[2].config.optim.lr_adapter == 3e-4
    assert runs[2].config.optim.epochs == 1
    assert runs[2].config.model.text_type == "pn"
    assert runs[7].config.model.method == "mean-pooling"
    assert runs[7].config.model.text_type == "context"
    assert len({run.folder for run in runs}) == 8


def test_a_sweep_trains_all_prints_a_table_and_does_nothing_the_second_time(
    store, tmp_path, capsys
):
    one = SWEEP.replace('["finecliper", "mean-pooling"]', '["finecliper"]')
    path = write_sweep(tmp_path, store, one)
    assert dfer(["sweep", str(path), "--quiet", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [len(row["war"]) for row in rows] == [2, 2]
    results = sorted((tmp_path / "runs").glob("*/fold-1/result.json"))
    assert len(results) == 4
    written = [path.stat().st_mtime_ns for path in results]
    assert dfer(["sweep", str(path), "--quiet"]) == 0
    output = capsys.readouterr().out
    assert "frames,parsing" in output
    assert "±" in output
    assert [path.stat().st_mtime_ns for path in results] == written
    table = (tmp_path / "runs" / "sweep.csv").read_text().splitlines()
    assert table[0] == "method,streams,seeds,UAR %,WAR %"
    assert len(table) == 3


def test_a_run_with_other_settings_does_not_count_for_the_sweep(store, tmp_path, capsys):
    one = SWEEP.replace('["finecliper", "mean-pooling"]', '["mean-pooling"]')
    one = one.replace("seed = [1, 2]", "seed = [1]").replace(
        '["frames", ["frames", "parsing"]]', '["frames"]'
    )
    assert dfer(["sweep", str(write_sweep(tmp_path, store, one)), "--quiet"]) == 0
    changed = one.replace("num_frames = 3", "num_frames = 4")
    assert dfer(["sweep", str(write_sweep(tmp_path, store, changed)), "--quiet"]) == 2
    assert "was trained with other settings" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('dataset = "a"', "has no grid"),
        ("[grid]\nseed = [1]", "names no dataset"),
        ('dataset = "a"\n[grid]\nseed = 1', "expected a list of values"),
        ('dataset = "a"\n[grid]\nseed = [1, 1]', "a value comes twice"),
        ('dataset = "a"\n[grid]\n"optim.speed" = [1]', "unknown setting optim.speed"),
        ('dataset = "a"\ncolour = 1\n[grid]\nseed = [1]', "unknown setting colour"),
        ('dataset = "a"\n[[tables]]\ntitel = "b"\ngrid = { seed = [1] }', "has no 'titel'"),
        ('dataset = "a"\ndevices = 2\n[grid]\nseed = [1]', "trains in one process"),
    ],
)
def test_a_wrong_sweep_is_refused_before_any_training(tmp_path, text, message):
    path = tmp_path / "sweep.toml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=message):
        plan(path)


TABLES = """
dataset = "{store}"
out = "{out}"
select = "last"
accelerator = "cpu"

[data]
test_share = 0.5
workers = 0

[model]
clip = "tiny/random"
num_frames = 3
context_tokens = 2

[optim]
epochs = 1
batch_size = 2

[[tables]]
title = "Layers"
grid = { "model.temporal_layers" = [0, 1] }
published = { "{store}" = { 1 = [59.61, 71.25] } }

[[tables]]
title = "Tokens"
grid = { "model.context_tokens" = [2, 1] }
"""


def test_tables_of_a_paper_share_runs_and_stand_beside_published_numbers(store, tmp_path, capsys):
    path = write_sweep(tmp_path, store, TABLES)
    runs = plan(path)
    # Temporal layers 1 and tokens 2 are the settings of the file: one run for both tables.
    assert [run.folder.name for run in runs] == [
        *("temporal_layers-0", "temporal_layers-1"),
        *("temporal_layers-1", "context_tokens-1"),
    ]
    assert dfer(["sweep", str(path), "--set", "optim.epochs=1", "--quiet"]) == 0
    printed = capsys.readouterr().out
    assert "Layers" in printed
    assert "Tokens" in printed
    lines = (tmp_path / "runs" / "sweep-1.csv").read_text().splitlines()
    assert lines[0].endswith("WAR %,published UAR %,published WAR %")
    assert lines[1].endswith(",-,-")
    assert lines[2].endswith(",59.61,71.25")


@pytest.mark.parametrize(
    ("name", "runs", "titles"),
    [("dfer-clip-ablations", 16, 4), ("finecliper-ablations", 12, 3)],
)
def test_sweeps_come_with_dfer(name, runs, titles):
    planned = plan(sweep_file(Path(name)), ["dataset=dfew"])
    assert len(planned) == runs
    by_title = {run.title: run.published for run in planned if run.published}
    assert len(by_title) == titles  # in each table one row is the published method
    assert len(set(by_title.values())) == 1


def test_an_unknown_sweep_lists_the_known_ones(capsys):
    assert dfer(["sweep", "no-such"]) == 2
    assert "known: dfer-clip-ablations, finecliper-ablations" in capsys.readouterr().err
    assert dfer(["sweep", "dfer-clip-ablations"]) == 2
    assert "hint: name it: --set dataset=faces/" in capsys.readouterr().err
