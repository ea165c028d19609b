"""What a comparison decides: the one place where a row of its table, and a headline, get their verdict.

A row is decided by its test alone, and only where there is one: both methods learn, they share at least
three seeds, and their plateaus can be compared. The headline on robustness is made of the rows' decisions,
so the two cannot disagree. Sensitivity leads: more or less robust is what the sensitivity shows; where that
shows no difference the share of diverged runs may decide; a plateau, which is read off the same curve, never
does alone. A row that shows the opposite makes it mixed.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis.statistics.curves import Array
from analysis.statistics.learning import MIN_SEEDS

LEVEL = 0.05
BETTER, WORSE, NOT_SHOWN, NO_DECISION = "better", "worse", "no difference shown", "no decision possible"
MORE_ROBUST, LESS_ROBUST, MIXED = "more robust", "less robust", "mixed"

EXACT, AT_LEAST, AT_MOST, UNKNOWN = "exact", "at least", "at most", "unknown"
"""What a difference of plateaus is, where some of the widths are lower bounds."""


def why_undecided(seeds: int, not_learning: Mapping[str, str]) -> str:
    """Why nothing can be decided between two methods, as a clause; empty if something can.

    Args:
        seeds: that both have.
        not_learning: by name, that it does not learn and why; empty if it does.
    """
    reasons = [f"{name} {why}" for name, why in not_learning.items() if why]
    if reasons:
        return " and ".join(reasons)
    if seeds < MIN_SEEDS:
        have = "no seed" if not seeds else "one seed" if seeds == 1 else f"{seeds} seeds"
        return f"they have {have} in common, and a verdict needs {MIN_SEEDS} or, better, 5"
    return ""


def plateau_difference(
    new: Array, base: Array, new_is_bound: NDArray[np.bool_], base_is_bound: NDArray[np.bool_]
) -> str:
    """What new - base is, seed by seed: EXACT, a bound on one side, or UNKNOWN, not to be compared.

    A lower bound can be compared with a width that is known if it exceeds that: then the method's own is
    the wider one for certain. Two lower bounds cannot.

    Args:
        new, base: (n,) widths.
        new_is_bound, base_is_bound: (n,) which of them are lower bounds.
    """
    if not (new_is_bound | base_is_bound).any():
        return EXACT
    certain = np.where(new_is_bound, new > base, base > new)[new_is_bound | base_is_bound]
    if (new_is_bound & base_is_bound).any() or not certain.all():
        return UNKNOWN
    if base_is_bound.any():
        return UNKNOWN if new_is_bound.any() else AT_MOST
    return AT_LEAST


BOUNDS_SAY_NOTHING = "plateaus reach an end of the grid, and on a wider one the difference may be another"


def row_decision(row: pd.Series, sign: float) -> str:
    """`better` or `worse` where Holm's p-value is at most 0.05, by the difference's sign.

    Args:
        row: of the comparison's table, with p_holm, difference and difference_is.
        sign: 1 where more of the quantity is better, else -1.
    """
    if np.isnan(row["p_holm"]):
        return NO_DECISION
    if row["p_holm"] > LEVEL:
        return NOT_SHOWN
    if row["difference_is"] == (AT_MOST if row["difference"] > 0 else AT_LEAST):
        return NO_DECISION  # the bound is on the wrong side: the truth may be on either side of 0
    return BETTER if sign * row["difference"] > 0 else WORSE


def robustness_decision(decisions: Mapping[str, str]) -> str:
    """The headline, from the decisions of the rows by quantity."""
    leading = decisions["regret_window"]
    if leading == NO_DECISION:
        return NO_DECISION
    if leading == NOT_SHOWN:
        leading = decisions["divergence_rate"]
    if leading not in (BETTER, WORSE):
        return NOT_SHOWN
    opposite = WORSE if leading == BETTER else BETTER
    if opposite in decisions.values():
        return MIXED
    return MORE_ROBUST if leading == BETTER else LESS_ROBUST
