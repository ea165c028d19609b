"""C8, ours: ETHER+ scores at least as well as LoRA and OFT with fewer parameters.

Read off the paper's Tables 2, 4 and 5: subject-driven generation (its primary score here is the harmonic mean
of subject and prompt fidelity), GLUE and instruction tuning. One test for all of them.
"""

from __future__ import annotations

import pandas as pd

from analysis.data.table import Study
from analysis.paper.claims.part import (
    NOT_REPRODUCED,
    SAME_SCORE,
    Part,
    above,
    describe_records,
    paired_difference,
)
from study.storage.tuned import tuned_lr


def judge_economical(study: Study) -> list[Part]:
    """C8, from a study of one of those tasks: ETHER+ is not inferior, and has fewer parameters.

    Each method at its tuned rate and, where it has several, with the settings that validation favours.
    """
    runs = study.runs[study.runs["counted"]]
    by_method = {str(method): favoured(rows) for method, rows in runs.groupby("method")}
    parts = []
    for other, name in (("lora", "LoRA"), ("oft", "OFT")):
        if not {"ether_plus", other} <= set(by_method):
            continue
        figure = paired_difference(by_method["ether_plus"], by_method[other])
        counts = [round(by_method[method]["parameters"].mean()) for method in ("ether_plus", other)]
        test = (
            f"ETHER+'s tuned test score minus {name}'s, paired by seed, above -{SAME_SCORE} (not inferior), "
            f"with fewer parameters: {counts[0]:,} against {counts[1]:,}"
        )
        verdict = above(*figure[1:], -SAME_SCORE) if counts[0] < counts[1] else NOT_REPRODUCED
        records = describe_records(study, runs)
        rests_on = ("ether_plus", other)
        parts.append(Part("C8", f"ETHER+ against {name}", test, *figure, verdict, records, rests_on=rests_on))
    return parts


def favoured(rows: pd.DataFrame) -> pd.DataFrame:
    """Of one method's runs those with the settings of the best mean validation score at its tuned rate."""
    by_label = [of_label for _, of_label in rows.groupby("rank")]
    return max(by_label, key=lambda runs: runs.loc[runs["lr"] == tuned_lr(runs), "valid"].mean())
