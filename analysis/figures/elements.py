"""What several figures are made of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from analysis.data.baselines import trained_alone
from analysis.data.metrics import NOT_NEGATIVE, REAL, REPEATED, in_place, range_of
from analysis.data.names import metric_name
from analysis.data.table import Study
from analysis.figures.explorable import explain
from analysis.figures.look import current
from analysis.figures.palette import MUTED
from analysis.figures.style import REFERENCE, MethodStyle
from analysis.statistics.intervals import seed_means
from study.storage.tuned import tuned_lr


def draw_band(
    axes: Axes,
    x: pd.Series,
    points: pd.DataFrame,
    style: MethodStyle,
    *,
    limits: tuple[float, float] = (-np.inf, np.inf),
    runs: Sequence[Sequence[str]] = (),
) -> None:
    """A line through the means with its interval as a band.

    Args:
        points: columns mean, low, high, seeds, as of `seed_means`.
        limits: of what can be measured; the band ends there, be the interval wider.
        runs: the run_ids behind each mean.
    """
    small = 0.7 if current().width else 1.0
    if style.muted:
        (line,) = axes.plot(x, points["mean"], style.line, color=MUTED, lw=1.0 * small, zorder=1.5)
        line.set_label(f"_{style.title}")
    else:
        (line,) = axes.plot(
            x, points["mean"], style.line, color=style.colour, marker=style.marker, ms=4.5 * small,
            lw=1.8 * small, label=style.title,
        )  # fmt: skip
        low, high = points["low"].clip(*limits), points["high"].clip(*limits)
        axes.fill_between(x, low, high, color=style.colour, alpha=0.18, lw=0, label=f"_{style.title}")
    explain(line, mean_texts(x, points), runs)


def mean_texts(x: pd.Series, points: pd.DataFrame) -> list[str]:
    """What each mean tells on a page: its place, value, interval and seeds."""
    return [
        f"{x.name or 'at'} {place:.3g}\n{row.mean:.3g}"
        + (f" [{row.low:.3g}, {row.high:.3g}]" if np.isfinite(row.low) else "")
        + f"\n{row.seeds} seed{'s' if row.seeds != 1 else ''}"
        for place, row in zip(
            x, points[["mean", "low", "high", "seeds"]].itertuples(index=False), strict=True
        )
    ]


def runs_behind(points: pd.DataFrame, runs: pd.DataFrame, by: list[str]) -> list[list[str]]:
    """The run_ids of each mean, in its own order; points and runs have the columns `by`."""
    ids: dict[tuple[object, ...], list[str]] = {}
    for run_id, *key in zip(runs["run_id"], *(runs[name] for name in by), strict=True):
        ids.setdefault(tuple(key), []).append(run_id)
    return [ids.get(key, []) for key in points[by].itertuples(index=False, name=None)]


def mark_tuned(axes: Axes, points: pd.DataFrame, lr: float, style: MethodStyle) -> None:
    """A large hollow marker on the line at its tuned rate.

    Args:
        points: columns lr and mean.
    """
    at = points[points["lr"] == lr]
    if style.muted or at.empty:
        return
    axes.plot(
        at["lr"], at["mean"], ls="none", marker=style.marker, ms=6.5 if current().width else 9, mfc="white",
        mec=style.colour, mew=1.6, zorder=3, label=f"_{style.title}",
    )  # fmt: skip


def explain_tuned(axes: Axes) -> None:
    """The legend's entry for `mark_tuned`."""
    axes.plot([], [], ls="none", marker="o", mfc="white", mec="black", mew=1.4, label="tuned learning rate")


def tuned_rates(study: Study) -> dict[str, float]:
    """label -> its tuned learning rate, of those with a run that ended."""
    runs = study.runs[study.runs["counted"]]
    return {str(label): tuned_lr(rows) for label, rows in runs.groupby("label", sort=False)}


@dataclass(frozen=True)
class Reference:
    """A score to compare with, as a line across a panel; nan where there is none."""

    name: str
    value: float
    line: Any


def references(study: Study, split: str) -> list[Reference]:
    """Scores on `valid` or `test` of whoever the runs are compared with, from the best to chance.

    Real data in the place of what is generated, and what was trained on, given out again; the frozen model
    with a head, or an encoder, trained alone; the untouched model; a guess.
    """
    runs = study.runs[study.runs["counted"]]
    alone = trained_alone(study)
    measured = runs if split == "test" else study.history
    found = [
        *in_the_place(measured, metric_of(runs)),
        alone_line(alone, split),
        Reference("frozen base model", runs[f"base_{split}"].mean(), "--"),
        Reference("chance", runs["chance"].mean(), ":"),
    ]
    return [reference for reference in found if np.isfinite(reference.value)]


