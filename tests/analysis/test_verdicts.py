"""Who is called better, widest or most robust, and when nobody is; each with the right answer by hand."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from support.records import synthetic
from support.records.comparisons import BASE, LRS, diverge, judged, of, pair, write
from support.records.synthetic import Curve, hill

from analysis.comparison.compared import read
from analysis.comparison.decisions import (
    AT_LEAST,
    AT_MOST,
    BETTER,
    EXACT,
    NO_DECISION,
    NOT_SHOWN,
    UNKNOWN,
    WORSE,
    plateau_difference,
    robustness_decision,
)
from analysis.comparison.pareto import draw_pareto
from analysis.comparison.table import comparison_table
from analysis.data.table import load
from analysis.paper.claims.judge import decide
from analysis.paper.control import control_sentences
from analysis.reporting.interval_note import interval_note
from analysis.reporting.summary import summary
from analysis.statistics import coverage
from analysis.statistics.intervals import mean_title
from analysis.statistics.learning import why_not_learning
from analysis.statistics.robustness import robustness_table
from analysis.statistics.superlatives import superlative

FLAT = hill(-2, 60)  # its plateau reaches both ends of any grid


def flat(height: float) -> Curve:
    return lambda log_lr, seed: height + 0.001 * seed


def summary_of(folder: Path, curves: dict[str, Curve], seeds: int = 3, **columns: object) -> str:
    study = load(synthetic.write(folder, synthetic.records(curves, seeds=seeds, **columns)))
    return " ".join(summary(study, robustness_table(study.runs)))


# Lower bounds ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("new", "base", "new_is_bound", "base_is_bound", "expected"),
    [
        ([2, 3], [1, 1], [0, 0], [0, 0], EXACT),
        ([2, 3], [1, 1], [1, 1], [0, 0], AT_LEAST),
        ([1, 1], [2, 3], [0, 0], [1, 0], AT_MOST),
        ([2, 3], [1, 1], [1, 1], [1, 1], UNKNOWN),
        ([2, 3], [1, 4], [1, 1], [0, 0], UNKNOWN),  # the second may be wider than 4, or not
        ([2, 1], [1, 2], [1, 0], [0, 1], UNKNOWN),  # a bound each way: the mean is bounded on neither side
    ],
)
def test_a_lower_bound_is_compared_only_where_that_is_certain(
    new: list, base: list, new_is_bound: list, base_is_bound: list, expected: str
) -> None:
    widths = (np.array(values, dtype=float) for values in (new, base))
    bounds = (np.array(values, dtype=bool) for values in (new_is_bound, base_is_bound))
    assert plateau_difference(*widths, *bounds) == expected


def test_two_censored_plateaus_are_not_compared_and_sensitivity_leads(tmp_path: Path) -> None:
    """The new method's bound is the wider one, but it loses more; ETHER's nothing, in its window."""
    made = pair(hill(-2.2, 8.5, 0.8, noise=0.001))
    for row in of(made, "ether"):
        row["test"] = 0.8 if row["lr"] > 2e-3 else 0.5
        row["valid"] = 0.9 if round(math.log10(row["lr"]), 6) == -1 else 0.8
    decision, sentence = judged(tmp_path / "s", made)["robustness"]
    row = comparison_table(read(tmp_path / "s")).set_index("quantity").loc["plateau_10"]
    assert row["bounds"] == row["baseline_bounds"] == 5 and row["value"] > row["baseline_value"]
    assert math.isnan(row["difference"]) and math.isnan(row["p"])
    assert row["decision"] == NO_DECISION and "end of the grid" in row["why"]
    assert decision == "less robust" and "(not compared, no decision possible)" in sentence


@pytest.mark.parametrize(
    ("sensitivity", "plateau", "diverged", "headline"),
    [
        (BETTER, NO_DECISION, NOT_SHOWN, "more robust"),
        (WORSE, BETTER, NOT_SHOWN, "mixed"),
        (BETTER, NOT_SHOWN, WORSE, "mixed"),
        (NOT_SHOWN, BETTER, NOT_SHOWN, NOT_SHOWN),
        (NOT_SHOWN, NOT_SHOWN, WORSE, "less robust"),
        (NO_DECISION, BETTER, BETTER, NO_DECISION),
    ],
)
def test_the_headline_follows_the_rows(sensitivity: str, plateau: str, diverged: str, headline: str) -> None:
    rows = {"regret_window": sensitivity, "plateau_10": plateau, "divergence_rate": diverged}
    assert robustness_decision(rows) == headline


def test_nobody_has_the_widest_plateau_where_two_reach_the_end(tmp_path: Path) -> None:
    text = summary_of(tmp_path / "two", {"ether": FLAT, "lora": hill(-2, 50), "oft": hill(-2, 0.5)})
    assert "Whose plateau is the widest cannot be said" in text and "widest plateau:" not in text
    assert "ETHER's at least 4.0, LoRA's at least 4.0 decades" in text and "ETHER loses least" in text
    text = summary_of(tmp_path / "one", {"ether": FLAT, "oft": hill(-2, 0.5)})
    assert "ETHER has the widest plateau" in text and "over at least 4.0 decades" in text


def test_a_lower_bound_below_a_known_width_leaves_the_question_open() -> None:
    table = pd.DataFrame(
        {"label": ["a", "b"], "seeds": 3, "not_learning": "", "plateau_10": [1.0, 2.0],
         "plateau_10_low": [0.9, 1.9], "plateau_10_high": [1.1, 2.1],
         "plateau_10_censored": ["high", "none"]}
    )  # fmt: skip
    assert superlative(table, "plateau_10", more_is_first=True).undecided_by == ("a",)
    table["plateau_10_censored"] = ["none", "high"]
    found = superlative(table, "plateau_10", more_is_first=True)
    assert found.first is not None and found.first["label"] == "b" and found.overlapping == ()


def test_the_control_concludes_nothing_from_two_lower_bounds() -> None:
    row = {
        "method": "ether",
        "best_lr": 0.1,
        "plateau_10_low": 1.0,
        "plateau_10_high": 3.0,
        "not_learning": "",
    }
    free = row | {"init_scale": 1.0, "renormalise": False, "plateau_10": 2.5, "plateau_10_censored": "high"}
    held = row | {"init_scale": 1.0, "renormalise": True, "plateau_10": 1.5, "plateau_10_censored": "none"}
    assert "the rest comes from normals that grow" in control_sentences(pd.DataFrame([free, held]))[-1]
    both = control_sentences(pd.DataFrame([free, held | {"plateau_10_censored": "high"}]))[-1]
    assert "which is the wider cannot be said" in both and "the rest comes" not in both


# Learning ----------------------------------------------------------------------------------


def runs(test: list[float], **columns: object) -> pd.DataFrame:
    made = synthetic.runs({"ether": lambda x, seed: test[seed]}, [1e-2], len(test), **columns)
    return made[made["counted"]]


def test_what_learns_by_hand() -> None:
    assert why_not_learning(runs([0.5, 0.6, 0.55])) == ""
    assert why_not_learning(runs([0.1, 0.1, 0.1])) == (
        "does not learn (its tuned score of 0.1 is no better than chance, 0.1)"
    )
    # Mean 0.2, standard deviation 0.1, n = 3: 0.2 -+ 4.303 x 0.1 / 3^.5 reaches below 0.1.
    assert why_not_learning(runs([0.1, 0.2, 0.3])) == (
        "is not shown to learn (its tuned score, 0.2 [-0.0484, 0.448], does not clear chance, 0.1)"
    )
    assert why_not_learning(runs([0.1, 0.3])) == ""  # with two seeds the mean alone is asked
    stronger = {"base_test": 0.7}
    assert "no better than the untouched model, 0.7)" in why_not_learning(runs([0.6, 0.61, 0.6], **stronger))
    lower = {"higher_is_better": False, "chance": 256.0, "base_test": 9.0}
    assert why_not_learning(runs([8.0, 8.1, 8.0], **lower)) == ""
    assert "no better than the untouched model, 9)" in why_not_learning(runs([10.0, 9.5, 9.9], **lower))
    assert why_not_learning(runs([0.9, 0.9, 0.9], status="diverged")) == "does not learn (every run diverged)"


@pytest.mark.parametrize("how", ["chance", "diverged"])
def test_what_does_not_learn_is_named_and_in_no_superlative(how: str, tmp_path: Path) -> None:
    made = synthetic.records(
        {"ether": flat(0.1), "lora": hill(-2, 1, 0.9), "oft": hill(-2, 0.5, 0.8)}, seeds=3
    )
    for row in of(made, "ether"):
        row |= {"test": 0.1, "valid": 0.1} | ({"status": "diverged"} if how == "diverged" else {})
    study = load(synthetic.write(tmp_path / "s", made))
    table = robustness_table(study.runs)
    assert table["regret_window"].idxmin() == table["plateau_10"].idxmax() == 0  # by the numbers it would be
    text = " ".join(summary(study, table))
    assert "ETHER does not learn (" in text and "ETHER loses" not in text
    assert "LoRA has the widest plateau" in text and "LoRA loses least" in text


def test_where_nothing_learns_nobody_is_best(tmp_path: Path) -> None:
    text = summary_of(tmp_path / "s", {"ether": flat(0.05), "lora": flat(0.04)})
    assert "No method learns" in text
    assert not any(word in text for word in ("scores best", "widest plateau:", "loses least"))


@pytest.mark.parametrize("who", ["ether", "hra"])
def test_a_comparison_with_what_does_not_learn_has_no_verdict(who: str, tmp_path: Path) -> None:
    made = pair(hill(-2.2, 2, 0.8, noise=0.02))
    for row in of(made, who):
        row |= {"test": 0.1, "valid": 0.1}
    verdicts = judged(tmp_path / "s", made)
    name = who.upper()
    for about in ("score", "robustness"):
        assert verdicts[about][0] == NO_DECISION and f"for {name} does not learn" in verdicts[about][1]
    table = comparison_table(read(tmp_path / "s"))
    assert set(table["decision"]) == {NO_DECISION} and table["p"].isna().all()
    draw_pareto(read(tmp_path / "s"), tmp_path)
    front = pd.read_csv(tmp_path / "pareto.csv").set_index("label")["optimal"]
    assert not front[who].any()


def test_claims_are_undecided_where_methods_do_not_learn_or_seeds_are_few(tmp_path: Path) -> None:
    good = synthetic.records(synthetic.GOOD)
    for record in good:
        if record["row"]["method"] == "lora":
            record["row"] |= {"valid": 0.1, "test": 0.1}
    parts = {p.part: p for p in decide("C2", [load(synthetic.write(tmp_path / "a", good))])}
    assert parts["ETHER against LoRA"].verdict == "undecided"
    assert "LoRA does not learn" in parts["ETHER against LoRA"].test
    assert parts["ETHER against OFT"].verdict == "reproduced"
    few = load(synthetic.write(tmp_path / "b", synthetic.records(synthetic.GOOD, seeds=2)))
    assert {part.verdict for part in decide("C2", [few])} == {"undecided"}


# Seeds and intervals -----------------------------------------------------------------------


@pytest.mark.parametrize("seeds", [1, 2, 3, 5])
def test_verdicts_and_intervals_follow_the_number_of_seeds(seeds: int, tmp_path: Path) -> None:
    better = hill(-2.2, 4, 0.95, noise=0.002)
    verdicts = judged(tmp_path / "c", pair(better, seeds=seeds))
    text = summary_of(tmp_path / "s", {"ether": hill(-2, 2), "lora": hill(-2, 1)}, seeds)
    study = load(tmp_path / "s")
    table = robustness_table(study.runs)
    note = interval_note(table)
    decided = seeds >= 3
    assert (verdicts["score"][0] == BETTER) == decided == ("scores best" in text) == ("loses least" in text)
    assert (verdicts["score"][0] == NO_DECISION) == (not decided) == ("There is no verdict" in text)
    assert table["tuned_test_low"].notna().all() == (seeds > 1) == ("In simulations" in note)
    assert ("One seed" in note) == (seeds == 1) == (mean_title(table["seeds"]) == "one seed, so no interval")
    if seeds > 1:
        shares = coverage.COVERAGE[seeds]
        assert f"over {seeds} seeds" in note and f"plateau in {100 * shares['plateau_10']:.0f} %" in note


def test_with_seven_seeds_the_note_says_what_was_simulated() -> None:
    table = pd.DataFrame({"seeds": [7, 7]})
    assert "over 7 seeds" in interval_note(table) and "In simulations with 6 seeds" in interval_note(table)


@pytest.mark.slow
def test_the_coverages_are_what_the_simulation_gives() -> None:
    for name, share in coverage.simulate(3, studies=150, resamples=200).items():
        assert share == pytest.approx(coverage.COVERAGE[3][name], abs=0.09)


def test_a_quantity_has_one_interval_in_every_table_and_figure(tmp_path: Path) -> None:
    """By hand for two seeds: .905 and .915 have the mean .91 -+ 12.706 x .005."""
    made = pair(hill(-2, 1, 0.8), seeds=2)
    for row in of(made, "ether"):
        if row["lr"] == 1e-2:
            row["valid"] = row["test"] = 0.905 + 0.01 * row["seed"]
    from analysis.compare import draw

    folder = write(tmp_path / "s", made)
    draw(folder)
    table = pd.read_csv(folder / "robustness.csv").set_index("label")
    ends = ["tuned_test_low", "tuned_test_high"]
    assert table.loc["ether", ends].tolist() == pytest.approx([0.91 - 0.06353, 0.91 + 0.06353], abs=1e-5)
    pareto = pd.read_csv(folder / "figures" / "pareto.csv").set_index(["label", "quantity"])
    curve = pd.read_csv(folder / "figures" / "robustness.csv").query("split == 'test'")
    for label, row in table.iterrows():
        for quantity in ("tuned_test", "regret_window"):
            shown = pareto.loc[(label, quantity), ["value", "low", "high"]].tolist()
            assert shown == pytest.approx(row[[quantity, f"{quantity}_low", f"{quantity}_high"]].tolist())
        at_rate = curve[(curve["label"] == label) & np.isclose(curve["lr"], row["best_lr"])].iloc[0]
        assert at_rate[["low", "high"]].tolist() == pytest.approx(row[ends].tolist())
    assert not pareto["optimal"].any()  # two seeds: no front


# The grid ----------------------------------------------------------------------------------


def test_a_failed_cell_of_one_method_is_said_to_take_its_rate_from_all(tmp_path: Path) -> None:
    from analysis.report import draw

    made = synthetic.records({"ether": hill(-2, 2), "lora": hill(-2, 1)}, seeds=3)
    for row in of(made, "lora"):
        if row["lr"] == 1e-1:  # as a worker's death leaves it: without metric, direction or score
            row |= dict.fromkeys(("valid", "test", "chance", "base_test"), math.nan)
            row |= {"status": "failed", "reason": "lost", "metric": "", "higher_is_better": False}
    folder = synthetic.write(tmp_path / "s", made)
    html = draw(folder).read_text()
    table = pd.read_csv(folder / "robustness.csv").set_index("label")
    assert table.loc["ether", "regret_grid_left_out"] == "0.1 (every run of lora failed)"
    assert "¶ Without the learning rates 0.1 (every run of lora failed)." in html and " ¶</td>" in html
    curve = [0.9 * math.exp(-((x / 2) ** 2)) for x in (-2, -1, 0, 2)]  # without 1e-1
    assert table.loc["ether", "regret_grid"] == pytest.approx(0.9 - sum(curve) / 4)


def test_subsets_have_a_section_each_and_are_never_compared(tmp_path: Path) -> None:
    from analysis.report import draw

    made = []
    for subset, metric, curve in (
        ("topic", "accuracy", hill(-3, 1)),
        ("similarity", "correlation", hill(-1, 1)),
    ):
        columns = {"task": "glue", "task.subset": subset, "metric": metric}
        for record in synthetic.records({"ether": curve, "lora": curve}, seeds=3, **columns):
            record["row"]["run_id"] += subset
            made.append(record)
    folder = synthetic.write(tmp_path / "s", made)
    html = draw(folder).read_text()
    table = pd.read_csv(folder / "robustness.csv")
    assert table.groupby("part")["best_lr"].unique().map(list).to_dict() == {
        "glue topic": [1e-3], "glue similarity": [1e-1],
    }  # fmt: skip
    for part in ("glue_topic", "glue_similarity"):
        assert (folder / "figures" / part / "robustness.png").exists()
    assert (
        html.count('src="data:image/svg+xml,') == 2 * 5 + 3
    )  # five of each; ranks, rates that travel and profiles of both
    assert "whose scores do not compare" in html
    assert "glue (mini), accuracy" in html and "glue (mini), correlation" in html


def test_a_comparison_sees_runs_that_diverged_in_part(tmp_path: Path) -> None:
    made = pair(BASE)
    diverge(of(made, "hra"), 0.2)
    decision, sentence = judged(tmp_path / "s", made)["robustness"]
    assert decision in ("less robust", "mixed") and "does not learn" not in sentence
    assert max(LRS) > 0.2
