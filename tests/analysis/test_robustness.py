"""Every figure of merit against hand-computed values, and what must not change it."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from support.records import synthetic
from support.records.synthetic import LRS, hill

from analysis.data.labels import label_runs
from analysis.data.scores import Scores, scores
from analysis.data.table import AnalysisError, absent, load
from analysis.statistics import bootstrap
from analysis.statistics.curves import mean_regret, plateau
from analysis.statistics.intervals import wilson
from analysis.statistics.robustness import DEFINITIONS, robustness_table
from study.storage.tuned import tuned_index, tuned_lr

LOG = np.log10(LRS)
CURVE = np.array([0.2, 0.6, 0.8, 0.79, 0.4])


def best(curve: np.ndarray) -> np.ndarray:
    return tuned_index(curve)


def test_mean_regret_by_hand() -> None:
    index = np.asarray(best(CURVE))
    assert index == 2
    assert mean_regret(CURVE, LOG, index) == pytest.approx((0.6 + 0.2 + 0 + 0.01 + 0.4) / 5)
    assert mean_regret(CURVE, LOG, index, -1.5, 1.5) == pytest.approx((0.2 + 0 + 0.01) / 3)
    assert mean_regret(CURVE, LOG, index, -1.5, -0.01) == pytest.approx(0.2)
    assert mean_regret(CURVE, LOG, index, 0.01, 1.5) == pytest.approx(0.01)
    assert math.isnan(mean_regret(CURVE, LOG, np.asarray(4), 0.01, 1.5))  # nothing above the last rate


def test_plateau_edges_are_interpolated() -> None:
    width, low, high = plateau(CURVE, LOG, np.asarray(2), np.asarray(0.7))
    # Down from 0.8 to 0.6 in a decade: 0.7 is half a decade off. Up: 0.79 is inside, then 0.09 / 0.39.
    assert width == pytest.approx(0.5 + 1 + 0.09 / 0.39)
    assert not low and not high


def test_plateau_that_reaches_the_ends_is_censored() -> None:
    assert [x.item() for x in plateau(CURVE, LOG, np.asarray(2), np.asarray(0.3))] == [
        pytest.approx(1 + 0.75 + 2), False, True,
    ]  # fmt: skip
    width, low, high = plateau(CURVE, LOG, np.asarray(2), np.asarray(0.1))
    assert width == pytest.approx(4) and low and high


def test_plateau_is_the_stretch_around_the_optimum_alone() -> None:
    two_hills = np.array([0.9, 0.1, 0.91, 0.1, 0.9])
    width, low, high = plateau(two_hills, LOG, np.asarray(2), np.asarray(0.5))
    assert width == pytest.approx(2 * 0.41 / 0.81) and not low and not high


def test_plateau_of_a_method_below_the_target_is_zero() -> None:
    width, low, high = plateau(CURVE, LOG, np.asarray(2), np.asarray(0.85))
    assert width == 0 and not low and not high


def test_leading_axes_are_separate_curves() -> None:
    stacked = np.stack([CURVE, CURVE[::-1]])
    index = best(stacked)
    assert index.tolist() == [2, 2]
    widths, _, high = plateau(stacked, LOG, index, np.array([0.7, 0.3]))
    assert widths[0] == pytest.approx(1.5 + 0.09 / 0.39) and high.tolist() == [False, False]


def test_wilson_against_the_textbook() -> None:
    low, high = wilson(0, 45)
    z2 = 1.959964**2
    assert (low, high) == (pytest.approx(0, abs=1e-12), pytest.approx(z2 / (45 + z2), rel=1e-6))
    assert wilson(5, 10) == (pytest.approx(0.2366, abs=1e-4), pytest.approx(0.7634, abs=1e-4))
    assert all(math.isnan(x) for x in wilson(0, 0))


def test_the_rate_is_chosen_on_validation_and_scored_on_test() -> None:
    runs = synthetic.runs({"ether": hill(-2, 2)}, seeds=1)
    runs["test"] = [0.1, 0.95, 0.5, 0.1, 0.1]  # the best test score is not at the chosen rate
    row = robustness_table(runs).iloc[0]
    assert row["best_lr"] == 1e-2 and row["tuned_test"] == 0.5


def test_a_rate_at_which_every_run_diverged_is_tuned_only_where_all_did() -> None:
    runs = synthetic.runs({"ether": lambda x, s: 0.5 + 0.1 * x}, seeds=2)  # best at the largest rate
    assert tuned_lr(runs) == LRS[-1]
    gone = runs.assign(status=np.where(runs["lr"] == LRS[-1], "diverged", "ok"))
    everywhere = runs.assign(status="diverged")
    for table, best_lr in ((gone, LRS[-2]), (everywhere, LRS[-1])):
        assert tuned_lr(table) == best_lr == robustness_table(label_runs(table))["best_lr"][0]
    half = (runs["lr"] == LRS[-1]) & (runs["seed"] == 0)
    assert tuned_lr(runs.assign(status=np.where(half, "diverged", "ok"))) == LRS[-1]
    lower = runs.assign(higher_is_better=False)
    assert tuned_lr(lower) == LRS[0] == robustness_table(lower)["best_lr"][0]


def test_of_equal_rates_the_smaller_one_is_tuned() -> None:
    runs = synthetic.runs({"ether": lambda x, s: 0.7}, seeds=3)
    assert tuned_lr(runs) == LRS[0] == robustness_table(runs)["best_lr"][0]


def test_the_table_holds_every_figure_with_its_interval_around_it() -> None:
    table = robustness_table(
        synthetic.runs({"ether": hill(-2, 2, noise=0.05), "lora": hill(-2, 1, noise=0.05)})
    )
    assert list(table["label"]) == ["ether", "lora"]
    for name in DEFINITIONS:
        assert {name, f"{name}_low", f"{name}_high"} <= set(table)
        assert (table[f"{name}_low"] <= table[f"{name}_high"]).all()
    for name in ("tuned_test", "regret_grid", "plateau_10", "divergence_rate"):
        assert (table[f"{name}_low"] <= table[name] + 1e-12).all()
        assert (table[name] <= table[f"{name}_high"] + 1e-12).all()
    assert table["plateau_10"][0] > table["plateau_10"][1]
    assert table["regret_window"][0] < table["regret_window"][1]


def test_the_target_is_shared_and_set_by_the_best_method() -> None:
    table = robustness_table(synthetic.runs({"ether": hill(-2, 2, 0.9), "lora": hill(-2, 2, 0.5)}, seeds=2))
    assert table["plateau_target"][0] > 0 and table["plateau_target"][1] == 0
    alone = robustness_table(synthetic.runs({"lora": hill(-2, 2, 0.5)}, seeds=2))
    assert alone["plateau_target"][0] > 0


def test_lower_is_better_mirrors_higher_is_better() -> None:
    up = synthetic.runs({"ether": hill(-2, 2, noise=0.02), "lora": hill(-2, 1, noise=0.02)})
    down = synthetic.runs(
        {
            "ether": lambda x, s: -hill(-2, 2, noise=0.02)(x, s),
            "lora": lambda x, s: -hill(-2, 1, noise=0.02)(x, s),
        },
        higher_is_better=False,
    )
    a, b = robustness_table(up), robustness_table(down)
    same = [
        "best_lr",
        "regret_window",
        "regret_grid",
        "plateau_2",
        "plateau_10",
        "plateau_target",
        "seed_spread",
    ]
    for name in [*same, *(f"{n}_low" for n in same), *(f"{n}_high" for n in same)]:
        np.testing.assert_allclose(a[name], b[name], rtol=1e-12)
    np.testing.assert_allclose(a["tuned_test"], -b["tuned_test"])


def test_permuting_seeds_and_rows_changes_no_point_estimate() -> None:
    runs = synthetic.runs({"ether": hill(-2, 2, noise=0.05)})
    shuffled = runs.sample(frac=1, random_state=0).reset_index(drop=True)
    a, b = robustness_table(runs), robustness_table(shuffled)
    pd.testing.assert_frame_equal(a, b)
    relabelled = runs.assign(seed=4 - runs["seed"])
    for name in ("tuned_test", "regret_grid", "plateau_10", "seed_spread"):
        assert robustness_table(relabelled)[name][0] == pytest.approx(a[name][0])


def test_the_bootstrap_is_the_same_every_time() -> None:
    runs = synthetic.runs({"ether": hill(-2, 2, noise=0.05)})
    pd.testing.assert_frame_equal(robustness_table(runs), robustness_table(runs))


def test_diverged_runs_count_and_failed_ones_are_reported() -> None:
    runs = synthetic.runs({"ether": lambda x, s: 0.8}, seeds=4)
    hit = (runs["lr"] == 1e-2) & (runs["seed"] == 0)
    diverged = runs.assign(status=np.where(hit, "diverged", "ok"))
    diverged.loc[hit, ["valid", "test"]] = 0.1
    row = robustness_table(label_runs(diverged)).iloc[0]
    assert row["diverged"] == 1 and row["divergence_rate"] == 1 / 20 and row["runs"] == 20
    assert row["regret_grid"] == pytest.approx((0.8 - (3 * 0.8 + 0.1) / 4) / 5)
    failed = runs.assign(status=np.where(hit, "failed", "ok"))
    failed.loc[hit, ["valid", "test"]] = math.nan
    row = robustness_table(label_runs(failed)).iloc[0]
    assert row["failed"] == 1 and row["runs"] == 19 and row["tuned_test"] == pytest.approx(0.8)


@pytest.mark.parametrize("lrs,seeds", [([1e-3], 5), (LRS, 1), ([1e-3], 1)])
def test_one_rate_or_one_seed_still_makes_a_table(lrs: list[float], seeds: int) -> None:
    row = robustness_table(synthetic.runs({"ether": hill(-2, 2)}, lrs, seeds)).iloc[0]
    assert math.isfinite(row["tuned_test"]) and math.isfinite(row["regret_grid"])
    assert (len(lrs) > 1) or (row["plateau_10"] == 0 and row["plateau_10_censored"] == "both")
    assert math.isnan(row["seed_spread"]) == (seeds == 1)


@pytest.mark.slow
def test_intervals_of_the_tuned_score_cover_about_as_often_as_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """Truth: 0.8 at the clearly best rate. With five seeds a percentile interval covers 80 to 97 %."""
    monkeypatch.setattr(bootstrap, "RESAMPLES", 400)
    rng = np.random.default_rng(1)
    covered = 0
    for _ in range(200):
        runs = synthetic.runs({"ether": lambda x, s: 0.8 - 0.2 * abs(x + 2)}, seeds=5)
        runs[["valid", "test"]] += rng.normal(0, 0.01, (len(runs), 2))
        row = robustness_table(runs).iloc[0]
        covered += row["tuned_test_low"] <= 0.8 <= row["tuned_test_high"]
    assert 0.75 < covered / 200 < 0.98


# Tables ------------------------------------------------------------------------------------


def test_score_arrays_are_padded_and_ordered() -> None:
    runs = synthetic.runs({"ether": lambda x, s: x + s}, seeds=2)
    made = scores(runs[~((runs["lr"] == 1e-2) & (runs["seed"] == 1))].sample(frac=1, random_state=1))
    assert isinstance(made, Scores) and made.test.shape == (5, 2)
    assert made.lrs.tolist() == sorted(LRS) and math.isnan(made.test[2, 1]) and made.test[2, 0] == -2


def test_labels_name_what_differs_in_the_canonical_order() -> None:
    made = synthetic.records({"lora": hill(0, 1), "ether": hill(0, 1), "hra": hill(0, 1)}, [1e-2], 1)
    twice = synthetic.records({"ether": hill(0, 1)}, [1e-2], 1, **{"method.ether.blocks": 16})
    runs = label_runs(synthetic.tables(made + twice)["runs"])
    ordered = runs.sort_values("rank")["label"].tolist()
    assert ordered == ["ether blocks=4", "ether blocks=16", "lora", "hra"]


def test_holes_of_the_grid_are_listed() -> None:
    runs = synthetic.runs({"ether": hill(0, 1), "lora": hill(0, 1)}, seeds=2)
    holes = absent(runs[~((runs["method"] == "lora") & (runs["lr"] == 1e-2) & (runs["seed"] == 1))])
    assert holes.to_dict("records") == [{"label": "lora", "lr": 1e-2, "seed": 1}]


def test_folders_that_cannot_be_read_are_refused_in_one_line(tmp_path) -> None:
    synthetic.write(tmp_path / "lr_grid", synthetic.records({"ether": hill(0, 1)}))
    with pytest.raises(AnalysisError, match="no results in .*lr_gird .*lr_grid.* python -m study.sweep"):
        load(tmp_path / "lr_gird")
    synthetic.write(tmp_path / "new", synthetic.records({"ether": hill(0, 1)}, record_version=99))
    with pytest.raises(AnalysisError, match="newer than"):
        load(tmp_path / "new")
    mixed = synthetic.records({"ether": hill(0, 1)}) + synthetic.records({"lora": hill(0, 1)}, metric="f1")
    with pytest.raises(AnalysisError, match="mixes metric accuracy and f1"):
        load(synthetic.write(tmp_path / "mixed", mixed))


def test_a_window_that_the_grid_cuts_off_is_flagged() -> None:
    table = robustness_table(synthetic.runs({"ether": hill(-2, 2), "lora": hill(-1, 2), "oft": hill(-3, 2)}))
    assert list(table["regret_window_truncated"]) == ["none", "high", "low"]


def test_one_seed_has_no_interval() -> None:
    row = robustness_table(synthetic.runs({"ether": hill(-2, 2)}, seeds=1)).iloc[0]
    assert all(math.isnan(row[f"{n}_{end}"]) for n in ("tuned_test", "plateau_10") for end in ("low", "high"))


def test_regret_over_the_grid_uses_the_shared_rates_alone() -> None:
    made = synthetic.records({"ether": lambda x, s: 0.9 + 0.1 * x}, [1e-4, 1e-3, 1e-2], 2)
    made += synthetic.records({"lora": lambda x, s: 0.9 + 0.1 * x}, [1e-3, 1e-2, 1e-1], 2)
    table = robustness_table(label_runs(synthetic.tables(made)["runs"]))
    # Shared: 1e-3 and 1e-2. Own best: ether 0.7 at 1e-2, lora 0.8 at 1e-1.
    assert table["regret_grid"].tolist() == pytest.approx([(0.1 + 0) / 2, (0.2 + 0.1) / 2])
