"""The paper's claims C1-C7, each with the test that decides it, and the verdicts on given records.

C8 is ours: what the paper's Tables 4 and 5 show, put as a claim.

A claim is made of parts. A part states a figure, its interval, and what the figure must be; it is
*reproduced* if the whole interval is where the paper's claim puts it, *not reproduced* if the whole
interval is elsewhere, else *undecided*. A claim is reproduced if all its parts are, not reproduced if
one is not, else undecided. Thresholds are constants here, stated beside what they decide.

Intervals are 95 %: bootstrapped over seeds as in `analysis.robustness`, or Student's for differences
that are paired by seed (same seed: same initial draw and data order for every method).

Margins are of scores in 0..1 (accuracy, Matthews and other correlations, exact match). A metric of which less
is better (perplexity) enters as minus its logarithm (`comparable`), so that a margin of 0.02 is 2 % of it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace

import numpy as np
import pandas as pd

from analysis.data.studies import GRID, VTAB, key_of, title
from analysis.data.table import METHOD_ORDER, Study, scores
from analysis.statistics.paired import at_tuned_rates, mean_interval, tuned_lr
from analysis.statistics.robustness import (
    RESAMPLES,
    WINDOW_DECADES,
    Array,
    mean_regret,
    resampled,
    tuned_index,
)

EXACT = 1e-5  # relative, what float32 parameters leave of an exact identity
ORDERS = 10.0  # growth of a distance over the grid that counts as unbounded: an order of magnitude
EARLY_STEPS, EARLY_SHARE = 1 / 3, 0.9  # early: 90 % of its own best score after a third of training
SAME_SCORE = 0.02  # scores within two points count as equal, and one that is lower by less as no worse
SAME_BLOCKS = 0.03  # ... and within three between numbers of blocks
RATIO_TOLERANCE = 0.1  # relative, for parameter ratios the paper rounds
USABLE = 0.5  # a perturbed model is usable if it keeps half of what the base model has above chance

REPRODUCED, NOT_REPRODUCED, UNDECIDED = "reproduced", "not reproduced", "undecided"

CLAIMS = {
    "C1": "Bounded: ETHER's distance is constant and ETHER+'s bounded, OFT's and Naive's grow with the rate",
    "C2": "Robust: ETHER and ETHER+ keep their score over the learning rate, LoRA, OFT and Naive do not",
    "C3": "Fast: ETHER+ converges early at high learning rates",
    "C4": "Small: 120 and 30 times fewer parameters than OFT on SD-1.5",
    "C5": "Blocks: their number hardly changes the score and cuts the compute",
    "C6": "Hyperspherical energy: Naive matches OFT though it changes HE; ETHER+ changes it and scores best",
    "C7": "Non-deteriorating: random ETHER(+) transformations keep the model usable, OFT's do not",
    "C8": "Language: ETHER+ scores at least as well as LoRA and OFT with fewer parameters (Tables 4 and 5)",
}


@dataclass(frozen=True)
class Part:
    """One part of a claim, decided."""

    claim: str
    part: str
    test: str
    effect: float
    low: float
    high: float
    verdict: str
    records: str
    study: str = ""  # its title, where one study decides


def above(low: float, high: float, threshold: float) -> str:
    """The claim is that the figure lies above the threshold."""
    return REPRODUCED if low > threshold else NOT_REPRODUCED if high < threshold else UNDECIDED


def within(low: float, high: float, margin: float) -> str:
    """The claim is equivalence: the whole interval within +- margin."""
    if -margin <= low and high <= margin:
        return REPRODUCED
    return NOT_REPRODUCED if low > margin or high < -margin else UNDECIDED


def overall(verdicts: list[str]) -> str:
    """A claim's verdict from its parts'."""
    if NOT_REPRODUCED in verdicts:
        return NOT_REPRODUCED
    return REPRODUCED if verdicts and set(verdicts) == {REPRODUCED} else UNDECIDED


MINUS_LOG = "minus log "


def comparable(study: Study) -> Study:
    """The study with scores of which more is better, in the units of the margins; see the module's text."""
    runs, history = study.runs, study.history
    if runs["higher_is_better"].iloc[0]:
        return study
    columns = ["valid", "test", "base_valid", "base_test", "chance"]
    runs = runs.assign(metric=MINUS_LOG + runs["metric"], higher_is_better=True)
    runs[columns] = -np.log(runs[columns])
    return replace(study, runs=runs, history=history.assign(valid=-np.log(history["valid"])))


def _records(study: Study, rows: pd.DataFrame) -> str:
    metric = study.runs["metric"].iloc[0]
    unit = f" (score: {metric})" if metric.startswith(MINUS_LOG) else ""
    return f"{study.name}: {len(rows)} runs{unit}"


