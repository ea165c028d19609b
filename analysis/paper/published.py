"""The numbers that the paper prints, as CSVs under `printed/`."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

PRINTED = Path(__file__).parent / "printed"


def printed(table: int) -> pd.DataFrame:
    """The paper's Table 4 or 5: method, options, parameters, subset or benchmark, printed (percent)."""
    return pd.read_csv(PRINTED / f"table{table}.csv").fillna({"options": ""})
