"""Best means all seeds of the tuned rate, in each cell; what is kept, removed, and said."""

from __future__ import annotations

import math
from pathlib import Path

import pandas as pd
import pytest
from support.records import synthetic

from study.storage import adapters
from study.storage.tuned import cells, tuned_lr

VALID = {1e-3: [0.2, 0.95, 0.2], 1e-2: [0.7, 0.7, 0.7], 1e-1: [0.6, 0.6, 0.6]}
"""The luckiest run is at 1e-3; the best mean is at 1e-2."""


def table(folder: Path | None = None, seeds: int = 3, **columns: object) -> pd.DataFrame:
    made = synthetic.records({"ether": lambda x, s: VALID[round(10**x, 6)][s]}, [*VALID], seeds, **columns)
    for record in made:
        record["row"]["run_id"] += str(columns.get("task.subset", ""))
    runs = synthetic.tables(made)["runs"]
    for run_id in runs["run_id"] if folder else ():
        adapters.folder_of(folder, run_id).mkdir(parents=True, exist_ok=True)
    return runs


def kept(folder: Path) -> set[str]:
    return {path.name for path in (folder / "adapters").iterdir()}


def test_the_luckiest_run_decides_nothing(tmp_path: Path) -> None:
    runs = table(tmp_path)
    assert tuned_lr(runs) == 1e-2
    assert adapters.keep_best(tmp_path, runs, set(runs["run_id"])) == [
        "adapters: 3 kept, all seeds of each tuned rate; 6 removed"
    ]
    assert kept(tmp_path) == {f"ether-0.01-{seed}" for seed in range(3)}


def test_of_means_that_are_equal_but_for_rounding_the_smaller_rate_is_tuned() -> None:
    runs = table()
    runs["valid"] = [0.3, 0.2, 0.1, 0.1, 0.2, 0.3, 0.0, 0.0, 0.0]
    assert (0.3 + 0.2 + 0.1) < (0.1 + 0.2 + 0.3) and tuned_lr(runs) == 1e-3


def test_every_subset_is_a_cell_and_no_accuracy_meets_a_correlation(tmp_path: Path) -> None:
    topic = table(tmp_path, **{"task.subset": "topic"})
    errors = {"metric": "error", "higher_is_better": False}
    similarity = table(tmp_path, **{"task.subset": "similarity"}, **errors)
    runs = pd.concat([topic, similarity], ignore_index=True)
    assert [tuned_lr(rows) for rows in cells(runs)] == [1e-2, 1e-3]  # of errors .45 is the least mean
    adapters.keep_best(tmp_path, runs, set(runs["run_id"]))
    assert kept(tmp_path) == {f"ether-0.01-{s}topic" for s in range(3)} | {
        f"ether-0.001-{s}similarity" for s in range(3)
    }


def test_nothing_is_removed_while_it_may_become_best(tmp_path: Path) -> None:
    runs = table(tmp_path)
    everything = kept(tmp_path)
    assert adapters.keep_best(tmp_path, runs, {*runs["run_id"], "lost"}) == [
        "adapters: all are kept until every run has ended; 1 have not"
    ]
    failed = runs.copy()
    failed.loc[0, ["status", "valid"]] = ["failed", math.nan]
    assert adapters.keep_best(tmp_path, failed, set(runs["run_id"]))[1] == (
        "adapters: all of ether are kept, for 1 of its runs failed"
    )
    assert kept(tmp_path) == everything


def test_rates_added_later_lose_nothing(tmp_path: Path) -> None:
    """First without 1e-2: .6 is best. Then with it: its adapters were saved when it was trained."""
    runs = table(tmp_path)
    first = runs[runs["lr"] != 1e-2]
    adapters.keep_best(tmp_path, first, set(first["run_id"]))
    assert {f"ether-0.1-{seed}" for seed in range(3)} <= kept(tmp_path)
    assert {f"ether-0.01-{seed}" for seed in range(3)} <= kept(tmp_path)  # without a record: not touched
    (note,) = adapters.keep_best(tmp_path, runs, set(runs["run_id"]))
    assert note.endswith("3 removed") and kept(tmp_path) == {f"ether-0.01-{seed}" for seed in range(3)}


def test_adapters_that_are_best_and_not_there_are_named(tmp_path: Path) -> None:
    runs = table(tmp_path)
    adapters.folder_of(tmp_path, "ether-0.01-1").rmdir()
    note = adapters.keep_best(tmp_path, runs, set(runs["run_id"]))[1]
    assert note.startswith("adapters: ether is best at lr=0.01, where 1 of 3 seeds have none: ")


@pytest.mark.parametrize("status", ["failed", "diverged"])
def test_a_method_whose_runs_all_ended_badly_is_no_error(status: str, tmp_path: Path) -> None:
    runs = table(tmp_path, status=status, **({"valid": math.nan} if status == "failed" else {}))
    adapters.keep_best(tmp_path, runs, set(runs["run_id"]))
    assert len(kept(tmp_path)) == (9 if status == "failed" else 3)
