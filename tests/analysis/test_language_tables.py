"""Tables 4 and 5 from records whose scores are known, and which studies count."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from support.paths import ROOT
from support.records import synthetic
from support.records.synthetic import hill

from analysis.data.studies import (
    GLUE_MINIATURES,
    MINIATURES,
    S2I,
    SUBJECT,
    VTAB,
    grids,
    heads,
    key_of,
    language,
    one_each,
    read_all,
    split,
    title,
)
from analysis.data.table import Study
from analysis.paper.claims.economical import judge_economical
from analysis.paper.printed_form import as_printed, ours
from analysis.paper.published import PRINTED, printed
from analysis.paper.tables import glue_table, instruct_table
from analysis.statistics.intervals import mean_interval
from study.errors import UsageError
from study.evaluation.scores_file import COLUMNS
from study.storage.tuned import tuned_lr
from study.tasks.glue import MINIATURE

METHODS = ("ether", "ether_plus", "lora", "oft", "naive")
RATES = [1e-3, 1e-2, 1e-1]


def write(folder: Path, scores: dict[str, float], seeds: int = 3, **columns: object) -> list[Study]:
    """Studies in which each method's test score is `scores` at rate 1e-2, where it validates best.

    Test alone is better at 1e-1: nobody may pick it for that.
    """
    made = synthetic.records(dict.fromkeys(scores, hill(-2, 1)), RATES, seeds, **columns)
    better = 1 if columns.get("higher_is_better", True) else -1
    for record in made:
        row = record["row"]
        row["valid"] = 0.5 if row["lr"] == 1e-2 else 0.5 - 0.1 * better
        row["test"] = scores[row["method"]] + (0.0 if row["lr"] == 1e-2 else 0.05 * better)
        if row["method"] == "lora":
            row |= {"method.lora.r": 8, "method.lora.lora_alpha": 8}
            del row["method.lora.blocks"]
    synthetic.write(folder, made)
    return split(folder)


GLUE = {"task": "glue", "metric": "matthews", "base_test": 0.3}
PAPER = GLUE | {"scale": "paper", "task.model": "large"}


def test_the_printed_tables_are_complete() -> None:
    four, five = printed(4), printed(5)
    scores = four.pivot(index="method", columns="subset", values="printed")
    mean = scores.drop(columns="average").mean(axis=1)
    assert scores.shape == (4, 9) and len(five) == 8 * 4 and not five.isna()["printed"].any()
    assert np.abs(mean - scores["average"]).max() <= 0.005  # printed with two digits
    counted = pd.read_csv(PRINTED / "parameters.csv", dtype={"table": str})
    for number, table in (("4", four), ("5", five.dropna())):
        counts = counted[counted["table"] == number].set_index(["method", "options"])["millions"]
        for (method, options), rows in table.groupby(["method", "options"]):
            millions = counts.loc[method] if options == "" else counts.loc[[(method, options)]]
            assert set(rows["parameters"] / 1e6) == set(millions), (number, method)
    shown = as_printed(4).set_index("method")
    assert shown.loc["ETHER+", "average"] == "90.10" and shown.loc["LoRA", "parameters"] == "1,330,000"


def test_a_cell_is_the_test_score_at_the_rate_that_validates_best(tmp_path: Path) -> None:
    studies = write(tmp_path / "a", {"ether": 0.8, "lora": 0.6}, **GLUE, **{"task.subset": "acceptability"})
    table = glue_table(studies)
    cell = table[(table["method"] == "ether") & (table["scale"] == "mini")].iloc[0]
    assert cell[["ours", "low", "high", "base"]].tolist() == pytest.approx([80, 80, 80, 30])
    assert cell[["lr", "seeds", "parameters", "subset", "metric", "options"]].tolist() == [
        1e-2, 3, 100, "acceptability", "matthews", "blocks=4",
    ]  # fmt: skip
    assert table.loc[table["scale"] == "mini", "printed"].isna().all()
    assert table["printed"].notna().sum() == len(printed(4))  # the paper's cells stand alone
    shown = ours(table, "mini")
    assert shown is not None and ours(table, "paper") is None
    assert shown["method"].tolist() == ["base model", "ETHER", "LoRA"]
    assert shown["acceptability (matthews)"].tolist() == [
        "30.00", "80.00 [80.00, 80.00]", "60.00 [60.00, 60.00]",
    ]  # fmt: skip


def test_the_head_alone_has_a_row_and_decides_nothing(tmp_path: Path) -> None:
    task = GLUE | {"task.subset": "acceptability"}
    made = []
    for rate, score in ((1e-3, 0.3), (1e-2, 0.5)):
        columns = {"sweep": "head_alone", "task.head_lr": rate, "test": score - 0.1, **task}
        for record in synthetic.records({"lora": lambda x, s, score=score: score}, [1e-12], 3, **columns):
            record["row"]["run_id"] += str(rate)
            made.append(record)
    synthetic.write(tmp_path / "head_alone", made)
    assert language(read_all(tmp_path)) == []
    write(tmp_path / "lr_grid_glue_acceptability", {"ether": 0.8, "lora": 0.6}, 2, **task)
    studies = read_all(tmp_path)
    (key,) = heads(studies)
    assert key == ("glue", "mini", "acceptability")
    shown = ours(glue_table(language(studies), heads(studies)), "mini")
    assert shown is not None and shown["method"].tolist() == [
        "base model", "trained head alone", "ETHER", "LoRA",
    ]  # fmt: skip
    assert shown.loc[1, ["options", "parameters"]].tolist() == ["head_lr=0.01 steps=10", ""]
    assert shown.loc[1, "acceptability (matthews)"].startswith("40.00 [40.00")


def test_ours_stands_beside_the_printed_number_of_the_same_method(tmp_path: Path) -> None:
    studies = write(
        tmp_path / "a", {"ether": 0.7, "lora": 0.6, "oft": 0.5}, 1, **PAPER, **{"task.subset": "cola"}
    )
    table = glue_table(studies).query("subset == 'cola' and ours.notna()").set_index("method")
    assert table["printed"].fillna(0).to_dict() == {"base": 0, "ether": 71.31, "lora": 69.82, "oft": 0}
    assert table.loc["oft", "options"] == "blocks=4"  # the paper's has 16
    assert table.loc["lora", "options"] == "lora_alpha=8 r=8" and table.loc["lora", "model"] == "large"
    assert np.isnan(table.loc["lora", "low"])  # one seed
    small = glue_table(write(tmp_path / "b", {"ether": 0.7}, 1, **GLUE, **{"task.subset": "cola"}))
    assert small.query("ours.notna()")["printed"].isna().all()
    rest = glue_table(studies).query("ours.isna()")
    assert len(rest) == len(printed(4)) - 2 and "average" in set(rest["subset"])


def test_the_average_needs_all_eight(tmp_path: Path) -> None:
    subsets = ["mnli", "sst2", "cola", "qqp", "qnli", "rte", "mrpc", "stsb"]
    studies = []
    for number, subset in enumerate(subsets):
        scores = {"ether": 0.1 * number} | ({"lora": 0.5} if number else {})
        studies += write(tmp_path / subset, scores, 1, **PAPER, **{"task.subset": subset})
    table = glue_table(studies).query("subset == 'average' and ours.notna()").set_index("method")
    assert table["ours"].to_dict() == pytest.approx({"base": 30, "ether": 35})
    assert table.loc["ether", "printed"] == 89.86
    shown = ours(glue_table(studies), "paper")
    assert shown is not None
    assert [name.split(" ")[0] for name in shown][4:] == [*subsets, "average"]  # as printed


INSTRUCT = {"task": "instruct", "scale": "paper", "metric": "perplexity", "higher_is_better": False}
EVALUATED = [
    ("", "base", "mmlu", 0.42),
    ("", "base", "hellaswag", 0.5),
    ("lora-0.01-0", "lora", "mmlu", 0.43),
    ("lora-0.01-1", "lora", "mmlu", 0.45),
    ("lora-0.1-0", "lora", "mmlu", 0.99),
    ("ether-0.01-0", "ether", "mmlu", 0.44),
]
"""run_id, method, benchmark, score; 0.1 is not LoRA's tuned rate."""


