"""C5: the number of blocks hardly changes the score and cuts the compute."""

from __future__ import annotations

from analysis.data.table import Study
from analysis.paper.claims.part import Part, above, admitted, describe_records, paired_difference, within

SAME_BLOCKS = 0.03  # scores of different numbers of blocks within three points count as equal


def judge_blocks(study: Study, compute: dict[str, float]) -> list[Part]:
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
        records = describe_records(study, rows)
        score = Part("C5", f"{name} score", test, *figure, verdict, records, rests_on=(method,))
        parts += admitted([score], study)
        share = compute[method]
        test = "weight-side training compute with 32 blocks over that with 1 (Llama-2-7B), below 1"
        verdict = above(-share, -share, -1)
        parts.append(Part("C5", f"{name} compute", test, share, share, share, verdict, "compute.csv"))
    return parts