def _percentiles(values: Array) -> tuple[float, float, float]:
    """The data's own figure, values[0], and the percentiles of its resamples."""
    low, high = np.percentile(values[1:], [2.5, 97.5])
    return float(values[0]), float(low), float(high)


def paired_difference(first: pd.DataFrame, second: pd.DataFrame) -> tuple[float, float, float]:
    """Test score of one method minus another's, each at its tuned rate, paired by seed."""
    return mean_interval(at_tuned_rates(first, second))


def bounded(study: Study) -> list[Part]:
    """C1, from `lr_grid`. Distances that are not finite are left out: the growth stated is the least."""
    runs = study.runs[study.runs["counted"]]
    parts = []
    ether = runs[runs["method"] == "ether"]["transform_distance"]
    spread = float((ether.max() - ether.min()) / ether.mean())
    test = f"spread of ETHER's |T - I|_F over all runs, relative, below {EXACT:g}"
    verdict = above(-spread, -spread, -EXACT)
    parts.append(Part("C1", "ETHER constant", test, spread, spread, spread, verdict, _records(study, ether)))
    plus = runs[runs["method"] == "ether_plus"]
    layers = study.layers.merge(plus[["run_id", "method.ether_plus.blocks"]], on="run_id")
    bound = np.sqrt(2 * layers["method.ether_plus.blocks"].astype(float))
    share = float((layers["transform_distance"] / bound).max())
    test = "largest |T - I|_F of any ETHER+ layer and side over its bound sqrt(2 n), at most 1"
    verdict = above(-share, -share, -(1 + EXACT))
    parts.append(Part("C1", "ETHER+ bounded", test, share, share, share, verdict, _records(study, plus)))
    rng = np.random.default_rng(0)
    for method, name in (("oft", "OFT"), ("naive", "Naive")):
        rows = runs[(runs["method"] == method) & np.isfinite(runs["transform_distance"])]
        ends = [
            rows[rows["lr"] == lr]["transform_distance"].to_numpy()
            for lr in (rows["lr"].min(), rows["lr"].max())
        ]
        means = [np.append(e.mean(), e[rng.integers(len(e), size=(RESAMPLES, len(e)))].mean(1)) for e in ends]
        found = _percentiles(means[1] / means[0])
        growth = f"{name}'s |T - I|_F at the highest rate over that at the lowest, above {ORDERS:g}"
        verdict = above(*found[1:], ORDERS)
        parts.append(Part("C1", f"{name} grows", growth, *found, verdict, _records(study, rows)))
    return parts


def robust(study: Study) -> list[Part]:
    """C2, from `lr_grid`: mean regret within 1.5 decades of the tuned rate, pair by pair."""
    runs = study.runs[study.runs["counted"]]
    rng = np.random.default_rng(0)
    regrets = {}
    for method in sorted(METHOD_ORDER):
        s = scores(runs[runs["method"] == method])
        valid, curve, _ = resampled(s, rng, 1.0)
        regrets[method] = mean_regret(
            curve, np.log10(s.lrs), tuned_index(valid), -WINDOW_DECADES, WINDOW_DECADES
        )
    parts = []
    for own, own_name in (("ether", "ETHER"), ("ether_plus", "ETHER+")):
        for other, other_name in (("lora", "LoRA"), ("oft", "OFT"), ("naive", "Naive")):
            figure = _percentiles(regrets[other] - regrets[own])
            test = (
                f"{other_name}'s mean regret within 1.5 decades of its tuned rate minus {own_name}'s, above 0"
            )
            verdict = above(*figure[1:], 0)
            name = f"{own_name} against {other_name}"
            parts.append(Part("C2", name, test, *figure, verdict, _records(study, runs)))
    return parts


