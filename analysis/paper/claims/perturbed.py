"""C7: random ETHER(+) transformations keep the model usable, OFT's do not."""

from __future__ import annotations

from analysis.data.table import Study
from analysis.paper.claims.part import Part, above, describe_records
from analysis.statistics.intervals import mean_interval

USABLE = 0.5  # a perturbed model is usable if it keeps half of what the base model has above chance


def judge_perturbed(study: Study) -> list[Part]:
    """C7, from `perturbation`: what the strongest random transformation leaves of the model."""
    runs = study.runs[study.runs["counted"]]
    parts = []
    for method, name, stays_usable in (
        ("ether", "ETHER", True),
        ("ether_plus", "ETHER+", True),
        ("oft", "OFT", False),
    ):
        rows = runs[runs["method"] == method]
        strongest = rows[rows["task.noise"] == rows["task.noise"].max()]
        share = (strongest["test"] - strongest["chance"]) / (strongest["base_test"] - strongest["chance"])
        figure = mean_interval(share.to_numpy())
        side = "above" if stays_usable else "below"
        test = f"share of the base model's score above chance that remains, {side} {USABLE:g}"
        low, high = figure[1:]
        verdict = above(low, high, USABLE) if stays_usable else above(-high, -low, -USABLE)
        parts.append(Part("C7", name, test, *figure, verdict, describe_records(study, strongest)))
    return parts
