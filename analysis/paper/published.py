"""The numbers that the paper prints, or shows in figures, as CSVs under `printed/`."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

PRINTED = Path(__file__).parent / "printed"


def printed(table: int) -> pd.DataFrame:
    """A table of the paper's scores: method, options, parameters, what was scored, printed.

    Of Tables 2, 3, 9 and 11 that is a metric (`score`), of Table 4 a subset of GLUE, of Table 5 a benchmark;
    in percent, Frechet distances as they are.
    """
    return pd.read_csv(PRINTED / f"table{table}.csv").fillna({"options": ""})


def read_off(figure: int) -> pd.DataFrame:
    """What was read off a figure of the paper.

    5: method, lr, miou (percent); 7: task, method, he_change. The first lines of the files say how.
    """
    return pd.read_csv(PRINTED / f"figure{figure}.csv", comment="#")
