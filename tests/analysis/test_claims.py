"""Every verdict can come out: synthetic records for each claim, reproduced, contradicted and undecided."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from support.records import synthetic
from support.records.synthetic import FLAT, GOOD, LOW, hill

from analysis.data.labels import label_runs
from analysis.data.table import Study
from analysis.paper.claims import judge
from analysis.paper.claims.blocks import judge_blocks, judge_blocks_compute
from analysis.paper.claims.bounded import judge_bounded
from analysis.paper.claims.economical import judge_economical
from analysis.paper.claims.energy import judge_energy
from analysis.paper.claims.fast import judge_fast
from analysis.paper.claims.judge import CLAIMS
from analysis.paper.claims.part import (
    NOT_REPRODUCED,
    REPRODUCED,
    UNDECIDED,
    Part,
    above,
    comparable,
    overall,
    paired_difference,
    within,
)
from analysis.paper.claims.perturbed import judge_perturbed
from analysis.paper.claims.robust import judge_robust
from analysis.paper.claims.small import judge_small
from analysis.statistics.paired import compare, paired_tests
from study.storage.tables import tables


def study(
    curves: dict[str, Callable], change: Callable[[dict], None] = lambda record: None, seeds: int = 5
) -> Study:
    made = synthetic.records(curves, seeds=seeds)
    for record in made:
        row = record["row"]
        row["transform_distance"] = 2.0 if row["method"] == "ether" else row["lr"] * 10
        row["he_change"] = {"naive": 0.1, "ether_plus": 0.5}.get(row["method"], 0.0)
        record["layers"] = [{"layer": "a", "side": "in", "transform_distance": 1.0}]
        change(record)
    made_tables = tables(made)
    return Study("s", label_runs(made_tables["runs"]), made_tables["history"], made_tables["layers"])


def verdict(parts: list[Part]) -> str:
    return overall([part.verdict for part in parts])


def test_decisions_by_hand() -> None:
    assert [above(1, 2, 0), above(-2, -1, 0), above(-1, 1, 0)] == [REPRODUCED, NOT_REPRODUCED, UNDECIDED]
    assert [within(-1, 1, 2), within(3, 4, 2), within(-4, -3, 2), within(1, 3, 2)] == [
        REPRODUCED, NOT_REPRODUCED, NOT_REPRODUCED, UNDECIDED,
    ]  # fmt: skip
    assert overall([REPRODUCED, UNDECIDED]) == UNDECIDED
    assert overall([UNDECIDED, NOT_REPRODUCED]) == NOT_REPRODUCED
    assert overall([REPRODUCED] * 2) == REPRODUCED and overall([]) == UNDECIDED


def test_paired_difference_against_students_t() -> None:
    first = synthetic.runs({"a": lambda x, s: 0.5 + 0.01 * s}, [1e-2], 4)
    second = synthetic.runs({"b": lambda x, s: 0.4 + 0.03 * s}, [1e-2], 4)
    difference = np.array([0.1, 0.08, 0.06, 0.04])
    half = 3.182446 * difference.std(ddof=1) / 2  # t with three degrees of freedom
    mean, low, high = paired_difference(first, second)
    assert (mean, low, high) == (
        pytest.approx(0.07), pytest.approx(0.07 - half), pytest.approx(0.07 + half),
    )  # fmt: skip


def test_paired_tests_against_scipy() -> None:
    differences = np.array([0.03, 0.01, -0.01, 0.02, 0.0])
    tests = compare(differences, 0.05)
    assert tests.p_different == pytest.approx(stats.ttest_1samp(differences, 0).pvalue)
    sides = [
        stats.ttest_1samp(differences, bound, alternative=side).pvalue
        for bound, side in ((-0.05, "greater"), (0.05, "less"))
    ]
    assert tests.p_equivalent == pytest.approx(max(sides)) and tests.p_equivalent < 0.05
    assert compare(differences, 0.01).p_equivalent > 0.3
    assert math.isnan(compare(differences[:1], 0.05).p_different)


def test_the_table_of_paired_tests_by_hand() -> None:
    runs = synthetic.runs({"naive": lambda x, s: 0.5 + 0.01 * s, "oft": lambda x, s: 0.6}, [1e-2, 1e-1], 3)
    table = paired_tests(runs, "naive", "oft", 0.02)
    assert table["where"].tolist() == ["tuned rates", "whole grid", "lr 0.01", "lr 0.1"]
    assert table["difference"].to_numpy() == pytest.approx(-0.09) and set(table["pairs"]) == {3}


def set_distance(method: str, value: Callable[[dict], float]) -> Callable[[dict], None]:
    def change(record: dict) -> None:
        if record["row"]["method"] == method:
            record["row"]["transform_distance"] = value(record["row"])

    return change


def test_c1() -> None:
    assert verdict(judge_bounded(study(GOOD))) == REPRODUCED
    drifting = study(GOOD, set_distance("ether", lambda row: 2 + row["lr"]))
    assert verdict(judge_bounded(drifting)) == NOT_REPRODUCED
    flat = study(GOOD, set_distance("oft", lambda row: 1.0 + 0.01 * row["seed"]))
    assert verdict(judge_bounded(flat)) == NOT_REPRODUCED
    noisy = study(GOOD, set_distance("oft", lambda row: 1 if row["lr"] < 1 else 4.0 * (1 + row["seed"])))
    assert verdict(judge_bounded(noisy)) == UNDECIDED

    def beyond(record: dict) -> None:
        record["layers"][0]["transform_distance"] = 2.9  # the bound for four blocks is 2.83

    assert verdict(judge_bounded(study(GOOD, beyond))) == NOT_REPRODUCED


def test_c2() -> None:
    assert verdict(judge_robust(study(GOOD))) == REPRODUCED
    assert verdict(judge_robust(study(GOOD | {"oft": hill(-2, 12)}))) == NOT_REPRODUCED
    noisy = {m: hill(-2, 6, noise=0.2) for m in GOOD}
    assert verdict(judge_robust(study(noisy))) == UNDECIDED


Courses = dict[str, tuple[float, float]]


def courses(at_tuned: Courses, at_ten_times: Courses | None = None, noise: float = 0.0) -> Callable:
    """Puts curves in place of the records': progress half-way and at the end, at the tuned rate and above it.

    The untouched model scores .1 and each method .9 when tuned, which it is at 1e-2.
    """

    def change(record: dict) -> None:
        row = record["row"]
        row["valid"] = {1e-2: 0.9, 1e-1: 0.5}.get(row["lr"], 0.2)
        halfway, end = (at_tuned if row["lr"] < 1e-1 else at_ten_times or at_tuned).get(row["method"], (0, 1))
        for point, share in zip(record["history"], (0.0, halfway, end), strict=True):
            point["valid"] = 0.1 + 0.8 * (share + noise * (-1) ** row["seed"] * (point["step"] == 5))

    return change


EARLY, EVEN, LATE, NOWHERE = (0.9, 1.0), (0.5, 1.0), (0.0, 1.0), (0.0, 0.0)


def test_c3() -> None:
    early = {"ether_plus": EARLY, "oft": EARLY, "naive": EARLY}
    destroyed = {"ether_plus": EARLY, "oft": NOWHERE, "naive": NOWHERE}
    assert verdict(judge_fast(study(GOOD, courses(early, destroyed)))) == REPRODUCED
    assert verdict(judge_fast(study(GOOD, courses(early, {"ether_plus": NOWHERE})))) == NOT_REPRODUCED
    late = early | {"ether_plus": LATE}
    assert verdict(judge_fast(study(GOOD, courses(late, destroyed)))) == NOT_REPRODUCED
    parts = judge_fast(study(GOOD, courses(early, {"ether_plus": NOWHERE, "oft": NOWHERE, "naive": NOWHERE})))
    high, tuned = parts[:4], parts[4:]
    assert {part.verdict for part in tuned} == {REPRODUCED}  # no later: as early
    assert {part.verdict for part in high} == {UNDECIDED}
    assert all("(no verdict: both have the same in every pair of runs)" in part.test for part in high)

    def apart(record: dict) -> None:  # who is earlier depends on the seed
        noise = 0.3 if record["row"]["method"] == "ether_plus" else 0.0
        courses(dict.fromkeys(early, EVEN), noise=noise)(record)

    assert verdict(judge_fast(study(GOOD, apart))) == UNDECIDED


def test_c3_by_hand() -> None:
    """ETHER+ even, OFT late: areas .5 and .25, delays .9 and .95; the same at ten times the tuned rate."""
    at_both = {"ether_plus": EVEN, "oft": LATE, "naive": EARLY}
    parts = {part.part: part for part in judge_fast(study(GOOD, courses(at_both)))}
    for where in ("at 10 times the tuned rate", "at the tuned rate"):
        against_oft = [parts[f"ETHER+ against OFT, {figure} {where}"] for figure in ("area", "delay")]
        assert [part.effect for part in against_oft] == pytest.approx([0.25, -0.05])
        assert {part.verdict for part in against_oft} == {REPRODUCED}
        against_naive = [parts[f"ETHER+ against Naive, {figure} {where}"] for figure in ("area", "delay")]
        assert [part.effect for part in against_naive] == pytest.approx([0.5 - 0.7, 0.9 - 0.5])
        assert {part.verdict for part in against_naive} == {NOT_REPRODUCED}


def test_c3_pairs_by_seed() -> None:
    """Half-way, seed s is s/10 further, in every method: no spread of the differences."""

    def change(record: dict) -> None:
        courses({"ether_plus": (0.4, 1.0), "oft": (0.2, 1.0), "naive": (0.2, 1.0)})(record)
        record["history"][1]["valid"] += 0.08 * record["row"]["seed"]

    for part in judge_fast(study(GOOD, change)):
        if ", area " in part.part:
            assert [part.effect, part.low, part.high] == pytest.approx([0.1] * 3)


def test_c3_says_why_it_decides_nothing() -> None:
    apart = courses({"ether_plus": EARLY, "oft": EVEN, "naive": EVEN})

    def reasons(made: Study) -> set[str]:
        parts = judge_fast(made)
        assert all(math.isnan(p.effect) for p in parts if "(no verdict: " in p.test)
        assert all(p.verdict == UNDECIDED for p in parts if "(no verdict: " in p.test)
        return {p.test.split("(no verdict: ")[1] for p in parts if "(no verdict: " in p.test}

    made = study(GOOD, apart)
    at_the_end = replace(made, runs=made.runs[made.runs["lr"] <= 1e-2])
    assert reasons(at_the_end) == {
        f"{first}OFT is tuned at 0.01, and no run has 10 times that rate)".replace("OFT", name)
        for name in ("OFT", "Naive")
        for first in ("ETHER+ is tuned at 0.01, and no run has 10 times that rate; ",)
    }
    ends = replace(made, history=made.history[made.history["step"] != 5])
    assert reasons(ends) == {"runs are not evaluated between start and end)"}
    below = replace(made, runs=made.runs.assign(base_valid=0.95))
    assert all("is not above the untouched 0.95" in reason for reason in reasons(below))
    strangers = made.runs[(made.runs["method"] != "ether_plus") == (made.runs["seed"] < 3)]
    assert reasons(replace(made, runs=strangers)) == {"0 seeds in common, and an interval needs 2)"}
    assert reasons(replace(made, runs=made.runs[made.runs["method"] != "naive"])) == {"no runs of Naive)"}


def test_c3_a_run_that_diverged_has_lost_its_progress() -> None:
    def change(record: dict) -> None:
        courses({"ether_plus": EARLY, "oft": EARLY, "naive": EARLY})(record)
        if record["row"]["method"] == "oft" and record["row"]["lr"] == 1e-1:
            record["history"] = record["history"][:2]

    part = judge_fast(study(GOOD, change))[0]
    assert part.part.startswith("ETHER+ against OFT, area at 10")
    assert part.effect == pytest.approx(0.7 - 0.45)


def test_c4() -> None:
    assert verdict(judge_small({"ether": 118.0, "ether_plus": 31.0})) == REPRODUCED
    assert verdict(judge_small({"ether": 60.0, "ether_plus": 30.0})) == NOT_REPRODUCED


def by_blocks(many: Callable) -> Study:
    made = []
    for count, curve in ((1, FLAT), (16, many)):
        for method in ("ether", "ether_plus"):
            column = {f"method.{method}.blocks": count}
            made += synthetic.records({method: curve}, seeds=5, **column)
    made_tables = tables(made)
    return Study("blocks", label_runs(made_tables["runs"]), made_tables["history"], made_tables["layers"])


def test_c5() -> None:
    def both(many: Callable, compute: dict[str, float]) -> str:
        return verdict(judge_blocks(by_blocks(many)) + judge_blocks_compute(compute))

    cheaper, costlier = {"ether": 0.4, "ether_plus": 0.3}, {"ether": 1.1, "ether_plus": 0.3}
    assert both(FLAT, cheaper) == REPRODUCED
    assert both(FLAT, costlier) == NOT_REPRODUCED
    assert both(LOW, cheaper) == NOT_REPRODUCED
    assert both(lambda x, s: FLAT(x, s) + 0.1 * (-1) ** s, cheaper) == UNDECIDED


def test_c5_takes_each_number_of_blocks_at_its_own_rate_and_every_number() -> None:
    def judged(curves: dict[int, Callable]) -> list[Part]:
        made = []
        for count, curve in curves.items():
            made += synthetic.records({"ether": curve}, seeds=5, **{"method.ether.blocks": count})
        made_tables = tables(made)
        runs = label_runs(made_tables["runs"])
        return judge_blocks(Study("blocks_lr", runs, made_tables["history"], made_tables["layers"]))

    elsewhere = hill(-1, 0.8)  # as good as the others, at ten times their rate
    assert verdict(judged({1: hill(-2, 0.8), 16: elsewhere})) == REPRODUCED
    (part,) = judged({1: FLAT, 4: LOW, 16: FLAT})  # the one between decides
    assert part.verdict == NOT_REPRODUCED and "with 4 blocks minus with 1" in part.test
    assert part.effect == pytest.approx(-0.4) and "largest difference of 2" in part.test
    (part,) = judged({1: FLAT, 16: hill(0, 6)})
    assert part.verdict == UNDECIDED and "the grid ends at the tuned rate of 16 blocks" in part.test


def test_c6() -> None:
    same = GOOD | {"oft": hill(-2, 6, 0.9), "naive": hill(-2, 6, 0.9), "ether": hill(-2, 6, 0.8)}

    def scattered(record: dict) -> None:  # no two seeds change the energy alike
        record["row"]["he_change"] *= 1 + 0.01 * record["row"]["seed"]

    assert verdict(judge_energy(study(same, scattered))) == REPRODUCED
    assert verdict(judge_energy(study(same | {"naive": LOW}, scattered))) == NOT_REPRODUCED
    assert verdict(judge_energy(study(same | {"ether_plus": LOW}, scattered))) == NOT_REPRODUCED

    def wobbly(log_lr: float, seed: int) -> float:
        return FLAT(log_lr, seed) + 0.05 * (-1) ** seed

    assert verdict(judge_energy(study(same | {"ether_plus": wobbly}, scattered))) == UNDECIDED


def perturbed(shares: dict[str, float], noise: float = 0.0) -> Study:
    made = []
    for strength in (0.1, 10.0):
        column = {"task.noise": strength, "base_test": 0.9}
        for method, share in shares.items():

            def curve(_: float, seed: int, share: float = share) -> float:
                return 0.1 + 0.8 * share + noise * (-1) ** seed

            made += synthetic.records({method: curve}, [1.0], 5, **column)
    made_tables = tables(made)
    return Study("p", label_runs(made_tables["runs"]), made_tables["history"], made_tables["layers"])


def test_c7() -> None:
    assert verdict(judge_perturbed(perturbed({"ether": 0.8, "ether_plus": 0.9, "oft": 0.1}))) == REPRODUCED
    broken = {"ether": 0.2, "ether_plus": 0.9, "oft": 0.1}
    assert verdict(judge_perturbed(perturbed(broken))) == NOT_REPRODUCED
    sturdy = {"ether": 0.8, "ether_plus": 0.9, "oft": 0.9}
    assert verdict(judge_perturbed(perturbed(sturdy))) == NOT_REPRODUCED
    between = {"ether": 0.5, "ether_plus": 0.9, "oft": 0.1}
    assert verdict(judge_perturbed(perturbed(between, 0.2))) == UNDECIDED


def test_c7_is_not_decided_where_the_model_has_nothing_to_lose() -> None:
    made = perturbed({"ether": 0.8, "oft": 0.1})
    ignorant = replace(made, runs=made.runs.assign(base_test=0.11))
    parts = judge.decide("C7", [ignorant])
    assert [part.part for part in parts] == ["ETHER", "OFT"]  # those that there are
    assert {part.verdict for part in parts} == {UNDECIDED}
    assert all("the untouched model is 0.01 above chance" in part.test for part in parts)


def test_a_figure_that_is_no_number_decides_nothing_and_says_so() -> None:
    made = study(GOOD, lambda record: record["row"].update(he_change=math.nan))
    parts = {part.part: part for part in judge.decide("C6", [made])}
    assert parts["Naive changes HE"].verdict == UNDECIDED
    assert parts["Naive changes HE"].test.endswith("(no verdict: no run has a finite value)")
    assert "no verdict" not in parts["Naive matches OFT"].test


def test_blocks_are_judged_on_every_study_and_compute_once() -> None:
    made = by_blocks(FLAT)
    images = replace(made, runs=made.runs.assign(task="s2i"))
    parts = judge.decide("C5", [made, images])
    names = ["ETHER score", "ETHER+ score"]
    assert [part.part for part in parts] == [*names, *(f"{name}, s2i" for name in names)]
    one_number = made.runs[made.runs["method.ether.blocks"].fillna(1) == 1]
    assert [part.part for part in judge_blocks(replace(made, runs=one_number))] == ["ETHER+ score"]


TEXT = {"task": "glue", "task.subset": "acceptability", "metric": "matthews"}


def of_text(curves: dict[str, Callable], **columns: object) -> Study:
    """A study of language in which ETHER+ has fewer parameters than the others."""

    def change(record: dict) -> None:
        record["row"] |= TEXT | columns
        record["row"]["parameters"] = 50 if record["row"]["method"] == "ether_plus" else 100

    return study(curves, change)


def test_c8() -> None:
    assert verdict(judge_economical(of_text(GOOD))) == REPRODUCED
    a_little_lower = GOOD | {"ether_plus": hill(-2, 6, 0.885)}
    assert verdict(judge_economical(of_text(a_little_lower))) == REPRODUCED
    assert verdict(judge_economical(of_text(GOOD | {"ether_plus": hill(-2, 6, 0.87)}))) == NOT_REPRODUCED
    assert verdict(judge_economical(study(GOOD))) == NOT_REPRODUCED  # as many parameters

    def wobbly(log_lr: float, seed: int) -> float:
        return FLAT(log_lr, seed) + 0.05 * (-1) ** seed

    assert verdict(judge_economical(of_text(GOOD | {"ether_plus": wobbly}))) == UNDECIDED
    assert judge_economical(of_text({"ether_plus": FLAT, "naive": FLAT})) == []


def test_c8_takes_a_methods_settings_that_validate_best() -> None:
    small, large = (
        synthetic.records({"lora": hill(-2, 1, peak)}, **{"method.lora.r": rank, "parameters": count})
        for peak, rank, count in ((0.5, 1, 20), (0.9, 8, 100))
    )
    for record in small:
        record["row"]["run_id"] += "-small"
        record["row"]["test"] = 0.99  # which nobody may look at
    plus = synthetic.records({"ether_plus": hill(-2, 6, 0.95)}, parameters=50)
    made = tables([*plus, *small, *large])
    (part,) = judge_economical(Study("s", label_runs(made["runs"]), made["history"], made["layers"]))
    assert part.verdict == REPRODUCED and "50 against 100" in part.test
    assert part.effect == pytest.approx(0.05)


@pytest.mark.parametrize("judge_study", [judge_robust, judge_fast, judge_energy, judge_economical])
def test_perplexity_is_judged_as_minus_its_logarithm(judge_study: Callable[[Study], list[Part]]) -> None:
    curves = {method: hill(-2 - i / 4, 2 + i, 0.9, 0.03) for i, method in enumerate(GOOD)}
    plain = study(curves)
    columns = ["valid", "test", "base_valid", "base_test", "chance"]
    runs = plain.runs.assign(metric="perplexity", higher_is_better=False)
    runs[columns] = np.exp(-runs[columns])
    history = plain.history.assign(valid=np.exp(-plain.history["valid"]))
    perplexity = Study("s", runs, history, plain.layers)
    for plain_part, other in zip(judge_study(plain), judge_study(comparable(perplexity)), strict=True):
        assert (other.verdict, other.part) == (plain_part.verdict, plain_part.part)
        assert [other.effect, other.low, other.high] == pytest.approx(
            [plain_part.effect, plain_part.low, plain_part.high]
        )
        assert "(score: minus log perplexity)" in other.records and "score:" not in plain_part.records
    assert comparable(plain) is plain


def test_distances_that_are_not_finite_are_left_out_of_the_growth() -> None:
    beyond = set_distance("naive", lambda row: math.nan if row["lr"] == 1 else row["lr"] * 10)
    parts = {part.part: part for part in judge_bounded(study(GOOD, beyond))}
    assert parts["Naive grows"].effect == pytest.approx(1e3) and parts["OFT grows"].effect == pytest.approx(
        1e4
    )


def test_a_part_names_the_study_where_it_is_not_vtabs() -> None:
    parts = judge.decide("C2", [study(GOOD), of_text(GOOD), of_text(GOOD, scale="paper")])
    names = [part.part for part in parts if part.part.startswith("ETHER against LoRA")]
    assert names == [
        f"ETHER against LoRA{where}" for where in ("", ", glue acceptability", ", glue acceptability (paper)")
    ]
    parts[0] = replace(parts[0], verdict=NOT_REPRODUCED)
    verdicts = judge.by_study(parts).set_index("study")
    assert verdicts["C2"].to_dict() == {
        "all": NOT_REPRODUCED, "vtab": NOT_REPRODUCED,
        "glue acceptability": REPRODUCED, "glue acceptability (paper)": REPRODUCED,
    }  # fmt: skip
    assert set(verdicts["C7"]) == {""} and list(verdicts) == list(CLAIMS)


def test_the_table_leads_with_each_claims_verdict() -> None:
    table = judge.as_table(judge_bounded(study(GOOD)))
    heads = table[table["part"] == ""]
    assert heads["claim"].tolist() == list(CLAIMS)
    assert heads["verdict"].tolist() == [REPRODUCED, *["no records"] * 7]
    parts = table[table["part"] != ""]
    assert len(parts) == 4 and parts["records"].str.contains("runs").all()
    assert not any(math.isnan(value) for value in parts["effect"]) and isinstance(table, pd.DataFrame)
