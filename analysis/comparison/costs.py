"""What each method of a comparison costs: parameters, time, memory, the size of its file."""

from __future__ import annotations

import numpy as np
import pandas as pd

from analysis.comparison.compared import Compared
from study.storage.comparison_file import Cost

COSTS = {
    "parameters": "trained parameters",
    "step_seconds": "seconds per step and run",
    "saved_mb": "memory held for backward [MB]",
    "adapter_bytes": "adapter file [kB]",
}


def costs_table(study: Compared) -> pd.DataFrame:
    """One row per label: the columns of COSTS, each with its ratio to the baseline, and how it trains.

    Times of runs on different devices are not compared: their ratio is nan.
    """
    rows = []
    for label in study.order:
        runs, cost = study.of(label), study.costs.get(label, Cost())
        runs = runs[runs["counted"]]
        devices = ", ".join(sorted({str(d) for d in runs["device"]}))
        rows.append(
            {"label": label, "parameters": runs["parameters"].mean(),
             "step_seconds": runs["step_seconds"].mean(), "saved_mb": cost.saved_mb,
             "adapter_bytes": cost.adapter_bytes,
             "packs": "one by one" if cost.unpackable else "in packs",
             "unpackable": cost.unpackable, "device": devices}
        )  # fmt: skip
    table = pd.DataFrame(rows)
    for name in COSTS:
        table[name] = table[name].astype(float)
        table[f"{name}_ratio"] = table[name] / (table[name].iloc[0] or np.nan)
    table.loc[table["device"] != table["device"].iloc[0], "step_seconds_ratio"] = np.nan
    return table
