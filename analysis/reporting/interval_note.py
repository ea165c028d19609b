"""What a page says of its intervals: which kind they are, over how many seeds, and how far to trust them."""

from __future__ import annotations

import pandas as pd

from analysis.statistics.coverage import coverage_of
from analysis.statistics.intervals import seeds_text
from analysis.statistics.learning import MIN_SEEDS


def interval_note(table: pd.DataFrame) -> str:
    """Sentences on the intervals of a robustness table, by the number of seeds behind them."""
    fewest, most = int(table["seeds"].min()), int(table["seeds"].max())
    needed = f"a verdict needs {MIN_SEEDS} seeds or, better, 5"
    if most < 2:
        return f"One seed shows no spread, so there are no intervals; {needed}."
    counted = max(fewest, 2)
    simulated, share = coverage_of(counted)
    like = "so many" if simulated == counted else f"{simulated}"
    held = [
        f"the {what} in {100 * share[name]:.0f} %"
        for name, what in (
            ("tuned_test", "tuned score"),
            ("regret_window", "sensitivity"),
            ("plateau_10", "plateau"),
        )
    ]
    sentences = [
        f"In brackets 95 % intervals over {seeds_text(fewest, most)}: Student's for scores and regrets, "
        "Wilson's for divergence rates, and percentiles of resampled seeds for plateaus, the tuned rate and "
        "the spread.",
        f"In simulations with {like} seeds they hold the true value of {', '.join(held)} of studies"
        f"{', so the last are too narrow' if share['plateau_10'] < 0.94 else ''}.",
    ]
    if fewest < 2:
        sentences.append("A method with one seed has no interval.")
    if fewest < MIN_SEEDS:
        sentences.append(f"With fewer than {MIN_SEEDS} seeds nothing is concluded: {needed}.")
    return " ".join(sentences)