def test_table_5_has_perplexity_and_benchmarks(tmp_path: Path) -> None:
    studies = write(tmp_path / "a", {"ether": 3.0, "lora": 4.0}, **INSTRUCT, base_test=9.0)
    scores = instruct_table(studies, tmp_path).query("ours.notna()").set_index(["method", "benchmark"])
    assert scores["ours"].to_dict() == pytest.approx(
        {("base", "perplexity"): 9, ("ether", "perplexity"): 3, ("lora", "perplexity"): 4}
    )
    rows = [dict(zip(("run_id", "method", "benchmark", "score"), row, strict=True)) for row in EVALUATED]
    answers = pd.DataFrame(rows, columns=list(COLUMNS)).assign(metric="acc")
    answers.to_csv(tmp_path / "a" / "benchmarks.csv", index=False)
    table = instruct_table(studies, tmp_path)
    mmlu = table.query("ours.notna() and benchmark == 'mmlu'").set_index("method")
    assert mmlu["ours"].to_dict() == pytest.approx({"base": 42, "ether": 44, "lora": 44})
    assert mmlu["printed"].fillna(0).to_dict() == {"base": 41.81, "ether": 0, "lora": 43.61}
    half = 12.706205 * 1  # t with one degree of freedom, standard error 1
    assert mmlu.loc["lora", ["low", "high"]].tolist() == pytest.approx([44 - half, 44 + half])
    assert np.isnan(mmlu.loc["ether", "low"]) and mmlu.loc["lora", "base"] == pytest.approx(42)
    shown = ours(table, "paper")
    assert shown is not None and [*shown][3:] == ["seeds", "mmlu (acc)", "perplexity"]
    lora = shown.set_index("method").loc["LoRA"]
    assert lora["seeds"] == "2 to 3" and lora["mmlu (acc)"].endswith("] (2 seeds)")
    (tmp_path / "a" / "benchmarks.csv").write_text("run_id,method\n,base\n")
    with pytest.raises(UsageError, match=r"benchmarks\.csv has other columns"):
        instruct_table(studies, tmp_path)


