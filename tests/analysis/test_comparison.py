"""A comparison's tables and verdicts, from synthetic records."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from support.records import synthetic
from support.records.comparisons import BASE, LRS, diverge, judged, of, pair, wobbling, write
from support.records.synthetic import Curve, hill

from analysis.comparison.compared import read
from analysis.comparison.pareto import draw_pareto, pareto_front
from analysis.comparison.table import comparison_table
from analysis.data.table import AnalysisError
from analysis.figures.distances import draw_distances
from analysis.figures.robustness import draw_robustness
from analysis.statistics import paired
from analysis.statistics.robustness import robustness_table


@pytest.mark.parametrize(
    ("new", "decision", "words"),
    [
        (hill(-2.2, 2, 0.85, noise=0.02), "better", " above ETHER at tuned learning rates (better)."),
        (hill(-2.2, 2, 0.75, noise=0.02), "worse", " below ETHER at tuned learning rates (worse)."),
        (wobbling, "no difference shown", "at tuned learning rates: no difference shown."),
    ],
)
def test_the_score_can_be_better_worse_or_undecided(
    new: Curve, decision: str, words: str, tmp_path: Path
) -> None:
    verdict, sentence = judged(tmp_path / "s", pair(new))["score"]
    assert verdict == decision and sentence.endswith(words) and sentence.startswith("HRA scores 0.")


def test_where_lower_is_better_the_lower_score_and_the_flatter_valley_win(tmp_path: Path) -> None:
    def valley(width: float, depth: float) -> Curve:
        under = hill(-2.2, width, depth, noise=0.02)
        return lambda log_lr, seed: 20 - 10 * under(log_lr, seed + (width > 2))

    made = synthetic.records(
        {"ether": valley(2, 0.8), "hra": valley(4, 0.85)}, LRS, metric="perplexity",
        higher_is_better=False, chance=100.0, base_test=20.0,
    )  # fmt: skip
    verdicts = judged(tmp_path / "s", made)
    assert verdicts["score"][0] == "better" and verdicts["robustness"][0] == "more robust"
    assert (
        "(test perplexity, lower is better, 5 seeds)" in verdicts["score"][1]
        and " below ETHER" in verdicts["score"][1]
    )
    table = comparison_table(read(tmp_path / "s")).set_index("quantity")
    assert table.loc["tuned_test", "difference"] < 0 and table.loc["regret_window", "difference"] < 0


@pytest.mark.parametrize(
    ("new", "ends", "decision", "words"),
    [
        (hill(-2.2, 3, 0.8, noise=0.012), (9, 9), "more robust", "HRA is more robust"),
        (hill(-2.2, 1, 0.8, noise=0.012), (9, 9), "less robust", "HRA is less robust"),
        (hill(-2.2, 3, 0.8, noise=0.012), (9, 0.2), "mixed", "in one respect and less in another (mixed)"),
        (BASE, (9, 0.2), "less robust", "diverged runs 20 against 0 % (+20 for every seed, worse)"),
        (BASE, (0.2, 9), "more robust", "(-20 for every seed, better)"),
        (BASE, (9, 9), "no difference shown", "No difference in robustness to the learning rate is shown"),
    ],
)
def test_every_verdict_on_robustness(
    new: Curve, ends: tuple[float, float], decision: str, words: str, tmp_path: Path
) -> None:
    made = pair(new)
    for method, end in zip(("ether", "hra"), ends, strict=True):
        for row in of(made, method):
            if row["lr"] > end:  # a run that diverged, with the score that it had
                row |= {"status": "diverged", "reason": "loss"}
    verdict, sentence = judged(tmp_path / "s", made)["robustness"]
    assert verdict == decision and words in sentence


@pytest.mark.parametrize(
    ("parameters", "seconds", "memory", "decision"),
    [
        (100, 0.01, 3.0, "same"), (109, 0.012, 2.8, "same"), (50, 0.01, 3.0, "cheaper"),
        (100, 0.02, None, "more expensive"), (50, 0.01, 6.0, "mixed"),
    ],
)  # fmt: skip
def test_every_verdict_on_cost(
    parameters: int, seconds: float, memory: float | None, decision: str, tmp_path: Path
) -> None:
    made = pair(BASE)
    for row in of(made, "hra"):
        row |= {"parameters": parameters, "step_seconds": seconds}
    costs = {
        "ether": {"saved_mb": 3.0, "adapter_bytes": 4000, "unpackable": ""},
        "hra": {"saved_mb": memory, "adapter_bytes": None, "unpackable": "its forward asks. And more."},
    }
    verdict, sentence = judged(tmp_path / "s", made, costs=costs)["cost"]
    assert (
        verdict == decision and "HRA trains one by one (its forward asks), ETHER trains in packs." in sentence
    )
    assert f"trained parameters {parameters} against 100" in sentence and "adapter file" not in sentence
    assert ("memory" in sentence) == (memory is not None)


def test_times_on_different_devices_are_not_compared(tmp_path: Path) -> None:
    made = pair(BASE)
    for row in of(made, "hra"):
        row |= {"step_seconds": 1.0, "device": "a GPU"}
    decision, sentence = judged(tmp_path / "s", made)["cost"]
    assert decision == "same" and "1 against 0.01 (on other devices, not compared)" in sentence


def test_holm_by_hand() -> None:
    p = np.array([0.01, 0.04, 0.03, 0.005])  # 4 x .005, 3 x .01, 2 x .03, then no less than that
    assert paired.holm(p) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert paired.holm(np.array([0.02, np.nan, 0.9]))[[0, 2]] == pytest.approx([0.06, 1.0])
    assert math.isnan(paired.holm(np.array([0.02, np.nan]))[1]) and paired.holm(np.array([])).size == 0


def test_rows_are_paired_tests_corrected_over_all_methods(tmp_path: Path) -> None:
    curves = {"ether": BASE, "hra": hill(-2, 2, 0.81, noise=0.03), "boft": hill(-1, 1.5, 0.79, noise=0.02)}
    study = read(write(tmp_path / "s", synthetic.records(curves, LRS)))
    table = comparison_table(study)
    assert len(table) == 8 and set(table["label"]) == {"hra", "boft"}
    assert table["p_holm"].to_numpy() == pytest.approx(paired.holm(table["p"].to_numpy()))
    row = table.iloc[0]
    differences = paired.at_tuned_rates(study.of("hra"), study.of("ether"))
    test = stats.ttest_1samp(differences, 0)
    interval = test.confidence_interval(0.95)
    assert (row["difference"], row["p"]) == pytest.approx((differences.mean(), test.pvalue))
    assert (row["low"], row["high"]) == pytest.approx((interval.low, interval.high))
    assert row["value"] - row["baseline_value"] == pytest.approx(row["difference"])


def test_sensitivity_by_seed_has_the_mean_of_the_robustness_table(tmp_path: Path) -> None:
    study = read(write(tmp_path / "s", pair(hill(-1, 1.5, noise=0.03))))
    table = robustness_table(study.runs).set_index("label")
    row = comparison_table(study).set_index("quantity").loc["regret_window"]
    assert row["value"] == pytest.approx(table.loc["hra", "regret_window"])
    assert row["baseline_value"] == pytest.approx(table.loc["ether", "regret_window"])


def test_equal_differences_count_as_shown_unless_they_are_zero(tmp_path: Path) -> None:
    made = pair(lambda log_lr, seed: BASE(log_lr, seed) + 0.1, seeds=3)
    table = comparison_table(read(write(tmp_path / "s", made))).set_index("quantity")
    assert table.loc["tuned_test", ["p", "decision"]].tolist() == [0.0, "better"]
    assert table.loc["regret_window", ["difference", "p"]].tolist() == [0.0, 1.0]  # but for rounding
    assert table.loc["regret_window", "decision"] == "no difference shown"


def test_methods_that_diverged_or_failed_throughout_are_said_to(tmp_path: Path) -> None:
    made = pair(BASE)
    diverge(of(made, "hra"), 0)
    verdicts = judged(tmp_path / "diverged", made)
    for about in ("score", "robustness"):
        assert verdicts[about][0] == "no decision possible"
        assert "for HRA does not learn (every run diverged)" in verdicts[about][1]
    assert "diverged runs 100 against 0 %" in verdicts["robustness"][1]
    for row in of(made, "hra"):
        row |= {"status": "failed", "test": math.nan, "valid": math.nan}
    verdicts = judged(tmp_path / "failed", made)
    assert {verdicts[about][0] for about in verdicts} == {"no decision possible"}
    assert "for every run failed: no decision possible." in verdicts["score"][1]
    study = read(tmp_path / "failed")
    assert draw_robustness(study, tmp_path).exists() and draw_pareto(study, tmp_path).exists()


def test_plateaus_that_reach_the_ends_of_the_grid_are_lower_bounds(tmp_path: Path) -> None:
    decision, sentence = judged(tmp_path / "s", pair(hill(-2.2, 30, noise=0.001)))["robustness"]
    assert decision == "more robust" and "plateau within 10 % at least 4.5" in sentence
    row = comparison_table(read(tmp_path / "s")).set_index("quantity").loc["plateau_10"]
    assert (row["bounds"], row["baseline_bounds"]) == (5, 0)


def test_labels_split_one_method_in_two_and_leave_others_out(tmp_path: Path) -> None:
    made = []
    for r, curve in ((4, hill(-2, 2, 0.8, noise=0.02)), (8, hill(-2, 3, 0.9, noise=0.01))):
        for record in synthetic.records({"hra": curve, "stray": curve}, LRS, seeds=3):
            record["row"] |= {"run_id": f"{record['row']['run_id']}-{r}", "method.hra.blocks": r}
            record["row"]["method.stray.blocks"] = r
            made.append(record)
    labels = {row["run_id"]: "hra8" if row["method.hra.blocks"] == 8 else "hra" for row in of(made, "hra")}
    study = read(write(tmp_path / "s", made, labels))
    assert study.labels == ["hra", "hra8"] and study.names == {"hra": "HRA", "hra8": "HRA8"}
    assert set(study.runs["method"]) == {"hra"} and set(study.history["run_id"]) == set(labels)
    assert robustness_table(study.runs)["label"].tolist() == ["hra", "hra8"]
    draw_distances(study, tmp_path)
    shown = pd.read_csv(tmp_path / "distances.csv")
    assert set(shown["label"]) == {"hra", "hra8"}


def test_the_pareto_front() -> None:
    parameters, good = np.array([1.0, 2, 3, 3, np.nan, 1]), np.array([0.5, 0.4, 0.9, 0.8, 1.0, 0.5])
    assert pareto_front(parameters, good).tolist() == [True, False, True, False, False, True]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"order": ["hra", "ether"]}, "`order` must be the baseline"),
        ({"order": ["ether"]}, "`order` must be the baseline"),
        ({"order": ["ether", "hra", "boft"]}, "no run of boft"),
        ({"labels": []}, "cannot be read"),
        (None, "is missing"),
    ],
)
def test_descriptions_that_cannot_be_used(changes: dict | None, message: str, tmp_path: Path) -> None:
    folder = tmp_path / "s"
    if changes != {"labels": []}:
        write(folder, pair(BASE), **(changes or {}))
    if changes is None:
        (folder / "compare.json").unlink()
    elif "labels" in changes:
        write(folder, pair(BASE))
        (folder / "compare.json").write_text('{"baseline": "a", "order": ["a"], "labels": []}')
    with pytest.raises(AnalysisError, match=message) as raised:
        read(folder)
    assert "\n" not in str(raised.value)


def test_two_runs_of_one_label_and_a_lost_baseline_are_refused(tmp_path: Path) -> None:
    made = pair(BASE)
    same = {row["run_id"]: "ether" for row in of(made, "ether")}
    mixed = {row["run_id"]: "hra" for row in of(made, "hra")} | {made[0]["row"]["run_id"]: "hra"}
    with pytest.raises(AnalysisError, match="calls two runs hra with lr"):
        read(write(tmp_path / "twice", made, same | mixed))
    for row in of(made, "ether"):
        row |= {"status": "failed", "test": math.nan, "valid": math.nan}
    with pytest.raises(AnalysisError, match="every run of the baseline ether failed"):
        read(write(tmp_path / "lost", made))
