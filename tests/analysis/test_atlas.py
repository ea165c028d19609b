"""The atlas drawn from synthetic records of two tasks: numbers by hand, pages that hang together."""

from __future__ import annotations

import math
import re
from pathlib import Path

import pandas as pd
import pytest
from support.paths import REFERENCE
from support.records import synthetic
from support.records.synthetic import hill

from analysis.atlas.collected import Collected, collect
from analysis.atlas.missing import missing
from analysis.atlas.numbers import summary
from analysis.atlas.profiles import gaps
from analysis.atlas.sentences import on_task, over_all
from analysis.atlas.site import draw
from analysis.data.studies import split
from analysis.reporting.tuning import budget_text
from analysis.statistics.tuning import tuning_curves, tuning_table
from study.errors import UsageError
from study.storage.atlas_file import Atlas, PlannedMethod, PlannedTask
from study.storage.comparison_file import Comparison, Cost

LRS = [1e-4, 1e-3, 1e-2, 1e-1]
STEADY, GOOD, SHARP, IDLE = hill(-2, 9), hill(-2, 6, 0.95), hill(-2, 0.6), hill(-2, 9, 0.1)
Curves = dict[str, synthetic.Curve]
KNOWN = ("vtab", "glue_topic", "instruct")


def plan(**of_glue: object) -> Atlas:
    """Three methods on two tasks, vtab without `peft:oft`; nothing of instruct."""
    planned = {name: PlannedMethod(20, saved_mb=2.0) for name in ("ether", "lora", "peft:oft")}
    of_vtab = PlannedTask({name: planned[name] for name in ("ether", "lora")}, {"peft:oft": "it is too wide"})
    return Atlas(
        "python -m study.atlas", KNOWN, {"vtab": of_vtab, "glue_topic": PlannedTask(planned, **of_glue)}
    )  # type: ignore[arg-type]


