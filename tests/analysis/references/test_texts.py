"""Tables in README and docs: their figures are the committed studies'."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.paths import ROOT

from analysis.references.texts import MARK, number, rewritten
from study.errors import UsageError

MARKED = [
    path
    for path in [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
    if any(MARK.fullmatch(line) for line in path.read_text().splitlines())
]
TABLE = """<!-- of results/reference, in percent: grid.tuned_test grid.regret_window -->
| | score | lost |
|---|---|---|
| untouched | 8 | |
| ETHER | ? | - |
| LoRA r8 | ? | ? |

| LoRA r8 | of no mark | 1 |
"""


@pytest.fixture
def reference(tmp_path: Path) -> Path:
    (tmp_path / "grid").mkdir()
    columns = [f"{name}{end}" for name in ("tuned_test", "regret_window") for end in ("", "_low", "_high")]
    rows = ["ether,ether,0.5,0.4,0.6,0.1,0.05,0.15", "lora,lora,0.25,,,-0.0001,-0.1234,0.2"]
    (tmp_path / "grid" / "robustness.csv").write_text(f"label,method,{','.join(columns)}\n" + "\n".join(rows))
    return tmp_path


@pytest.mark.parametrize("page", MARKED, ids=lambda path: path.name)
def test_pages_have_the_figures_of_the_committed_studies(page: Path) -> None:
    text = page.read_text()
    assert text == rewritten(text), "python -m analysis.references follow"


def test_rows_of_methods_are_written_anew_and_nothing_else(reference: Path) -> None:
    changed = TABLE.replace("| ETHER | ? | - |", "| ETHER | 50.0 [40.0, 60.0] | - |")
    changed = changed.replace("| LoRA r8 | ? | ? |", "| LoRA r8 | 25.0 | 0.0 [-12.3, 20.0] |")
    assert rewritten(TABLE, reference) == changed
    assert rewritten(changed, reference) == changed


def test_fractions_have_no_leading_zero() -> None:
    assert [number(value, 1) for value in (0.9078, -0.0314, 1.0, -0.0001)] == [
        ".908",
        "-.031",
        "1.000",
        ".000",
    ]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("grid.tuned_test", "grit.tuned_test", "no study grit"),
        ("grid.tuned_test", "grid.tuned", "no column tuned"),
        ("grid.tuned_test ", "", "2 columns, and its table's mark names 1"),
    ],
)
def test_a_mark_that_fits_nothing_is_refused(reference: Path, old: str, new: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        rewritten(TABLE.replace(old, new), reference)


def test_what_travels_between_tasks_is_of_its_own_table(tmp_path: Path) -> None:
    (tmp_path / "across").mkdir()
    table = "label,regret,regret_low,regret_high,worst\nlora,0.25,0.2,0.3,0.5\n"
    (tmp_path / "across" / "transfer.csv").write_text(table)
    text = "<!-- of results/reference, in percent: across.regret across.worst -->\n| LoRA r8 | ? | ? |\n"
    assert rewritten(text, tmp_path).endswith("| LoRA r8 | 25.0 [20.0, 30.0] | 50.0 |\n")
