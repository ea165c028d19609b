"""The heatmap of two axes: what its CSV holds, and what is said of it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from support.records import synthetic
from support.records.synthetic import hill

from analysis.data.table import load
from analysis.figures.look import Look, looking
from analysis.figures.two_axes import draw_two_axes
from analysis.reporting.moves import moves

LRS = [float(lr) for lr in 10 ** np.linspace(-4, 0, 9)]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """ETHER, whose best rate stays whatever the blocks, and OFT, whose best rate moves by .3 per doubling."""
    made = []
    for doublings in range(3):
        curves = {"ether": hill(-2, 3, noise=0.01), "oft": hill(-2.7 + 0.3 * doublings, 1, noise=0.01)}
        for method, curve in curves.items():
            column = {f"method.{method}.blocks": 2**doublings}
            for record in synthetic.records({method: curve}, LRS, 4, **column):
                row = record["row"]
                row["run_id"] += f"-{doublings}"
                for step in record["history"]:
                    step["run_id"] = row["run_id"]
                if method == "oft" and row["lr"] > 0.5:
                    row |= {"status": "diverged", "valid": 0.1, "test": 0.1}
                if method == "ether" and row["lr"] > 0.5 and doublings == 0:
                    row |= {"status": "failed", "valid": np.nan, "test": np.nan}
                made.append(record)
    return synthetic.write(tmp_path / "study", made)


def test_a_panel_for_each_method_with_its_cells(folder: Path, tmp_path: Path) -> None:
    path = draw_two_axes(load(folder), tmp_path)
    assert path is not None and path.with_suffix(".pdf").is_file()
    data = pd.read_csv(path.with_suffix(".csv"))
    assert len(data) == 2 * 3 * 9 - 1, "a failed cell is none"
    oft, ether = data[data["method"] == "oft"], data[data["method"] == "ether"]
    assert (oft.loc[oft["lr"] > 0.5, "diverged"] == 4).all() and ether["diverged"].sum() == 0
    best = ether["mean"].max()
    assert (ether["near_best"] == (ether["mean"] >= 0.95 * best)).all()
    assert np.log10(ether["best_lr"]).to_numpy() == pytest.approx(-2, abs=0.1)


def test_what_is_said(folder: Path) -> None:
    ether, oft = moves(load(folder))
    assert ether.startswith("ETHER: the best rate hardly moves") and "with blocks" in ether
    assert oft.startswith("OFT: the best rate moves up with blocks, +0.29")


def test_in_print_and_where_there_is_no_second_axis(folder: Path, tmp_path: Path) -> None:
    with looking(Look(width="column")):
        assert draw_two_axes(load(folder), tmp_path / "print") is not None
    alone = synthetic.write(tmp_path / "alone", synthetic.records(synthetic.GOOD))
    assert draw_two_axes(load(alone), tmp_path) is None and moves(load(alone)) == []