def test_the_miniatures_are_the_tasks_own() -> None:
    assert set(GLUE_MINIATURES) == set(MINIATURE)


def test_a_folder_with_several_subsets_holds_as_many_studies(tmp_path: Path) -> None:
    parts = [("cola", "matthews", 0.1), ("rte", "accuracy", 0.2)]
    made = []
    for subset, metric, score in parts:
        columns = GLUE | {"task.subset": subset, "metric": metric, "sweep": "glue_paper"}
        for record in synthetic.records({"ether": lambda x, s, score=score: score}, [1e-3], 2, **columns):
            record["row"]["run_id"] += subset
            made.append(record)
    synthetic.write(tmp_path / "glue_paper", made)
    studies = read_all(tmp_path)
    assert [title(key_of(study)) for study in studies] == ["glue cola", "glue rte"]
    assert [len(study.history) for study in studies] == [6, 6]
    table = glue_table(language(studies)).query("method == 'ether' and ours.notna()").set_index("subset")
    assert table["ours"].to_dict() == pytest.approx({"cola": 10, "rte": 20})
    assert table["metric"].to_dict() == {"cola": "matthews", "rte": "accuracy"} and grids(studies) == []


def test_methods_come_from_several_folders_where_none_has_all(tmp_path: Path) -> None:
    rte = PAPER | {"task.subset": "rte"}
    write(tmp_path / "glue_paper", {"ether": 0.8, "ether_plus": 0.9}, **rte, sweep="glue_paper")
    write(tmp_path / "lr_grid_glue_rte_paper", {"ether": 0.1, "lora": 0.7, "oft": 0.6}, 2, **rte)
    write(tmp_path / "mine", {"naive": 0.5, "lora": 0.2}, 9, **rte)  # under no sweep's name
    (study,) = language(read_all(tmp_path))
    table = glue_table([study]).query("ours.notna() and method != 'base'").set_index("method")
    assert table["ours"].to_dict() == pytest.approx({"ether": 10, "ether_plus": 90, "lora": 70, "oft": 60})
    assert table["study"].to_dict() == {
        "ether": "lr_grid_glue_rte_paper", "ether_plus": "glue_paper", "lora": "lr_grid_glue_rte_paper",
        "oft": "lr_grid_glue_rte_paper",
    }  # fmt: skip
    assert set(study.history["run_id"]) >= set(study.runs["run_id"])
    lora, oft = judge_economical(study)
    assert (lora.effect, oft.effect) == (pytest.approx(0.2), pytest.approx(0.3))
    assert lora.records == "lr_grid_glue_rte_paper + glue_paper: 27 runs"


