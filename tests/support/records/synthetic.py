"""Tables of a study made from given response curves, following `study.schema`."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd

from analysis.data.labels import label_runs
from study.storage.tables import tables

LRS = [1e-4, 1e-3, 1e-2, 1e-1, 1.0]
Curve = Callable[[float, int], float]
"""(log10 lr, seed) -> score"""


def hill(center: float, width: float, peak: float = 0.9, noise: float = 0.0) -> Curve:
    """A score that falls off on both sides of `center`, with reproducible noise over seeds."""

    def score(log_lr: float, seed: int) -> float:
        wobble = noise * np.sin(12.9898 * (seed + 1) + 78.233 * log_lr)
        return peak * math.exp(-(((log_lr - center) / width) ** 2)) + wobble

    return score


FLAT, NARROW, LOW = hill(-2, 6), hill(-2, 0.8), hill(-2, 6, peak=0.5)
GOOD = {"ether": FLAT, "ether_plus": hill(-2, 6, 0.95), "lora": NARROW, "oft": NARROW, "naive": NARROW}
"""Response curves as the paper has them: the ETHERs flat, the others narrow."""


def records(
    curves: dict[str, Curve], lrs: list[float] = LRS, seeds: int = 5, **columns: object
) -> list[dict]:
    """One record per method, rate and seed; `columns` override what every row says."""
    made = []
    for method, curve in curves.items():
        for lr in lrs:
            for seed in range(seeds):
                score = curve(math.log10(lr), seed)
                row = {
                    "run_id": f"{method}-{lr:g}-{seed}", "sweep": "lr_grid", "task": "vtab", "scale": "mini",
                    "method": method, "lr": lr, "seed": seed, "status": "ok", "reason": "",
                    "metric": "accuracy", "higher_is_better": True, "chance": 0.1, "base_valid": 0.1,
                    "base_test": 0.1, "valid": score, "test": score, "parameters": 100, "steps": 10,
                    "step_seconds": 0.01, "transform_distance": lr, "weight_distance": lr, "he_change": 0.0,
                    "parameter_growth": 2.0, "loss_first": 2.0, "loss_last": 1.0,
                    "versions": "study 0", "git_sha": "abc", "git_dirty": False, "device": "cpu",
                    "record_version": 1, f"method.{method}.blocks": 4, "task.steps": 10, **columns,
                }  # fmt: skip
                history = [
                    {"step": step, "valid": score * step / 10, "he_change": 0.0, "train_loss": 1.0}
                    for step in (0, 5, 10)
                ]
                made.append({"row": row, "history": history, "layers": [{"layer": "a", "side": "in"}]})
    return made


def runs(*arguments: object, **named: object) -> pd.DataFrame:
    """The labelled `runs` table of `records`."""
    return label_runs(tables(records(*arguments, **named))["runs"])  # type: ignore[arg-type]


def write(folder: Path, made: list[dict]) -> Path:
    """Writes the three tables of the records as a study."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, table in tables(made).items():
        table.to_parquet(folder / f"{name}.parquet", index=False)
    return folder
