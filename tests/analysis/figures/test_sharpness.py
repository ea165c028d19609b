"""The figure of sharpness: what it plots, and that it is there only where it was measured."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from support.records.synthetic import FLAT, LRS, NARROW, records, write

from analysis.data.table import load
from analysis.figures.sharpness import draw_sharpness


def made(folder: Path, measured: bool = True) -> Path:
    """ETHER twice as sharp at the end as at the start, at every rate 1 / rate; LoRA diverges at the last."""
    of_all = records({"ether": FLAT, "lora": NARROW}, seeds=3)
    for record in of_all if measured else []:
        row = record["row"]
        row["sharpness_start"], row["sharpness_end"] = 0.5 / row["lr"], 1 / row["lr"]
        if row["method"] == "lora" and row["lr"] == LRS[-1]:
            row["status"], row["sharpness_end"] = "diverged", np.nan
    return write(folder, of_all)


def test_means_by_rate_and_the_place_of_the_tuned_rate(tmp_path: Path) -> None:
    path = draw_sharpness(load(made(tmp_path / "study")), tmp_path)
    assert path is not None and path.is_file()
    plotted = pd.read_csv(path.with_suffix(".csv"))
    means = plotted[plotted["figure"] == "sharpness_end"].set_index(["label", "lr"])
    assert np.isclose(means.loc[("ether", 0.01), "mean"], 100)
    assert np.isnan(means.loc[("lora", LRS[-1]), "mean"]) and means.loc[("lora", LRS[-1]), "not_finite"] == 3
    tuned = plotted[plotted["figure"] == "tuned"].set_index("label")
    assert tuned.loc["lora", "lr"] == 0.01 and np.isclose(tuned.loc["lora", "sharpness_end"], 100)
    assert np.isclose(tuned.loc["lora", "sharpness_start"], 50)


def test_no_figure_without_a_measurement(tmp_path: Path) -> None:
    assert draw_sharpness(load(made(tmp_path / "study", measured=False)), tmp_path) is None