def test_a_try_under_another_name_decides_nothing(tmp_path: Path) -> None:
    everyone = dict.fromkeys(METHODS, 0.5)
    write(tmp_path / "lr_grid", everyone)
    write(tmp_path / "longer", everyone, 5)
    write(tmp_path / "zz", everyone, 5, **GLUE)
    write(tmp_path / "two_methods", {"ether": 0.5, "lora": 0.5}, 9, **GLUE)
    write(tmp_path / "untrained", everyone, 9, **GLUE, steps=0, sweep="perturbation")
    write(tmp_path / "blocks", everyone, sweep="blocks")
    studies = read_all(tmp_path)
    assert {study.name for study in studies} == {"lr_grid", "longer", "zz", "two_methods", "untrained"}
    assert [study.name for study in grids(studies)] == ["lr_grid", "zz"]
    assert [study.name for study in language(studies)] == ["zz"]
    write(tmp_path / "lr_grid_glue", everyone, **GLUE)
    write(tmp_path / "mechanism_glue", everyone, 9, **GLUE, sweep="mechanism")
    assert [study.name for study in language(read_all(tmp_path))] == ["lr_grid_glue"]
    two = [study for study in studies if study.name in ("longer", "lr_grid")]
    assert [study.name for study in one_each(two[::-1])] == ["lr_grid"]


def test_in_the_committed_runs_a_tuned_method_beats_chance_and_the_head_alone() -> None:
    """On every miniature its interval is above both; LoRA and Naive rise and fall over the grid."""
    studies = read_all(ROOT / "results" / "reference")
    alone = heads(studies)
    by_key = {key_of(study): study for study in language(studies)}
    assert by_key.keys() == set(MINIATURES) - {VTAB, S2I, SUBJECT}
    assert alone.keys() - {S2I} == {key for key in by_key if key[0] == "glue"}
    for key, study in by_key.items():
        rows = glue_table([study], alone) if key in alone else instruct_table([study], ROOT / "nowhere")
        rows = rows[rows["scale"] == "mini"].set_index("method")
        best = rows.loc[rows.loc[list(METHODS), "ours"].idxmax()]
        beaten = max(100 * study.runs["chance"].iloc[0], best["base"])
        beaten = max(beaten, rows.loc["head", "ours"]) if key in alone else beaten
        assert best["low"] > beaten, (key, best["low"], beaten)
        for method in ("lora", "naive"):
            runs = study.runs[study.runs["method"] == method]
            by_seed = runs.pivot(index="seed", columns="lr", values="test")
            for end in (by_seed.columns[0], by_seed.columns[-1]):
                lost = (by_seed[tuned_lr(runs)] - by_seed[end]).to_numpy()
                assert mean_interval(lost)[1] > 0, (key, method)
