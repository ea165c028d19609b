"""Benchmarks: the harness's own tasks on tiny data, against likelihoods that are computed here."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest
import torch
from peft import PeftModel
from support.texts.benchmark_data import ARC, MMLU, TRUTHFUL, sentence
from support.tiny_llama import by_hand, make_study, table
from torch import nn
from transformers import LlamaForCausalLM

from study.evaluate import PAPER
from study.evaluation.candidates import candidates
from study.evaluation.scores_file import COLUMNS


@pytest.mark.slow
def test_scores_of_merged_models_are_those_of_the_adapted_by_hand(
    evaluated: Path, llama: Path, own_tasks: Path, from_hub: None
) -> None:
    """Every score by hand, with the adapter beside the weights; what the harness asked was merged."""
    from study.evaluation import benchmarks
    from study.tasks.loading.pretrained import load_tokenizer

    task = benchmarks.load({"tru1": PAPER["tru1"]}, str(own_tasks))["tru1"].loaded["tasks"]["truthfulqa_mc1"]
    preface, separator, _ = task.doc_to_text(TRUTHFUL[0]).rpartition(f"\n\nQ: {TRUTHFUL[0]['question']}\nA:")
    assert separator and preface.count("Q: ") == 6
    tokenizer = load_tokenizer(str(llama))
    scores = table(evaluated).pivot(index="run_id", columns="benchmark", values="score")
    assert scores.shape == (4, 4) and scores["tru2"].nunique() == 4, "each adapter changes something"

    def check(model: nn.Module, run_id: str) -> None:
        by_us = by_hand(model, tokenizer, preface)
        assert by_us == pytest.approx(scores.loc[run_id].to_dict(), abs=1e-5)

    check(LlamaForCausalLM.from_pretrained(llama), "")
    for run_id in scores.index.drop(""):
        base = LlamaForCausalLM.from_pretrained(llama)
        model = PeftModel.from_pretrained(base, str(evaluated / "adapters" / run_id)).eval()
        check(model, run_id)


@pytest.mark.slow
def test_the_table_says_what_was_asked(evaluated: Path) -> None:
    scores, runs = table(evaluated), pd.read_parquet(evaluated / "runs.parquet").set_index("run_id")
    assert list(scores.columns) == list(COLUMNS)
    assert set(scores["run_id"]) == {"", *(path.name for path in (evaluated / "adapters").iterdir())}
    assert (scores["metric"] == "acc").all() and (scores["precision"] == "float32").all()
    base = scores[scores["run_id"] == ""]
    assert (base["method"] == "base").all() and (base["form"] == "base").all()
    assert base[["lr", "seed"]].isna().all(axis=None) and (base["parameters"] == 0).all()
    of_runs = scores[scores["run_id"] != ""]
    assert (of_runs["form"] == "merged").all()
    columns = ["method", "lr", "seed", "parameters"]
    expected = runs.loc[of_runs["run_id"], columns].reset_index(drop=True)
    pd.testing.assert_frame_equal(of_runs[columns].reset_index(drop=True), expected, check_dtype=False)
    sizes = {
        "mmlu": sum(map(len, MMLU.values())),
        "arc": len(ARC),
        "tru1": len(TRUTHFUL),
        "tru2": len(TRUTHFUL),
    }
    assert len(MMLU) == 57 and (scores["examples"] == scores["benchmark"].map(sizes)).all()
    arc = base[base["benchmark"] == "arc"].iloc[0]
    spread = (arc["score"] * (1 - arc["score"]) / (len(ARC) - 1)) ** 0.5
    assert arc["stderr"] == pytest.approx(spread)


@pytest.mark.slow
def test_a_second_call_does_what_is_missing(
    evaluated: Path, command: Any, asked: list[str], from_hub: None, tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    """Complete; with three rows lost; from nothing with an interrupt: always the same rows."""
    folder = Path(shutil.copytree(evaluated, tmp_path / "copy"))
    path = folder / "benchmarks.csv"
    complete = path.read_text()
    assert command(folder) == 0 and asked == [] and path.read_text() == complete
    assert "mmlu, arc, tru1, tru2 on 4 models: 0 of 16 to do" in capsys.readouterr().out
    head, *rows = complete.splitlines(keepends=True)
    path.write_text("".join([head, *rows[:2], *rows[3:7], *rows[9:]]))
    lost = [rows[i].split(",")[5] for i in (2, 7, 8)]
    assert command(folder) == 0 and asked == lost
    assert sorted(path.read_text().splitlines()) == sorted(complete.splitlines())
    path.unlink()
    asked.clear()
    assert command(folder) == 130
    assert path.read_text() == "".join([head, *rows[:3]])
    assert (
        "stopped; what is finished is kept. Go on with: python -m study.evaluate" in capsys.readouterr().out
    )


@pytest.mark.slow
def test_own_tasks_and_a_try(evaluated: Path, command: Any, own_tasks: Path, tmp_path: Path) -> None:
    """A YAML file on a local JSON file, zero-shot whatever it says; a metric by name; a limit kept apart."""
    from study.evaluation import benchmarks

    task = benchmarks.load({"ours": "ours"}, str(own_tasks))["ours"].loaded["tasks"]["ours"]
    task.build_all_requests()
    first = json.loads((own_tasks / "rows.jsonl").read_text().splitlines()[0])
    assert task.instances[0].args == (f"Question: {first['question']}\nAnswer:", f" {first['texts'][0]}")
    folder = Path(shutil.copytree(evaluated, tmp_path / "copy"))
    before = (folder / "benchmarks.csv").read_text()
    assert command(folder, "benchmarks=ours,ours:acc,ours", "limit=5") == 0
    assert (folder / "benchmarks.csv").read_text() == before
    scores = table(folder, "benchmarks_limit5.csv")
    assert list(scores["benchmark"]) == ["ours", "ours:acc"] * 4
    assert list(scores["metric"]) == ["acc_norm", "acc"] * 4 and (scores["examples"] == 5).all()
    assert command(folder, "benchmarks=ours") == 0
    scores = table(folder)
    assert scores["benchmark"].value_counts().to_dict() == dict.fromkeys([*PAPER, "ours"], 4)
    assert (scores.loc[scores["benchmark"] == "ours", "examples"] == 8).all()


@pytest.mark.slow
def test_answers_that_are_not_numbers_score_nothing(
    llama: Path, command: Any, from_hub: None, tmp_path: Path
) -> None:
    """Of nan the harness takes the first answer, which is TruthfulQA's right one: 100 % for a lost model."""
    folder = make_study(tmp_path / "lost", llama, {"lora": float("nan")})
    assert command(folder, "benchmarks=arc,tru1,tru2") == 0
    scores = table(folder)
    assert scores.loc[scores["method"] == "base", "score"].notna().all()
    assert scores.loc[scores["method"] == "lora", "score"].isna().all() and len(scores) == 6