def in_the_place(table: pd.DataFrame, metric: str) -> list[Reference]:
    """A metric of real data, and of what was trained on, in the place of what is generated."""
    return [
        Reference("real data", in_place(table, REAL, metric), "-"),
        Reference("training data, repeated", in_place(table, REPEATED, metric), (0, (1, 1, 5, 1))),
    ]


def alone_line(alone: pd.DataFrame, column: str) -> Reference:
    """The mean of a column over the runs of `trained_alone`."""
    if alone.empty or column not in alone:
        return Reference("", np.nan, "-.")
    return Reference(str(alone["sweep"].iloc[0]).replace("_", " "), float(alone[column].mean()), "-.")


def draw_references(axes: Axes, lines: Sequence[Reference], in_legend: bool = False) -> None:
    for each in lines:
        name = each.name if in_legend else f"_{each.name}"
        axes.axhline(each.value, color=REFERENCE, ls=each.line, lw=1, label=name, zorder=1)


def energy_title(runs: pd.DataFrame) -> str:
    """What `he_change` is a change of, by the setting `task.energy`."""
    kinds = set(runs["task.energy"].dropna()) if "task.energy" in runs else set()
    if not kinds:
        return "change of hyperspherical\nenergy (mean over pairs)"
    mixed = "" if len(kinds) == 1 and runs["task.energy"].notna().all() else ", where task.energy says so"
    return f"change of hyperspherical\nenergy (OFT's measure{mixed})"


def metric_of(runs: pd.DataFrame) -> str:
    return str(runs["metric"].iloc[0])


def metric_words(runs: pd.DataFrame) -> str:
    """The primary metric as an axis calls it."""
    return metric_name(metric_of(runs))


def methods_of(runs: pd.DataFrame) -> list[str]:
    """Names of the methods in canonical order."""
    return list(dict.fromkeys(runs.sort_values("rank")["method"]))


def draw_against_lr(axes: Axes, study: Study, value: str, styles: dict[str, MethodStyle]) -> pd.DataFrame:
    """One line per label that has the figure, with its interval; returns what is plotted.

    Where a run's figure is not finite there is no mean: the line has a gap, and a cross in the
    method's colour at the upper edge says so (`not_finite` in the data counts such runs).
    """
    runs = study.runs[study.runs["counted"]].sort_values(["rank", "lr"])
    runs = runs.assign(finite=np.isfinite(runs[value].astype(float)))
    runs = runs[runs.groupby("label")["finite"].transform("any")]  # LoRA has no transformation
    data = seed_means(runs[runs["finite"]], ["label", "lr"], value)
    not_finite = (~runs["finite"]).groupby([runs["label"], runs["lr"]], sort=False).sum()
    data = not_finite.rename("not_finite").reset_index().merge(data, how="left", on=["label", "lr"])
    data["seeds"] = data["seeds"].fillna(0).astype(int)
    data.loc[data["not_finite"] > 0, ["mean", "low", "high"]] = np.nan
    tuned, limits = tuned_rates(study), _limits_of(value, runs)
    for label in study.labels:
        points, style = data[data["label"] == label], styles[label]
        if len(points):
            behind = runs_behind(points, runs, ["label", "lr"])
            draw_band(axes, named(points["lr"]), points, style, limits=limits, runs=behind)
            mark_tuned(axes, points, tuned[label], style)
            rates = points.loc[points["not_finite"] > 0, "lr"]
            if len(rates):  # at a height of the panel, not of the data
                height, edge = [0.98] * len(rates), axes.get_xaxis_transform()
                colour = MUTED if style.muted else style.colour
                axes.plot(rates, height, "x", color=colour, mew=2, transform=edge, label=f"_{style.title}")
    if len(data):
        explain_tuned(axes)
    if data["not_finite"].any():
        axes.plot([], [], "x", color="black", mew=2, label="a run is not finite")
    axes.set_xscale("log")
    axes.set_xlabel("learning rate")
    return data.assign(figure=value)


def named(rates: pd.Series) -> pd.Series:
    """Learning rates under the name by which a page calls them."""
    return rates.rename("learning rate")


def _limits_of(value: str, runs: pd.DataFrame) -> tuple[float, float]:
    """What the figure in a column of `runs` can be."""
    if value in ("valid", "test"):
        return range_of(metric_of(runs))
    if value.startswith("metric."):
        return range_of(value.removeprefix("metric."))
    return (-np.inf, np.inf) if value == "he_change" else NOT_NEGATIVE
