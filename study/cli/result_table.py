"""What a study came to, in the terminal: a line per method, from the tables of its report."""

from __future__ import annotations

import csv
import math
from collections.abc import Callable, Mapping
from pathlib import Path

HEAD = ("method", "tuned lr", "test score", "lost nearby", "diverged")
NOTE = (
    "test score at the tuned rate; lost nearby: how much lower it is, on average, within 1.5 decades of that "
    "rate; both with 95 % intervals"
)


TUNING_HEAD = ("method", "trials", "test score of the best", "trials to 95 %", "mean expected score")
TUNING_NOTE = (
    "best by validation; trials to 95 %: after how many the expected score is 95 % of what the best gains "
    "over chance; with 95 % intervals"
)


def result_table(robustness: Path) -> str:
    """The table in columns, and a line that says what they are; empty where there is no such file."""
    return _table(robustness, HEAD, _row, NOTE)


def tuning_table(tuning: Path) -> str:
    """The same of what tuning costs in a space, from the report's tuning.csv."""
    return _table(tuning, TUNING_HEAD, _tuning_row, TUNING_NOTE)


def _table(
    path: Path, head: tuple[str, ...], text: Callable[[Mapping[str, str]], tuple[str, ...]], note: str
) -> str:
    if not path.is_file():
        return ""
    with path.open(encoding="utf-8", newline="") as file:
        rows = [text(row) for row in csv.DictReader(file)]
    widths = [max(len(row[i]) for row in [head, *rows]) for i in range(len(head))]
    lines = ["  " + "  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)) for row in [head, *rows]]
    return "\n".join([*(line.rstrip() for line in lines), f"  ({note})"])


def _tuning_row(row: Mapping[str, str]) -> tuple[str, ...]:
    return (
        row["label"],
        row["trials"],
        _with_interval(row, "best_test"),
        _with_interval(row, "budget", decimals=0),
        _with_interval(row, "area"),
    )


def _row(row: Mapping[str, str]) -> tuple[str, ...]:
    name = " ".join(filter(None, [row.get("part", ""), row["label"]]))
    rate = float(row["best_lr"] or "nan")
    return (
        name,
        f"{rate:g}" if math.isfinite(rate) else "-",
        _with_interval(row, "tuned_test"),
        _with_interval(row, "regret_window"),
        f"{float(row['diverged'] or 0):.0f} of {float(row['runs'] or 0):.0f}",
    )


def _with_interval(row: Mapping[str, str], column: str, decimals: int = 3) -> str:
    """`0.908 [0.897, 0.919]`; a dash where the study cannot say."""
    value, low, high = (float(row.get(f"{column}{end}") or "nan") for end in ("", "_low", "_high"))
    if not math.isfinite(value):
        return "-"
    known = math.isfinite(low) and math.isfinite(high)
    interval = f" [{low:.{decimals}f}, {high:.{decimals}f}]" if known else ""
    return f"{value:.{decimals}f}{interval}"
