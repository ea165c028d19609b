"""What is not finite, or does not fit in memory, is a result, and leaves its neighbours alone."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest
from support.sweeps_under_test import (
    DRAWN,
    SMALL,
    broken,
    start,
    table,
)

pytestmark = pytest.mark.slow


def strictly_valid(folder: Path) -> int:
    """Checks every JSON file under the folder against the standard, which has no NaN."""

    def refuse(constant: str) -> None:
        raise ValueError(constant)

    texts = [path.read_text() for path in folder.rglob("plan.json")]
    for path in folder.rglob("records/*.json"):
        texts += path.read_text().splitlines()[1:]
    texts += [line for path in folder.rglob("optuna.log") for line in path.read_text().splitlines()]
    for text in texts:
        json.loads(text, parse_constant=refuse)
    return len(texts)


@pytest.mark.parametrize("faults", ["poison:0:nan", "poison:4:inf", "blind"])
def test_what_is_not_finite_is_diverged_everywhere_and_not_tried_again(faults: str, tmp_path: Path) -> None:
    arguments = [*DRAWN, "method=ether,lora", "lr=1e-3,1e-2"]
    code, output = broken(tmp_path, faults, arguments)
    assert code == 0 and "4 ok, 4 diverged, 0 failed" in output, output
    study = tmp_path / "results" / "small"
    runs = table(study)
    diverged = runs[runs.status == "diverged"]
    assert set(diverged.lr) == {1e-3} and len(diverged) == 4  # the first run of each pack
    assert (diverged.valid == diverged.chance).all() and diverged.reason.str.contains("nan|not finite").all()
    assert strictly_valid(study) > 10
    robustness = pd.read_csv(study / "robustness.csv")
    assert (robustness.best_lr == 1e-2).all()  # never best
    drawn = pd.read_csv(study / "figures" / "robustness.csv")
    assert (drawn.groupby("label").lr.nunique() == 2).all() and "diverged" in (
        study / "report.html"
    ).read_text()
    again = start(tmp_path, [*arguments, "report=false"]).communicate(timeout=60)[0]
    assert "8 of 8 runs" in again and "packs" not in again


@pytest.mark.parametrize("fault", ["memory", "killed"])
def test_out_of_memory_halves_the_pack_and_leaves_the_others_alone(fault: str, tmp_path: Path) -> None:
    arguments = [*SMALL, "method=ether,lora", "lr=1e-3,1e-2,1e-1", "seeds=1", "pack_size=3"]
    code, output = broken(tmp_path, f"{fault}:3", arguments)
    assert code == 0 and "6 ok" in output, output
    runs = table(tmp_path / "results" / "small")
    assert sorted(runs.pack_size) == [1, 1, 2, 2, 2, 2] and runs.halved.all()
    if fault == "killed":
        return
    code, output = broken(tmp_path, "memory:2", [*arguments, "name=smaller"])  # nor do the halves fit
    assert code == 0 and "6 ok" in output, output
    runs = table(tmp_path / "results" / "smaller")
    assert (runs.pack_size == 1).all() and runs.halved.all()
    code, output = broken(tmp_path, "memory:1", [*arguments, "method=lora", "lr=1e-2,1e-1", "name=none"])
    assert code == 1 and "0 ok, 0 diverged, 2 failed" in output, output
    failed = table(tmp_path / "results" / "none")
    assert failed.reason.str.contains("out of memory in a pack of 1").all() and failed.halved.all()
