"""C5: the number of blocks hardly changes the score and cuts the compute."""

from __future__ import annotations

from analysis.data.table import Study
from analysis.paper.claims.part import Part, above, describe_records, paired_difference, within

SAME_BLOCKS = 0.03  # scores of different numbers of blocks within three points count as equal

METHODS = (("ether", "ETHER"), ("ether_plus", "ETHER+"))


def judge_blocks(study: Study) -> list[Part]:
    """C5's score, from `blocks`, of the methods that have several numbers of blocks."""
    runs = study.runs[study.runs["counted"]]
    parts = []
    for method, name in METHODS:
        rows = runs[runs["method"] == method]
        if rows.empty:
            continue
        column = rows[f"method.{method}.blocks"].astype(float)
        few, many = column.min(), column.max()
        if few == many:
            continue
        figure = paired_difference(rows[column == many], rows[column == few])
        test = (
            f"tuned test score with {many:.0f} blocks minus with {few:.0f}, paired by seed, "
            f"within +-{SAME_BLOCKS}"
        )
        verdict = within(*figure[1:], SAME_BLOCKS)
        records = describe_records(study, rows)
        parts.append(Part("C5", f"{name} score", test, *figure, verdict, records, rests_on=(method,)))
    return parts


def judge_blocks_compute(compute: dict[str, float]) -> list[Part]:
    """C5's compute, from the weight-side compute of the most blocks over that of one, by method."""
    parts = []
    for method, name in METHODS:
        share = compute[method]
        test = "weight-side training compute with 32 blocks over that with 1 (Llama-2-7B), below 1"
        verdict = above(-share, -share, -1)
        parts.append(Part("C5", f"{name} compute", test, share, share, share, verdict, "compute.csv"))
    return parts
