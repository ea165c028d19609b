"""What tuning costs: the expected test score of the best of k trials, best by their validation score.

Of n trials that were drawn independently, every k of them are as good a search of k trials as any other. The
mean over all of these searches is a U-statistic, without bias for a search of k trials (Tang et al. 2020,
arXiv 2004.14769, for the score that is chosen by; Dodge et al. 2019, arXiv 1909.03004, draw with replacement,
which is too low). The trial with the i-th lowest validation score is the best of k with probability
(C(i, k) - C(i - 1, k)) / C(n, k); trials with equal scores are as likely. A trial that diverged is never the
best beside one that did not.

Where trials come from:

- a space with sampler=random, and qmc, whose points are spread more evenly than that: all trials;
- a grid: the rates of each seed are n trials, of which k are drawn without replacement. A rate is drawn with
  its seed, and the curve is the mean over seeds;
- a space with sampler=tpe or gp, or with a pruner: trials learn from each other, or are judged beside each
  other, and only the search that took place is one. Its curve is that of the best trial so far of those that
  were trained to their end, and there is no interval.

Intervals are 95 %. Of a space, the curve plus and minus Student's quantile times its standard deviation over
bootstrap resamples of the trials; in simulations of 20 and 40 trials it covers the truth in 85 to 95 % of
studies, percentiles of the resamples in only 72 to 95 %. (`opda`'s bands are exact for the score by which is
chosen, here validation; on test nobody knows exact ones.) Of a grid, Student's over seeds. Of budgets and
areas, percentiles of the same resamples, of trials or seeds.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats
from scipy.special import gammaln

from analysis.data.scores import direction, scores
from analysis.data.table import Study
from analysis.statistics.curves import Array

SHARE = 0.95
"""Of what the best gains over chance, the part that a budget is to reach."""

RESAMPLES = 1000
MOST_POINTS = 200
"""Numbers of trials at which a curve is known; of more, those are spread evenly in their logarithm."""


@dataclass(frozen=True)
class TuningCurve:
    """One label's expected best test score, in the metric's own unit and direction.

    trials: (K,) numbers of trials, ascending, from 1 to all.
    expected: (K,) expected test score of the trial that is best on validation.
    low, high: (K,) its 95 % interval; nan where there is none.
    resampled: (B, K) the curve of each resample.
    chance: the score of a guess, or of the untouched model where nobody can guess; nan if neither is known.
    sign: 1 where more of the metric is better, else -1.
    """

    label: str
    trials: NDArray[np.int64]
    expected: Array
    low: Array
    high: Array
    resampled: Array
    chance: float
    sign: float

    @property
    def best(self) -> float:
        """Test score of the trial that is best of all on validation."""
        return float(self.expected[-1])

    def budget(self, best: float | None = None) -> tuple[float, float, float]:
        """The fewest trials whose expected score reaches SHARE of what the best gains over chance.

        Args:
            best: what is to be reached; its own best, that of each resample in its interval, if None.

        Returns:
            It with its 95 % interval; infinite where no number of trials reaches it, nan where the best is
            no better than chance, and where there is no interval.
        """
        of_data = self._reaches(self.expected[None], best)
        return float(of_data[0]), *_percentiles(self._reaches(self.resampled, best))

    def area(self, most: int) -> tuple[float, float, float]:
        """Mean of the expected score over 1, 2, ..., `most` trials, with its 95 % interval."""
        every = np.arange(1, most + 1)
        curves = np.vstack([self.expected[None], self.resampled])
        means = np.array([np.interp(every, self.trials, curve).mean() for curve in curves])
        return float(means[0]), *_percentiles(means[1:])

    def _reaches(self, curves: Array, best: float | None) -> Array:
        """(B, K) -> (B,)"""
        gains = self.sign * (curves - self.chance)
        wanted = gains[:, -1] if best is None else np.full(len(gains), self.sign * (best - self.chance))
        reached = gains >= SHARE * wanted[:, None] - 1e-12
        first = np.where(reached.any(1), self.trials[reached.argmax(1)], np.inf)
        return np.where(wanted > 0, first, np.nan)


def tuning_curves(study: Study) -> dict[str, TuningCurve]:
    """The curve of each label that has two trials or more: by label, in canonical order."""
    runs = study.runs[study.runs["counted"]]
    if runs.empty:
        return {}
    rng = np.random.default_rng(0)
    made = {}
    for label in study.labels:
        own = runs[runs["label"] == label]
        trials = study.trials
        if trials is not None:
            rows = trials.table[trials.table["label"] == label]
            curve = _of_space(label, rows, own, trials.one_search, rng) if len(rows) > 1 else None
        else:
            curve = _of_grid(label, own, rng) if len(own) else None
        if curve is not None:
            made[label] = curve
    return made


def expected_best(valid: Array, test: Array, trials: NDArray[np.int64], counts: NDArray[np.int64]) -> Array:
    """Expected test score of the best on validation of k trials drawn without replacement: (B, K).

    Args:
        valid, test: (n,) scores, *more is better* on validation; -inf is never best beside another.
        trials: (K,) numbers of trials, at most as many as each resample has.
        counts: (B, n) how often each resample has each trial; every row has the same sum.
    """
    ranked, place = np.unique(valid, return_inverse=True)  # ascending; trials with equal scores are a group
    member = np.zeros((len(valid), len(ranked)))
    member[np.arange(len(valid)), place] = 1
    sizes = counts @ member  # (B, G)
    with np.errstate(invalid="ignore", divide="ignore"):
        means = np.nan_to_num((counts * test) @ member / sizes)
    up_to = np.concatenate([np.zeros((len(counts), 1)), np.cumsum(sizes, 1)], 1).astype(int)
    share = _share_of_searches(int(counts[0].sum()), trials)  # (n + 1, K)
    return np.stack([(np.diff(share[up_to, k], axis=1) * means).sum(1) for k in range(len(trials))], 1)


def _share_of_searches(total: int, trials: NDArray[np.int64]) -> Array:
    """C(s, k) / C(total, k) for s = 0 ... total: the share of searches that see the s lowest trials alone."""
    s, k = np.arange(total + 1)[:, None], trials[None, :]
    with np.errstate(invalid="ignore", divide="ignore"):
        logs = (
            gammaln(s + 1) - gammaln(np.maximum(s - k, 0) + 1) - gammaln(total + 1) + gammaln(total - k + 1)
        )
    return np.where(s >= k, np.exp(logs), 0.0)


def _points(count: int) -> NDArray[np.int64]:
    if count <= MOST_POINTS:
        return np.arange(1, count + 1)
    return np.unique(np.round(np.geomspace(1, count, MOST_POINTS)).astype(np.int64))


def _of_space(
    label: str, rows: pd.DataFrame, runs: pd.DataFrame, one_search: bool, rng: np.random.Generator
) -> TuningCurve:
    sign = direction(runs)
    valid = np.where(
        rows["diverged"].to_numpy(dtype=bool), -np.inf, sign * rows["valid"].to_numpy(dtype=float)
    )
    test, count = rows["test"].to_numpy(dtype=float), len(rows)
    if one_search:
        best = [int(np.argmax(valid[: k + 1])) for k in range(count)]
        nothing = np.full(count, np.nan)
        empty = np.empty((0, count))
        return TuningCurve(
            label, rows["trial"].to_numpy() + 1, test[best], nothing, nothing, empty, _chance(runs), sign
        )
    points = _points(count)
    draws = rng.multinomial(count, np.full(count, 1 / count), size=RESAMPLES)
    curves = expected_best(valid, test, points, np.vstack([np.ones((1, count), dtype=np.int64), draws]))
    half = stats.t.ppf(0.975, count - 1) * curves[1:].std(0, ddof=1)
    return TuningCurve(
        label, points, curves[0], curves[0] - half, curves[0] + half, curves[1:], _chance(runs), sign
    )


def _of_grid(label: str, runs: pd.DataFrame, rng: np.random.Generator) -> TuningCurve | None:
    """Of the rates at which every seed has a score; None with fewer than two of them."""
    s, sign = scores(runs), direction(runs)
    diverged = runs.assign(d=runs["status"] == "diverged").pivot(index="lr", columns="seed", values="d")
    never = diverged.reindex(index=s.lrs, columns=s.seeds).fillna(False).to_numpy(dtype=bool)
    whole = np.isfinite(s.valid).all(1)
    count, seeds = int(whole.sum()), len(s.seeds)
    if count < 2:
        return None
    points = _points(count)
    once = np.ones((1, count), dtype=np.int64)
    by_seed = np.vstack(
        [
            expected_best(
                np.where(never[whole, i], -np.inf, sign * s.valid[whole, i]), s.test[whole, i], points, once
            )
            for i in range(seeds)
        ]
    )  # (seeds, K)
    mean = by_seed.mean(0)
    if seeds < 2:
        nothing = np.full(count, np.nan)
        return TuningCurve(label, points, mean, nothing, nothing, np.empty((0, count)), _chance(runs), sign)
    half = stats.t.ppf(0.975, seeds - 1) * by_seed.std(0, ddof=1) / np.sqrt(seeds)
    draws = by_seed[rng.integers(seeds, size=(RESAMPLES, seeds))].mean(1)
    return TuningCurve(label, points, mean, mean - half, mean + half, draws, _chance(runs), sign)


def _chance(runs: pd.DataFrame) -> float:
    chance = float(runs["chance"].mean())
    return chance if np.isfinite(chance) else float(runs["base_test"].mean())


def _percentiles(values: Array) -> tuple[float, float]:
    """The 95 % interval of what resamples came to; infinite ones count, nan ones do not."""
    known = np.sort(values[~np.isnan(values)])
    if not len(known):
        return np.nan, np.nan
    low, high = np.quantile(known, [0.025, 0.975], method="inverted_cdf")
    return float(low), float(high)


def tuning_table(curves: dict[str, TuningCurve]) -> pd.DataFrame:
    """A row per label, each figure with `_low` and `_high`.

    trials: how many there are. best_test: test score of the best of all on validation.
    budget: trials to SHARE of what its own best gains over chance. budget_best: to that of the best label's.
    area: mean expected score over the numbers of trials that all labels have.
    """
    if not curves:
        return pd.DataFrame()
    most = min(int(curve.trials[-1]) for curve in curves.values())
    best_of_all = max(curves.values(), key=lambda curve: curve.sign * curve.best).best
    rows = []
    for label, curve in curves.items():
        row: dict[str, object] = {"label": label, "trials": int(curve.trials[-1])}
        found = {
            "best_test": (curve.best, float(curve.low[-1]), float(curve.high[-1])),
            "budget": curve.budget(),
            "budget_best": curve.budget(best_of_all),
            "area": curve.area(most),
        }
        for name, (value, low, high) in found.items():
            row |= {name: value, f"{name}_low": low, f"{name}_high": high}
        rows.append(row)
    return pd.DataFrame(rows)
