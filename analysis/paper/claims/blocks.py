"""C5: the number of blocks hardly changes the score and cuts the compute.

The score's test, stated before it was run on any records of `blocks_lr`. Every number of blocks is taken at
its own tuned rate, for at one rate for all a difference may be the rate's: the best one can move with the
number (`analysis.statistics.optimum_path`). Each number's test score minus that of the fewest blocks, paired
by seed, with Student's 95 % interval, must lie within +-SAME_BLOCKS. The part is reproduced if all do, not
reproduced if one interval lies wholly outside, else undecided; all having to hold, there is nothing to
correct for. The figure that is stated is the one farthest from zero. A number whose tuned rate is at an end
of the grid is not tuned, and leaves the part without a verdict.

This took the place of a test of the most blocks against the fewest alone, which said nothing of those
between, nor of whether the grid reached their best rates. It decides on `blocks_lr` and, where only that is
there, on `blocks`, whose grid is narrower.
"""

from __future__ import annotations

import pandas as pd

from analysis.data.table import Study
from analysis.paper.claims.part import (
    NO_VERDICT,
    UNDECIDED,
    Part,
    above,
    describe_records,
    overall,
    paired_difference,
    within,
)
from study.storage.tuned import tuned_lr

SAME_BLOCKS = 0.03  # scores of different numbers of blocks within three points count as equal

METHODS = (("ether", "ETHER"), ("ether_plus", "ETHER+"))


def judge_blocks(study: Study) -> list[Part]:
    """C5's score, of the methods that have several numbers of blocks; see the module."""
    runs = study.runs[study.runs["counted"]]
    parts = []
    for method, name in METHODS:
        rows = runs[runs["method"] == method]
        if rows.empty:
            continue
        by_number = {int(n): part for n, part in rows.groupby(f"method.{method}.blocks")}
        few, *more = sorted(by_number)
        if not more:
            continue
        figures = {n: paired_difference(by_number[n], by_number[few]) for n in more}
        verdict = overall([within(*figure[1:], SAME_BLOCKS) for figure in figures.values()])
        farthest = max(more, key=lambda n: abs(figures[n][0]))
        figure = figures[farthest]
        others = f", the largest difference of {len(more)}" if len(more) > 1 else ""
        test = (
            f"tuned test score with {farthest} blocks minus with {few}, paired by seed, "
            f"within +-{SAME_BLOCKS}{others}"
        )
        if untuned := [n for n, part in by_number.items() if is_at_an_end(part)]:
            numbers = ", ".join(map(str, untuned))
            verdict, test = (
                UNDECIDED,
                f"{test} {NO_VERDICT}the grid ends at the tuned rate of {numbers} blocks)",
            )
        records = describe_records(study, rows)
        parts.append(Part("C5", f"{name} score", test, *figure, verdict, records, rests_on=(method,)))
    return parts


def is_at_an_end(rows: pd.DataFrame) -> bool:
    """Whether the tuned rate of one cell's runs is the first or the last of the grid."""
    return tuned_lr(rows) in (rows["lr"].min(), rows["lr"].max())


def judge_blocks_compute(compute: dict[str, float]) -> list[Part]:
    """C5's compute, from the weight-side compute of the most blocks over that of one, by method."""
    parts = []
    for method, name in METHODS:
        share = compute[method]
        test = "weight-side training compute with 32 blocks over that with 1 (Llama-2-7B), below 1"
        verdict = above(-share, -share, -1)
        parts.append(Part("C5", f"{name} compute", test, share, share, share, verdict, "compute.csv"))
    return parts
