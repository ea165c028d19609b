"""Numbers as text: three significant digits, rounding is 0, points aligned."""

from __future__ import annotations

import math

import pandas as pd
import pytest

from analysis.reporting.number_text import aligned, number_text
from analysis.reporting.text_table import table_text


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.9084, "0.908"), (0.0285, "0.0285"), (0.1, "0.100"), (12.345, "12.3"), (152.0, "152"),
     (1728.0, "1,728"), (1.2e-16, "0"), (-3e-15, "0"), (0.0, "0"), (0.00123, "0.00123"),
     (1.234e-5, "1.23e-05"),
     (math.nan, "–")],
)  # fmt: skip
def test_three_significant_digits(value: float, text: str) -> None:
    assert number_text(value) == text


def test_points_are_aligned_when_set_flush_right() -> None:
    texts = aligned(["0.908 [0.89, 0.93]", "12.5 [1.0, 2.0]", "152", "–"])
    width = max(map(len, texts[:3]))
    assert {len(text.rjust(width)) for text in texts[:3]} == {width}
    places = [
        text.rjust(width).index(before) + len(before)
        for text, before in zip(texts, ("0", "12", "152"), strict=False)
    ]
    assert len(set(places)) == 1 and texts[3] == "–"
    assert [text.strip("\u2007\u2008").replace("\u2007", "").replace("\u2008", "") for text in texts][
        1
    ] == "12.5 [1.0, 2.0]"


def test_a_table_knows_its_columns_of_numbers() -> None:
    table = pd.DataFrame(
        {"method": ["ETHER", "LoRA"], "score": [0.5, 1.2e-16], "note": ["", "at 3"], "n": [5, 12]}
    )
    text = table_text(table)
    assert text.is_number == [False, True, False, True]
    assert [row[1].strip("\u2007\u2008") for row in text.rows] == ["0.500", "0"] and text.rows[1][2] == "at 3"
