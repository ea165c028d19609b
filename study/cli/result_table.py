"""What a study came to, in the terminal: a line per method, from the robustness.csv of its report."""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping
from pathlib import Path

HEAD = ("method", "tuned lr", "test score", "lost nearby", "diverged")
NOTE = (
    "test score at the tuned rate; lost nearby: how much lower it is, on average, within 1.5 decades of that "
    "rate; both with 95 % intervals"
)


def result_table(robustness: Path) -> str:
    """The table in columns, and a line that says what they are; empty where there is no such file."""
    if not robustness.is_file():
        return ""
    with robustness.open(encoding="utf-8", newline="") as file:
        rows = [_row(row) for row in csv.DictReader(file)]
    widths = [max(len(row[i]) for row in [HEAD, *rows]) for i in range(len(HEAD))]
    lines = ["  " + "  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)) for row in [HEAD, *rows]]
    return "\n".join([*(line.rstrip() for line in lines), f"  ({NOTE})"])


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


def _with_interval(row: Mapping[str, str], column: str) -> str:
    """`0.908 [0.897, 0.919]`; a dash where the study cannot say."""
    value, low, high = (float(row.get(f"{column}{end}") or "nan") for end in ("", "_low", "_high"))
    if not math.isfinite(value):
        return "-"
    interval = f" [{low:.3f}, {high:.3f}]" if math.isfinite(low) and math.isfinite(high) else ""
    return f"{value:.3f}{interval}"
