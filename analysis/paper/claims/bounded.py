"""C1: ETHER's distance is constant and ETHER+'s bounded, OFT's and Naive's grow with the rate."""

from __future__ import annotations

import numpy as np

from analysis.data.table import Study
from analysis.paper.claims.part import Part, above, describe_records
from analysis.statistics.bootstrap import RESAMPLES, percentile_interval

EXACT = 1e-5  # relative, what float32 parameters leave of an exact identity
ORDERS = 10.0  # growth of a distance over the grid that counts as unbounded: an order of magnitude


def judge_bounded(study: Study) -> list[Part]:
    """C1, from `lr_grid`. Distances that are not finite are left out: the growth stated is the least."""
    runs = study.runs[study.runs["counted"]]
    parts = []
    ether = runs[runs["method"] == "ether"]["transform_distance"]
    spread = float((ether.max() - ether.min()) / ether.mean())
    test = f"spread of ETHER's |T - I|_F over all runs, relative, below {EXACT:g}"
    verdict, records = above(-spread, -spread, -EXACT), describe_records(study, ether)
    parts.append(Part("C1", "ETHER constant", test, spread, spread, spread, verdict, records))
    plus = runs[runs["method"] == "ether_plus"]
    layers = study.layers.merge(plus[["run_id", "method.ether_plus.blocks"]], on="run_id")
    bound = np.sqrt(2 * layers["method.ether_plus.blocks"].astype(float))
    share = float((layers["transform_distance"] / bound).max())
    test = "largest |T - I|_F of any ETHER+ layer and side over its bound sqrt(2 n), at most 1"
    verdict, records = above(-share, -share, -(1 + EXACT)), describe_records(study, plus)
    parts.append(Part("C1", "ETHER+ bounded", test, share, share, share, verdict, records))
    rng = np.random.default_rng(0)
    for method, name in (("oft", "OFT"), ("naive", "Naive")):
        rows = runs[(runs["method"] == method) & np.isfinite(runs["transform_distance"])]
        ends = [
            rows[rows["lr"] == lr]["transform_distance"].to_numpy()
            for lr in (rows["lr"].min(), rows["lr"].max())
        ]
        means = [np.append(e.mean(), e[rng.integers(len(e), size=(RESAMPLES, len(e)))].mean(1)) for e in ends]
        growth = percentile_interval(means[1] / means[0])
        test = f"{name}'s |T - I|_F at the highest rate over that at the lowest, above {ORDERS:g}"
        verdict, records = above(*growth[1:], ORDERS), describe_records(study, rows)
        parts.append(Part("C1", f"{name} grows", test, *growth, verdict, records))
    return parts
