"""`python -m study.evaluate`: what it refuses, in one line, and what it says of what is missing."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import datasets
import pandas as pd
import pytest
from safetensors.torch import load_file, save_file

from study import evaluate
from study.storage import tables


def test_help_does_not_wait_for_torch() -> None:
    code = (
        "import sys; from study.evaluate import main; code = main(['--help']); "
        "assert not {'torch', 'lm_eval', 'pandas'} & set(sys.modules); sys.exit(code)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.returncode == 0 and "benchmarks=mmlu,arc,tru1,tru2" in result.stdout, result.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["alpacca"], "no study results/alpacca; nearest: alpaca"),
        (["alpaca", "limits=3"], "unknown key 'limits'; nearest: limit"),
        (["alpaca", "mmlu"], "'mmlu' is not an option; write key=value"),
        (["alpaca", "benchmarks="], "'benchmarks=' is not an option"),
        (["alpaca", "limit=0"], "limit=0: must be a number of examples, at least 1"),
        (["alpaca", "batch_size=-1"], "batch_size=-1: must be a number of examples, or auto"),
        (["alpaca", "include_path=nowhere"], "include_path=nowhere: no such folder"),
    ],
)
def test_wrong_usage_is_one_line(
    arguments: list[str],
    words: str,
    study: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    (tmp_path / "results").symlink_to(study.parent)
    monkeypatch.chdir(tmp_path)
    assert evaluate.main(arguments) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ") and words in line


def test_what_is_missing_is_named(
    study: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def line(folder: Path) -> str:
        assert evaluate.main([str(folder)]) == 2
        return capsys.readouterr().err.strip()

    bare = Path(shutil.copytree(study, tmp_path / "bare", ignore=shutil.ignore_patterns("adapters")))
    assert "has kept no adapters; train with save_adapters=best" in line(bare)
    monkeypatch.setitem(sys.modules, "lm_eval", None)
    fresh = shutil.copytree(study, tmp_path / "fresh", ignore=shutil.ignore_patterns("benchmarks.csv"))
    assert line(Path(fresh)).endswith("is not installed: pip install 'ether-study[eval]'")
    other = Path(shutil.copytree(study, tmp_path / "other"))
    (other / "benchmarks.csv").write_text("run_id,score\n,0.5\n")
    assert "benchmarks.csv has other columns than this command writes" in line(other)
    (other / "runs.parquet").write_bytes(b"half a table")
    (other / tables.SUMS).write_text(f"{'0' * 64}  runs.parquet\n")
    assert "runs.parquet is damaged" in line(other)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["benchmarks=arc_chalenge"], "unknown benchmark 'arc_chalenge'; nearest: arc_challenge"),
        (["benchmarks=ours:accuracy"], "benchmark ours:accuracy has no metric 'accuracy'; nearest: acc"),
        (["benchmarks=ours_tag"], "benchmark ours_tag has no score of its own; its tasks: lost, ours"),
        (["benchmarks=ours_group"], "benchmark ours_group has no score of its own; its tasks: ours"),
        (["benchmarks=lost"], "benchmark lost: its data cannot be loaded: Unable to find"),
        (["benchmarks=arc"], "benchmark arc: its data is not in the cache: Couldn't reach 'allenai/ai2_arc'"),
        (["benchmarks=ours", "device=nonsense"], "device=nonsense: "),
    ],
)
def test_what_is_wrong_with_a_benchmark_is_one_line(
    options: list[str], words: str, study: Path, command: Any, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    load = datasets.load_dataset

    def offline(path: str, **settings: Any) -> Any:
        if path == "json":
            return load(path, **settings)
        raise ConnectionError(f"Couldn't reach '{path}' on the Hub (LocalEntryNotFoundError)")

    monkeypatch.setattr(datasets, "load_dataset", offline)
    folder = Path(shutil.copytree(study, tmp_path / "copy", ignore=shutil.ignore_patterns("benchmarks*")))
    assert command(folder, *options) == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if line]
    assert len(lines) == 1 and lines[0].startswith("error: ") and words in lines[0], lines
    assert not (folder / "benchmarks.csv").exists()


@pytest.mark.slow
def test_what_is_wrong_with_a_model_is_one_line(
    study: Path, command: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = Path(shutil.copytree(study, tmp_path / "copy", ignore=shutil.ignore_patterns("benchmarks*")))
    runs = pd.read_parquet(study / "runs.parquet")

    def line(**columns: str) -> str:
        changed = {name.replace("_", "."): value for name, value in columns.items()}
        runs.assign(**changed).to_parquet(folder / "runs.parquet")
        assert command(folder, "benchmarks=ours") == 2
        return capsys.readouterr().err.strip()

    assert line(task_model="/nowhere") == "error: task.model=/nowhere: no such folder"
    assert "task.model=shipped: a vit model writes no text" in line(task="vtab", task_model="shipped")
    assert "unknown method 'mine'; give its file: STUDY_METHODS=mine=FILE.py" in line(method="mine")
    weights = folder / "adapters" / runs["run_id"][0] / "adapter_model.safetensors"
    tensors = load_file(weights)
    save_file({name: tensors[name] for name in list(tensors)[1:]}, weights)
    assert f"{weights.parent}: cannot be loaded: Found missing adapter keys" in line()
    weights.write_bytes(b"half a file")
    assert f"{weights.parent}: cannot be loaded: " in line()
