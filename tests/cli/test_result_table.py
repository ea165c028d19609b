"""The table at the end of a sweep says what robustness.csv says."""

from __future__ import annotations

import re
from pathlib import Path

import pandas as pd
from support.paths import REFERENCE

from study.cli.result_table import result_table


def test_a_line_per_method_of_the_reference_study() -> None:
    path = REFERENCE / "lr_grid" / "robustness.csv"
    lines = result_table(path).splitlines()
    table = pd.read_csv(path)
    assert len(lines) == len(table) + 2
    for line, row in zip(lines[1:-1], table.itertuples(), strict=True):
        score = f"{row.tuned_test:.3f} [{row.tuned_test_low:.3f}, {row.tuned_test_high:.3f}]"
        lost = f"{row.regret_window:.3f} [{row.regret_window_low:.3f}, {row.regret_window_high:.3f}]"
        expected = [row.label, f"{row.best_lr:g}", score, lost, f"{row.diverged} of {row.runs}"]
        assert re.split(r"\s{2,}", line.strip()) == expected
    assert len({line.index("[") for line in lines[1:-1]}) == 1, "columns are aligned"


def test_what_a_study_cannot_say_is_a_dash(tmp_path: Path) -> None:
    path = tmp_path / "robustness.csv"
    path.write_text("label,runs,diverged,best_lr,tuned_test,tuned_test_low\nlora,3,1,,nan,\n")
    row = result_table(path).splitlines()[1]
    assert row.split() == ["lora", "-", "-", "-", "1", "of", "3"]
    assert result_table(tmp_path / "missing.csv") == ""