def fast(study: Study) -> list[Part]:
    """C3, from `lr_grid`: over how many decades is a method nearly done after a third of training?"""
    runs = study.runs[study.runs["counted"]]
    history = study.history.merge(runs[["run_id", "method", "lr", "seed", "steps"]], on="run_id")
    steps = np.sort(history["step"].unique())
    early = steps[np.abs(steps - EARLY_STEPS * history["steps"].iloc[0]).argmin()]
    rng = np.random.default_rng(0)
    decades = {}
    for method in ("ether_plus", "oft", "naive"):
        own = history[history["method"] == method]
        curves = []
        for step in (early, steps[-1]):
            table = own[own["step"] == step].pivot(index="lr", columns="seed", values="valid").sort_index()
            curves.append(table.fillna(float(runs["chance"].iloc[0])).to_numpy())
        seeds = curves[0].shape[1]
        draws = np.vstack([np.arange(seeds), rng.integers(seeds, size=(RESAMPLES, seeds))])
        first, last = (curve[:, draws].mean(2).T for curve in curves)  # (1 + B, lrs)
        log_lr = np.log10(np.sort(own["lr"].unique()))
        spacing = (log_lr[-1] - log_lr[0]) / max(1, len(log_lr) - 1)
        best = last.max(1, keepdims=True)
        level = best - (1 - EARLY_SHARE) * np.abs(best)  # for scores of either sign
        decades[method] = spacing * (first >= level).sum(1)
    parts = []
    for other, name in (("oft", "OFT"), ("naive", "Naive")):
        figure = _percentiles(decades["ether_plus"] - decades[other])
        test = (
            f"decades of learning rate at which {EARLY_SHARE:.0%} of its own best validation score is "
            f"reached by step {early}: ETHER+'s minus {name}'s, above 0"
        )
        verdict = above(*figure[1:], 0)
        parts.append(Part("C3", f"ETHER+ against {name}", test, *figure, verdict, _records(study, runs)))
    return parts


def small(ratios: dict[str, float]) -> list[Part]:
    """C4: OFT's parameters over ETHER's and ETHER+'s on SD-1.5, counted exactly."""
    parts = []
    for method, name, printed in (("ether", "ETHER", 120), ("ether_plus", "ETHER+", 30)):
        ratio = ratios[method]
        test = f"OFT's parameters over {name}'s, within {RATIO_TOLERANCE:.0%} of the paper's {printed}"
        off = ratio / printed - 1
        verdict = within(off, off, RATIO_TOLERANCE)
        parts.append(Part("C4", name, test, ratio, ratio, ratio, verdict, "parameters.csv"))
    return parts


def blocks(study: Study, compute: dict[str, float]) -> list[Part]:
    """C5, from `blocks`, and the weight-side compute of the most blocks over that of one."""
    runs = study.runs[study.runs["counted"]]
    parts = []
    for method, name in (("ether", "ETHER"), ("ether_plus", "ETHER+")):
        rows = runs[runs["method"] == method]
        column = rows[f"method.{method}.blocks"].astype(float)
        few, many = column.min(), column.max()
        figure = paired_difference(rows[column == many], rows[column == few])
        test = (
            f"tuned test score with {many:.0f} blocks minus with {few:.0f}, paired by seed, "
            f"within +-{SAME_BLOCKS}"
        )
        verdict = within(*figure[1:], SAME_BLOCKS)
        parts.append(Part("C5", f"{name} score", test, *figure, verdict, _records(study, rows)))
        share = compute[method]
        test = "weight-side training compute with 32 blocks over that with 1 (Llama-2-7B), below 1"
        verdict = above(-share, -share, -1)
        parts.append(Part("C5", f"{name} compute", test, share, share, share, verdict, "compute.csv"))
    return parts


def energy(study: Study) -> list[Part]:
    """C6, from `lr_grid`, everything at each method's tuned rate."""
    runs = study.runs[study.runs["counted"]]
    own = {method: rows for method, rows in runs.groupby("method")}
    tuned = {m: rows[rows["lr"] == tuned_lr(rows)].set_index("seed") for m, rows in own.items()}
    where = _records(study, runs)
    parts = []

    def add(part: str, test: str, figure: tuple[float, float, float], verdict: str) -> None:
        parts.append(Part("C6", part, test, *figure, verdict, where))

    figure = paired_difference(own["naive"], own["oft"])
    test = f"Naive's tuned test score minus OFT's, paired by seed, within +-{SAME_SCORE} (equivalence)"
    add("Naive matches OFT", test, figure, within(*figure[1:], SAME_SCORE))
    for method, name in (("naive", "Naive"), ("ether_plus", "ETHER+")):
        figure = mean_interval(tuned[method]["he_change"].abs().to_numpy())
        largest = float(tuned["oft"]["he_change"].abs().max())
        test = f"|HE(W') - HE(W)| of {name} at its tuned rate, above the largest of OFT's"
        add(f"{name} changes HE", test, figure, above(*figure[1:], largest))
    change = (tuned["ether_plus"]["he_change"].abs() - tuned["naive"]["he_change"].abs()).dropna()
    figure = mean_interval(change.to_numpy())
    add(
        "ETHER+ changes HE most",
        "ETHER+'s |HE(W') - HE(W)| minus Naive's, above 0",
        figure,
        above(*figure[1:], 0),
    )
    for other, name in (("oft", "OFT"), ("naive", "Naive"), ("ether", "ETHER")):
        figure = paired_difference(own["ether_plus"], own[other])
        test = f"ETHER+'s tuned test score minus {name}'s, paired by seed, above 0"
        add(f"ETHER+ scores best: {name}", test, figure, above(*figure[1:], 0))
    return parts


