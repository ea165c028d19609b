"""C6: Naive matches OFT though it changes the hyperspherical energy; ETHER+ changes it and scores best."""

from __future__ import annotations

from analysis.data.table import Study
from analysis.paper.claims.part import SAME_SCORE, Part, above, describe_records, paired_difference, within
from analysis.statistics.intervals import mean_interval
from study.storage.tuned import tuned_lr


def judge_energy(study: Study) -> list[Part]:
    """C6, from `lr_grid`, everything at each method's tuned rate."""
    runs = study.runs[study.runs["counted"]]
    by_method = dict(iter(runs.groupby("method")))
    tuned = {m: rows[rows["lr"] == tuned_lr(rows)].set_index("seed") for m, rows in by_method.items()}
    records = describe_records(study, runs)
    parts = []

    def add(part: str, test: str, figure: tuple[float, float, float], verdict: str, *rests_on: str) -> None:
        parts.append(Part("C6", part, test, *figure, verdict, records, rests_on=rests_on))

    figure = paired_difference(by_method["naive"], by_method["oft"])
    test = f"Naive's tuned test score minus OFT's, paired by seed, within +-{SAME_SCORE} (equivalence)"
    add("Naive matches OFT", test, figure, within(*figure[1:], SAME_SCORE), "naive", "oft")
    for method, name in (("naive", "Naive"), ("ether_plus", "ETHER+")):
        figure = mean_interval(tuned[method]["he_change"].abs().to_numpy())
        largest = float(tuned["oft"]["he_change"].abs().max())
        test = f"|HE(W') - HE(W)| of {name} at its tuned rate, above the largest of OFT's"
        add(f"{name} changes HE", test, figure, above(*figure[1:], largest), method)
    change = (tuned["ether_plus"]["he_change"].abs() - tuned["naive"]["he_change"].abs()).dropna()
    figure = mean_interval(change.to_numpy())
    test = "ETHER+'s |HE(W') - HE(W)| minus Naive's, above 0"
    add("ETHER+ changes HE most", test, figure, above(*figure[1:], 0), "ether_plus", "naive")
    for other, name in (("oft", "OFT"), ("naive", "Naive"), ("ether", "ETHER")):
        figure = paired_difference(by_method["ether_plus"], by_method[other])
        test = f"ETHER+'s tuned test score minus {name}'s, paired by seed, above 0"
        add(f"ETHER+ scores best: {name}", test, figure, above(*figure[1:], 0), "ether_plus", other)
    return parts