@pytest.mark.slow
def test_in_bfloat16_adapters_stay_beside_the_weights(
    llama: Path, command: Any, from_hub: None, tmp_path: Path
) -> None:
    """As do those that cannot be merged, in any precision. Likelihoods have all digits nevertheless."""
    from study.evaluation import models

    folder = make_study(tmp_path / "half", llama, {"lora": 0.3}, "bfloat16")
    assert command(folder, "benchmarks=tru2") == 0
    base, lora = table(folder).to_dict("records")
    assert (base["form"], lora["form"]) == ("base", "adapted") and base["score"] != lora["score"]
    weights = torch.linspace(1, 2, 129, dtype=torch.float64).bfloat16()  # each that there is from 1 to 2
    for change in (weights.double() / 513, -weights.double() / 513):
        assert torch.equal((weights.double() + change).bfloat16(), weights)
    model = models.load(candidates(folder)[1], torch.device("cpu"), "8").lm
    requests = [SimpleNamespace(args=(row["question"], f" {sentence()}")) for row in ARC]
    log_likelihoods = torch.tensor([value for value, _ in model.loglikelihood(requests)])
    assert model.model.dtype == torch.bfloat16 and (log_likelihoods != log_likelihoods.bfloat16()).any()
    folder = make_study(tmp_path / "lily", llama, {"lily": 0.3})
    assert command(folder, "benchmarks=tru2") == 0
    base, lily = table(folder).to_dict("records")
    assert (base["form"], lily["form"]) == ("base", "adapted") and base["score"] != lily["score"]


@pytest.mark.slow
def test_the_harness_has_the_papers_benchmarks(own_tasks: Path) -> None:
    """Names, parts, metrics and prompts without examples, as the installed version has them."""
    from study.evaluation import benchmarks

    index = benchmarks._tasks(str(own_tasks)).task_index
    arc, tru1, tru2 = (index[what.partition(":")[0]].cfg for what in list(PAPER.values())[1:])
    assert (arc["dataset_path"], arc["dataset_name"]) == ("allenai/ai2_arc", "ARC-Challenge")
    assert arc["test_split"] == "test"
    for cfg in (arc, tru1, tru2):
        assert "acc" in [each["metric"] for each in cfg["metric_list"]]
    assert "doc_to_choice" in tru1 and "mc1_targets" in tru1["doc_to_choice"]
    assert "mc2_targets" in tru2["doc_to_choice"] and "process_results" in tru2
    assert index["mmlu"].kind.name == "GROUP"
    assert index["mmlu"].cfg["aggregate_metric_list"] == [{"metric": "acc", "weight_by_size": True}]