def perturbed(study: Study) -> list[Part]:
    """C7, from `perturbation`: what the strongest random transformation leaves of the model."""
    runs = study.runs[study.runs["counted"]]
    parts = []
    for method, name, kept in (
        ("ether", "ETHER", True),
        ("ether_plus", "ETHER+", True),
        ("oft", "OFT", False),
    ):
        rows = runs[runs["method"] == method]
        strongest = rows[rows["task.noise"] == rows["task.noise"].max()]
        share = (strongest["test"] - strongest["chance"]) / (strongest["base_test"] - strongest["chance"])
        figure = mean_interval(share.to_numpy())
        side = "above" if kept else "below"
        test = f"share of the base model's score above chance that remains, {side} {USABLE:g}"
        low, high = figure[1:]
        verdict = above(low, high, USABLE) if kept else above(-high, -low, -USABLE)
        parts.append(Part("C7", name, test, *figure, verdict, _records(study, strongest)))
    return parts


def no_worse(study: Study) -> list[Part]:
    """C8, from a study of GLUE or instruction tuning: ETHER+ is not inferior, and has fewer parameters.

    Each method at its tuned rate and, where it has several, with the settings that validation favours.
    """
    runs = study.runs[study.runs["counted"]]
    own = {str(method): favoured(rows) for method, rows in runs.groupby("method")}
    parts = []
    for other, name in (("lora", "LoRA"), ("oft", "OFT")):
        if not {"ether_plus", other} <= set(own):
            continue
        figure = paired_difference(own["ether_plus"], own[other])
        counts = [round(own[method]["parameters"].mean()) for method in ("ether_plus", other)]
        test = (
            f"ETHER+'s tuned test score minus {name}'s, paired by seed, above -{SAME_SCORE} (not inferior), "
            f"with fewer parameters: {counts[0]:,} against {counts[1]:,}"
        )
        verdict = above(*figure[1:], -SAME_SCORE) if counts[0] < counts[1] else NOT_REPRODUCED
        parts.append(Part("C8", f"ETHER+ against {name}", test, *figure, verdict, _records(study, runs)))
    return parts


def favoured(rows: pd.DataFrame) -> pd.DataFrame:
    """Of one method's runs those with the settings of the best mean validation score at its tuned rate."""
    labels = [own for _, own in rows.groupby("place")]
    return max(labels, key=lambda own: own.loc[own["lr"] == tuned_lr(own), "valid"].mean())


LANGUAGE = "language"
FROM_RECORDS: dict[str, tuple[str, Callable[[Study], list[Part]]]] = {
    "C1": (GRID, bounded),
    "C2": (GRID, robust),
    "C3": (GRID, fast),
    "C6": (GRID, energy),
    "C7": ("perturbation", perturbed),
    "C8": (LANGUAGE, no_worse),
}
"""The claims that a study decides alone: of which kind, a sweep's name or LANGUAGE, and what judges it."""


def decide(claim: str, studies: list[Study]) -> list[Part]:
    """The claim's parts on every study of its kind; a part's name says the study where it is not vtab's."""
    parts = []
    for study in studies:
        name = title(key_of(study))
        where = "" if key_of(study) == VTAB else f", {name}"
        judged = FROM_RECORDS[claim][1](comparable(study))
        parts += [replace(part, part=part.part + where, study=name) for part in judged]
    return parts


def by_study(parts: list[Part]) -> pd.DataFrame:
    """Verdicts, a column per claim, a row per study and before them one of all parts; empty where none is."""
    rows = []
    for study in dict.fromkeys(["all", *(part.study for part in parts if part.study)]):
        row = {"study": study}
        for claim in CLAIMS:
            verdicts = [p.verdict for p in parts if p.claim == claim and study in ("all", p.study)]
            row[claim] = overall(verdicts) if verdicts else ""
        rows.append(row)
    return pd.DataFrame(rows)


def as_table(parts: list[Part]) -> pd.DataFrame:
    """Rows of claims.csv: for each claim its verdict (part empty), then its parts."""
    rows: list[dict[str, object]] = []
    for claim, statement in CLAIMS.items():
        own = [part for part in parts if part.claim == claim]
        verdict = overall([part.verdict for part in own]) if own else "no records"
        rows.append({"claim": claim, "part": "", "test": statement, "verdict": verdict})
        rows += [asdict(part) for part in own]
    columns = ["claim", "part", "verdict", "effect", "low", "high", "test", "records"]
    return pd.DataFrame(rows, columns=columns)
