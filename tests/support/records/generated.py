"""Studies of a task that generates, with further metrics and kept pictures, that no run has made."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from study.storage import pictures
from support.records import synthetic

Colour = Callable[[dict], tuple[int, int, int]]


def records(
    curves: dict[str, synthetic.Curve], lrs: list[float], seeds: int, **columns: object
) -> list[dict]:
    """As of `synthetic.records`, of s2i on the project's portraits."""
    named = {
        "task": "s2i", "metric": "mean_iou", "base_test": 0.2, "base_valid": 0.2, "chance": 0.05,
        "lower_is_better": "frechet_distance", "metric.real_mean_iou": 0.95, "task.data": "portraits",
    }  # fmt: skip
    made = synthetic.records(curves, lrs, seeds, **named | columns)
    for record in made:
        row = record["row"]
        row["metric.frechet_distance"] = float(1000 * (1 - row["test"]) + row["seed"])
        row["metric.pixel_accuracy"] = float(row["test"] / 2)
        for point in record["history"]:
            point["metric.real_mean_iou"] = 0.9
    return made


def subjects(
    curves: dict[str, synthetic.Curve], lrs: list[float], seeds: int, **columns: object
) -> list[dict]:
    """As of `synthetic.records`, of subjects: of the two fidelities one is .1 above the score, one below."""
    named = {
        "task": "subject", "metric": "fidelity", "base_test": 0.3, "base_valid": 0.3, "chance": 0.0,
        "task.data": "portrait-subjects", "trade_off": "subject_fidelity,prompt_fidelity",
        "lower_is_better": "drift,untouched_true_distance", "metric.untouched_true_distance": 0.5,
    }  # fmt: skip
    for kind, (subject, prompt) in IN_PLACE.items():
        named |= {f"metric.{kind}_subject_fidelity": subject, f"metric.{kind}_prompt_fidelity": prompt}
    made = synthetic.records(curves, lrs, seeds, **named | {"metric.repeated_fidelity": 0.52} | columns)
    for record in made:
        row = record["row"]
        row["metric.subject_fidelity"] = float(row["test"] + 0.1)
        row["metric.prompt_fidelity"] = float(row["test"] - 0.1)
        row["metric.drift"] = 0.25
    return made


IN_PLACE = {"real": (0.99, 0.97), "repeated": (0.98, 0.35), "untouched": (0.2, 0.9)}
"""Subject and prompt fidelity of what stands in the place of generated pictures."""


def colour_of(row: dict) -> tuple[int, int, int]:
    """One for each run."""
    number = sum(ord(letter) * (7 * place + 3) for place, letter in enumerate(row["run_id"]))
    return 40 + number % 211, 40 + number // 211 % 201, 40 + number * 31 % 197


def write(folder: Path, made: list[dict], colour: Colour = colour_of, subjects: bool = False) -> Path:
    """Writes tables and pictures: a run's own are of one colour, what was asked for is black and white.

    Args:
        subjects: whether each seed has a real picture of its own.
    """
    for record in made:
        row = record["row"]
        plain = np.ones((2, 3, 4, 4), dtype=np.uint8)
        own = np.array(colour(row), dtype=np.uint8)[None, :, None, None]
        kept = {
            "control": 0 * plain,
            "real": (255 - subjects * row["seed"]) * plain,
            "generated": plain * own,
        }
        row["pictures"] = pictures.write(folder, row["run_id"], kept)
    return synthetic.write(folder, made)
