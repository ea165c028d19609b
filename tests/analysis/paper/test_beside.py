"""The printed scores and ours side by side: which are shown, and with which numbers."""

from __future__ import annotations

import math
from pathlib import Path

import pandas as pd

from analysis.paper.figures.beside import draw_beside

NONE = math.nan


def table(*rows: tuple) -> pd.DataFrame:
    columns = ["scale", "method", "options", "score", "metric", "ours", "low", "high", "printed", "seeds"]
    return pd.DataFrame(rows, columns=columns)


def test_both_sides_hold_their_own_numbers(tmp_path: Path) -> None:
    drawn = draw_beside(
        table(
            ("paper", "lora", "r=8", "sst2", "accuracy", NONE, NONE, NONE, 94.95, NONE),
            ("paper", "ether", NONE, "sst2", "accuracy", NONE, NONE, NONE, 96.1, NONE),
            ("mini", "ether", "blocks=4", "topic", "accuracy", 59.5, 57.2, 61.9, NONE, 5),
            ("mini", "head", "", "topic", "accuracy", 38.9, 37.3, 40.5, NONE, 5),
            ("mini", "ether", "blocks=4", "frechet_distance", "frechet_distance", 900.0, 1, 2, NONE, 5),
        ),
        4, tmp_path,
    )  # fmt: skip
    assert drawn is not None and "Table 4" in drawn[1] and "on the miniature" in drawn[1]
    shown = pd.read_csv(tmp_path / "table4_beside.csv")
    assert shown[["side", "label", "value"]].values.tolist() == [
        ["printed", "lora", 94.95], ["printed", "ether", 96.1], ["ours", "ether", 59.5]
    ]  # fmt: skip


def test_options_are_told_apart_where_a_method_has_several(tmp_path: Path) -> None:
    rows = [
        ("paper", "ether", f"blocks={n}", "mean_iou", "m", NONE, NONE, NONE, 23.0, NONE) for n in (1, 16, 4)
    ]
    ours = [("mini", "ether", f"blocks={n}", "mean_iou", "m", 50.0, 40.0, 60.0, NONE, 3) for n in (1, 4, 16)]
    assert draw_beside(table(*rows, *ours), 9, tmp_path) is not None
    shown = pd.read_csv(tmp_path / "table9_beside.csv")
    assert set(shown["label"]) == {"ether blocks=1", "ether blocks=4", "ether blocks=16"}


def test_one_side_alone_is_no_figure(tmp_path: Path) -> None:
    assert (
        draw_beside(table(("paper", "lora", "", "a", "m", NONE, NONE, NONE, 9.0, NONE)), 4, tmp_path) is None
    )