def atlas(folder: Path) -> Path:
    """On vtab ether is the best; on glue lora, which diverges at one rate, and peft:oft learns nothing."""
    vtab = synthetic.records({"ether": GOOD, "lora": STEADY}, LRS)
    named = {"task": "glue", "metric": "matthews", "task.subset": "topic", "base_test": 0.1}
    glue = synthetic.records({"ether": STEADY, "lora": GOOD, "peft:oft": IDLE}, LRS, **named)
    for record in glue:
        if record["row"]["method"] == "lora" and record["row"]["lr"] == 1e-1:
            record["row"] |= {"status": "diverged", "reason": "loss"}
    glue = [r for r in glue if r["row"]["run_id"] not in ("ether-0.0001-3", "ether-0.0001-4")]
    failed = next(r["row"] for r in glue if r["row"]["run_id"] == "ether-0.0001-2")
    failed |= {"status": "failed", "reason": "lost", "valid": math.nan, "test": math.nan}
    synthetic.write(folder / "vtab", vtab)
    synthetic.write(folder / "glue_topic", glue)
    plan().write(folder)
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An atlas, drawn where there was one with another method."""
    made = atlas(tmp_path_factory.mktemp("results") / "atlas")
    (made / "methods").mkdir()
    (made / "methods" / "gone.html").touch()
    draw(made)
    return made


@pytest.fixture(scope="module")
def collected(folder: Path) -> Collected:
    return collect(folder)


def test_figures_over_tasks_are_means_of_what_each_task_says(collected: Collected) -> None:
    table = summary(collected).set_index("label")
    assert table.loc["ether", "rank_score"] == 1.5 and table.loc["lora", "rank_score"] == 1.5
    assert table.loc["peft:oft", ["rank_score", "tasks", "learns"]].tolist() == [3, 1, 0]
    # Base .1; the best .95 on both tasks, the second best .9.
    assert table.loc["ether", "score"] == pytest.approx((1 + 0.8 / 0.85) / 2)
    assert table.loc["peft:oft", "score"] == pytest.approx(0)
    assert table.loc["lora", ["diverged_runs", "runs"]].tolist() == [5, 40]
    assert table.loc["ether", "failed"] == 1
    assert table.loc["lora", "saved_mb"] == 2 and math.isnan(table.loc["peft:oft", "lost"])


def test_who_does_not_learn_has_no_rank_by_sensitivity(collected: Collected) -> None:
    places = collected.tasks["glue_topic"].places("regret_window")
    assert math.isnan(places["peft:oft"]) and set(places.drop("peft:oft")) == {1, 2}


@pytest.mark.parametrize("curve,expected", [
    ([0.9, 0.9, 0.9, 0.9], 1),  # any rate is as good
    ([0.0, 0.9, 0.0, 0.0], 4),  # of 3 of 4 rates the good one is among them 3 times in 4: .675
    # One: .75. Two: (.9 * 3 + .8 * 2 + .7) / 6 = .833. Three: (.9 * 3 + .8) / 4 = .875 > .1 + .95 * .8 = .86
    ([0.9, 0.8, 0.7, 0.6], 3),
    # One: .857, within 5 % of .9 but not of what it gains. Two: (.9 * 3 + .85 * 2 + .84) / 6 = .873 > .86
    ([0.9, 0.85, 0.84, 0.838], 2),
])  # fmt: skip
def test_the_tuning_budget_is_of_the_gain(curve: list[float], expected: int, tmp_path: Path) -> None:
    score = dict(zip((-4.0, -3.0, -2.0, -1.0), curve, strict=True))
    made = synthetic.records({"ether": lambda log_lr, seed: score[round(log_lr, 6)]}, LRS)
    synthetic.write(tmp_path / "vtab", made)
    plan().write(tmp_path)
    assert collect(tmp_path).tasks["vtab"].budget("ether")[0] == expected


def test_an_atlas_says_of_tuning_what_its_studies_say(folder: Path, collected: Collected) -> None:
    page = (folder / "methods" / "lora.html").read_text()
    for name, task in collected.tasks.items():
        [study] = split(folder / name)
        own = tuning_table(tuning_curves(study)).set_index("label")
        for label in own.index:
            expected = own.loc[label, ["budget", "budget_low", "budget_high"]].tolist()
            assert task.budget(label) == pytest.approx(expected, nan_ok=True)
        assert budget_text(*task.budget("lora")) in page


def test_profiles_are_of_what_is_lacking_to_the_best_of_each_task(collected: Collected) -> None:
    """.9 where the best has .95 and the untouched model .1; who does not learn is near nobody."""
    behind = 0.05 / 0.85
    both = gaps(collected.tasks)
    assert both.loc["ether"].tolist() == pytest.approx([0, behind])
    assert both.loc["lora"].tolist() == pytest.approx([behind, 0]) and set(both.index) == {"ether", "lora"}
    assert gaps({"glue topic": collected.tasks["glue_topic"]}).loc["peft:oft"].tolist() == [math.inf]
    shares = pd.read_csv(collected.folder / "figures" / "profiles.csv").set_index(["label", "gap"])["share"]
    assert shares["ether"].loc[[0.0, 0.05]].tolist() == [0.5, 0.5] and shares["ether", 0.06] == 1


def test_what_one_task_cannot_show_is_said(tmp_path: Path) -> None:
    synthetic.write(tmp_path / "vtab", synthetic.records({"ether": GOOD, "lora": STEADY}, LRS))
    plan().write(tmp_path)
    page = draw(tmp_path).read_text()
    assert (
        page.count("so far there are runs on vtab alone") == 2
        and not (tmp_path / "figures/profiles.csv").exists()
    )


def test_sentences(collected: Collected) -> None:
    table = summary(collected).set_index("label", drop=False)
    glue = collected.tasks["glue_topic"]
    assert re.fullmatch(
        r"LoRA: rank 1 of 3 by tuned score, 0\.950; loses 0\.\d+ within 1\.5 decades; stays within 10 % over "
        r"[\d.]+ or more decades; random rates to try until within 5 % of what its best gains: "
        r"\d \[\d, \d\]; diverges in 5 of 20 runs\.",
        on_task("LoRA", glue, "lora"),
    )
    assert "does not learn" in on_task("OFT", glue, "peft:oft")
    assert over_all(collected, table.loc["ether"]).startswith(
        "ETHER: average rank 1.5 of 3 by tuned score over 2 tasks; loses "
    )
    assert over_all(collected, table.loc["peft:oft"]).endswith("on glue topic alone.")


def test_what_is_missing_is_said_with_its_command(collected: Collected) -> None:
    assert missing(collected) == [
        "peft:oft cannot be trained on vtab: it is too wide.",
        "1 run of ETHER failed on glue topic: "
        "python -m study.atlas only=glue_topic method=ether retry=failed.",
        "2 runs on glue topic are not done, of ETHER (2): python -m study.atlas only=glue_topic.",
        "instruct was not run: python -m study.atlas only=instruct.",
    ]
    assert missing(collected, "lora") == [
        "instruct was not run: python -m study.atlas only=instruct method=lora."
    ]


def test_a_refused_study_is_missing_with_its_reason(folder: Path) -> None:
    read = collect(folder)
    vtab = {"vtab": read.tasks["vtab"]}
    refused = Collected(folder, plan(refused="data changed"), vtab, {"vtab": read.runs["vtab"]})
    assert missing(refused)[1:3] == [
        "glue topic was refused: data changed.",
        "60 runs on glue topic are not done, of ETHER (20), LoRA (20), peft:oft (20): "
        "python -m study.atlas only=glue_topic.",
    ]


@pytest.mark.parametrize("committed", [False, True])
def test_what_pages_show_and_link_is_there(committed: bool, folder: Path) -> None:
    """Also in the repository, which keeps neither every figure nor every table."""
    for page in sorted((REFERENCE / "atlas" if committed else folder).rglob("*.html")):
        text = re.sub(r"<script.*?</script>", "", page.read_text(), flags=re.S)
        for address in re.findall(r'(?:href|src)="([^"#][^"]*)"', text):
            assert (page.parent / address).exists(), (page, address)


def test_the_pages_hang_together_and_need_nothing_from_elsewhere(folder: Path) -> None:
    pages = sorted(folder.rglob("*.html"))
    assert [page.relative_to(folder).as_posix() for page in pages] == [
        "index.html", "methods/ether.html", "methods/lora.html", "methods/peft_oft.html",
        "tasks/glue_topic.html", "tasks/vtab.html",
    ]  # fmt: skip
    for page in pages:
        text = re.sub(r"<script.*?</script>", "", page.read_text(), flags=re.S)
        assert "http" not in text
        ids = re.findall(r'id="([^"]+)"', text)
        assert len(ids) == len(set(ids))
        assert {address[1:] for address in re.findall(r'href="(#[^"]+)"', text)} <= set(ids)


def test_the_index_has_a_row_and_a_sentence_for_each_method_and_says_what_is_missing(folder: Path) -> None:
    text = (folder / "index.html").read_text()
    rows = re.findall(r'<tr><td data-value="([^"]+)"><a href="methods/', text)
    assert sorted(rows) == ["ETHER", "LoRA", "peft:oft"]
    assert "instruct was not run" in text and "it is too wide" in text
    assert 'src="figures/ranks.svg"' in text and 'src="figures/profiles.svg"' in text
    table = pd.read_csv(folder / "atlas.csv")
    assert len(table) == 3 and "rank_score" in table


def test_a_page_of_a_method_has_its_reference_and_options(folder: Path) -> None:
    text = (folder / "methods" / "lora.html").read_text()
    assert "@inproceedings{hu2022lora" in text and "method.lora.blocks" in text
    assert "python -m study.atlas method=lora" in text


def compared(
    folder: Path, command: str, curves: dict[str, synthetic.Curve], lrs: list[float], **named: object
) -> None:
    """A comparison of the methods, the first its baseline, each under its own name."""
    made = synthetic.records(curves, lrs, **named)
    synthetic.write(folder, made)
    labels = {record["row"]["run_id"]: record["row"]["method"] for record in made}
    Comparison(list(curves), labels, command, {"mine": Cost(saved_mb=7.0)}).write(folder)


def test_what_a_comparison_ran_on_the_grid_of_the_atlas_is_on_its_pages(tmp_path: Path) -> None:
    """And no other: not at other rates, with other settings, of other data, of another task, nor twice."""
    made = atlas(tmp_path / "atlas")
    before = collect(made).tasks["vtab"].table
    of_atlas = {"sweep": "atlas"}
    beside = {"ether": GOOD, "mine": SHARP}
    compare = tmp_path / "compare"
    compared(compare / "mine", "study.compare mine.py sweep=atlas", beside, [*LRS, 1.0], **of_atlas)
    compared(compare / "twice", "study.compare twice", beside, LRS, **of_atlas)
    compared(compare / "coarse", "", {"ether": GOOD, "few": STEADY}, LRS[:2], **of_atlas)
    compared(compare / "long", "", {"ether": GOOD, "long": STEADY}, LRS, **of_atlas, **{"task.steps": 20})
    compared(compare / "new", "", {"ether": GOOD, "new": STEADY}, LRS, **of_atlas, data_fingerprint="new")
    compared(compare / "quick", "", {"ether": GOOD, "quick": STEADY}, LRS[:1], sweep="lr_grid")
    compared(compare / "rte", "", {"ether": GOOD, "rte": STEADY}, LRS, **of_atlas, **{"task.subset": "rte"})
    draw(made)
    found = collect(made)
    assert set(found.tasks["vtab"].table.index) == {"ether", "lora", "mine"}
    assert set(found.tasks["glue_topic"].table.index) == {"ether", "lora", "peft:oft"}
    assert not set(pd.read_csv(made / "vtab" / "robustness.csv")["label"]) & {"mine"}
    row = found.tasks["vtab"].table.loc["mine"]
    assert row["runs"] == 20 and row["tuned_test"] == pytest.approx(0.9)  # of the atlas's rates alone
    pd.testing.assert_frame_equal(found.tasks["vtab"].table.loc[before.index], before)
    table = summary(found).set_index("label")
    assert table.loc["mine", ["tasks", "saved_mb"]].tolist() == [1, 7]
    page = (made / "methods" / "mine.html").read_text()
    assert "study.compare mine.py sweep=atlas" in page and "study.atlas method=mine" not in page
    assert sorted(sentence for sentence in missing(found) if "not shown" in sentence) == [
        "few of compare/coarse is not shown: it was run with other rates or seeds than the atlas's.",
        "long of compare/long is not shown: it was run with other settings or data than the atlas's.",
        "new of compare/new is not shown: it was run with other settings or data than the atlas's.",
    ]


def test_a_comparison_that_cannot_be_read_is_said_and_stops_nothing(tmp_path: Path) -> None:
    made = atlas(tmp_path / "atlas")
    compared(tmp_path / "compare" / "torn", "", {"ether": GOOD, "mine": SHARP}, LRS)
    (tmp_path / "compare" / "torn" / "compare.json").write_text("{")
    found = collect(made)
    assert "mine" not in found.tasks["vtab"].table.index
    assert missing(found)[-1].startswith("compare/torn is not shown: ")


def test_no_atlas_and_a_damaged_one_are_refused_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="atlas.json is missing; it is made by: python -m study.atlas"):
        draw(tmp_path)
    (tmp_path / "atlas.json").write_text("{")
    with pytest.raises(UsageError, match=r"atlas.json cannot be read: .*writes it anew"):
        draw(tmp_path)
    plan().write(tmp_path)
    with pytest.raises(UsageError, match="holds no run that ended"):
        draw(tmp_path)
