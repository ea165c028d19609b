"""C7: random ETHER(+) transformations keep the model usable, OFT's do not.

On digits the score is accuracy; on portraits it is the mean IoU with the true map of parts, which the
untouched model reaches from the caption alone, so a picture that is no portrait any more loses it; of a
subject, the harmonic mean of subject and prompt fidelity, of which the untouched model has the second.
"""

from __future__ import annotations

from dataclasses import replace

from analysis.data.table import Study
from analysis.paper.claims.part import NO_VERDICT, SAME_SCORE, UNDECIDED, Part, above, describe_records
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
        if rows.empty:
            continue
        strongest = rows[rows["task.noise"] == rows["task.noise"].max()]
        knows = strongest["base_test"] - strongest["chance"]
        share = (strongest["test"] - strongest["chance"]) / knows.where(knows > SAME_SCORE)
        figure = mean_interval(share.to_numpy())
        side = "above" if stays_usable else "below"
        test = f"share of the base model's score above chance that remains, {side} {USABLE:g}"
        low, high = figure[1:]
        verdict = above(low, high, USABLE) if stays_usable else above(-high, -low, -USABLE)
        part = Part("C7", name, test, *figure, verdict, describe_records(study, strongest))
        if not knows.min() > SAME_SCORE:
            why = f"the untouched model is {knows.min():.2g} above chance, which leaves nothing to lose"
            part = replace(part, verdict=UNDECIDED, test=f"{test} {NO_VERDICT}{why})")
        parts.append(part)
    return parts
