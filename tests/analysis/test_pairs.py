"""Every pair of methods: the paired test, Holm over all of them, and who is better."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy import stats
from support.records import synthetic
from support.records.synthetic import hill

from analysis.comparison.pairs import pairs_note, pairs_table
from analysis.data.table import load

CURVES = {
    "ether": hill(-2, 4, 0.9, noise=0.02), "lora": lambda lr, seed: hill(-2, 1, 0.6)(lr, seed) + 0.01 * seed,
    "oft": hill(-2, 4, 0.895, noise=0.021),
}  # fmt: skip


@pytest.mark.parametrize("higher", [True, False])
def test_pairs_are_paired_by_seed_and_corrected_together(higher: bool, tmp_path: Path) -> None:
    made = synthetic.records(CURVES, seeds=5, higher_is_better=higher, chance=0.1 if higher else 9.0,
                             base_test=0.1 if higher else 9.0)  # fmt: skip
    study = load(synthetic.write(tmp_path / "s", made))
    table = pairs_table(study)
    assert len(table) == 6 and set(table["quantity"]) == {"tuned_test", "regret_window"}
    row = table.set_index(["quantity", "first", "second"]).loc[("tuned_test", "ether", "lora")]
    runs = study.runs.set_index(["method", "lr", "seed"])["test"]
    best = {m: runs.loc[m].groupby("lr").mean() for m in ("ether", "lora")}
    tuned = {m: (s.idxmax() if higher else s.idxmin()) for m, s in best.items()}
    a, b = (runs.loc[m, tuned[m]].to_numpy() for m in ("ether", "lora"))
    assert row["difference"] == pytest.approx(np.mean(a - b))
    assert row["p"] == pytest.approx(stats.ttest_rel(a, b).pvalue)
    p = np.sort(table["p"].to_numpy())
    holm = np.minimum(np.maximum.accumulate(p * np.arange(6, 0, -1)), 1)
    assert np.sort(table["p_holm"].to_numpy()) == pytest.approx(holm)
    if higher:
        assert row["decision"] == "better"
    assert "6 paired t-tests" in pairs_note(table)


def test_with_two_seeds_nothing_is_decided(tmp_path: Path) -> None:
    table = pairs_table(load(synthetic.write(tmp_path / "s", synthetic.records(CURVES, seeds=2))))
    assert set(table["decision"]) == {"no decision possible"} and table["p"].isna().all()


def test_one_method_has_no_pair(tmp_path: Path) -> None:
    table = pairs_table(load(synthetic.write(tmp_path / "s", synthetic.records({"ether": hill(-2, 2)}))))
    assert table.empty and pairs_note(table).startswith("There is no pair")
