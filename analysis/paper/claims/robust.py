"""C2: ETHER and ETHER+ keep their score over the learning rate, LoRA, OFT and Naive do not."""

from __future__ import annotations

import numpy as np

from analysis.data.labels import METHOD_ORDER
from analysis.data.scores import scores
from analysis.data.table import Study
from analysis.paper.claims.part import Part, above, describe_records
from analysis.statistics.bootstrap import percentile_interval, resample
from analysis.statistics.curves import WINDOW_DECADES, mean_regret


def judge_robust(study: Study) -> list[Part]:
    """C2, from `lr_grid`: mean regret within 1.5 decades of the tuned rate, pair by pair."""
    runs = study.runs[study.runs["counted"]]
    rng = np.random.default_rng(0)
    regrets = {}
    for method in sorted(METHOD_ORDER):
        curve = resample(scores(runs[runs["method"] == method]), rng, sign=1.0)
        regrets[method] = mean_regret(
            curve.test, np.log10(curve.lrs), curve.best, -WINDOW_DECADES, WINDOW_DECADES
        )
    parts = []
    for ours, our_name in (("ether", "ETHER"), ("ether_plus", "ETHER+")):
        for other, other_name in (("lora", "LoRA"), ("oft", "OFT"), ("naive", "Naive")):
            figure = percentile_interval(regrets[other] - regrets[ours])
            test = (
                f"{other_name}'s mean regret within 1.5 decades of its tuned rate minus {our_name}'s, above 0"
            )
            verdict = above(*figure[1:], 0)
            name = f"{our_name} against {other_name}"
            records = describe_records(study, runs)
            parts.append(Part("C2", name, test, *figure, verdict, records, rests_on=(ours, other)))
    return parts
