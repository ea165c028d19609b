"""Benchmarks: the harness's own tasks on tiny data, against likelihoods that are computed here."""

from __future__ import annotations

import json
import random
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import datasets
import pandas as pd
import pytest
import torch
from peft import PeftModel, get_peft_model
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from torch import nn
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from study import evaluate, methods
from study.planning.runs import Run
from study.settings import TaskSettings
from study.storage import tables
from study.storage.rows import Circumstances, Identity, Outcome, RunRecord

WORDS = ["the", "sun", "moon", "sea", "bird", "fish", "red", "blue", "old", "runs", "swims", "sings", "never"]
RANDOM = random.Random(0)
OPTIONS: dict[str, dict[str, Any]] = {"ether_plus": {"blocks": 2}, "lora": {"r": 2}, "naive": {"blocks": 4}}


def sentence(length: int = 4) -> str:
    return " ".join(RANDOM.choices(WORDS, k=length))


# Data as the hub has it -----------------------------------------------------------------------

ARC = [
    {
        "question": sentence(),
        "choices": {"text": [sentence(RANDOM.randint(1, 4)) for _ in "ABCD"], "label": list("ABCD")},
        "answerKey": RANDOM.choice("ABCD"),
    }
    for _ in range(12)
]
TRUTHFUL = [
    {
        "question": sentence(),
        "mc1_targets": {"choices": [sentence(3) for _ in range(3)], "labels": [1, 0, 0]},
        "mc2_targets": {"choices": [sentence(3) for _ in range(4)], "labels": [1, 1, 0, 0]},
    }
    for _ in range(12)
]
MMLU: dict[str, list[dict[str, Any]]] = {}
"""Rows by subject, one or two of each, so that a mean over subjects is not one over questions."""


def hub(path: str, name: str, **_: Any) -> datasets.DatasetDict:
    """`datasets.load_dataset` of the data sets that the paper's benchmarks read."""
    if path == "cais/mmlu":
        rows = MMLU.setdefault(
            name,
            [
                {
                    "question": sentence(),
                    "choices": [sentence(2) for _ in "ABCD"],
                    "answer": RANDOM.randrange(4),
                }
                for _ in range(1 + len(MMLU) % 2)
            ],
        )
    else:
        rows = {"allenai/ai2_arc": ARC, "truthfulqa/truthful_qa": TRUTHFUL}[path]
    assert (path, name) in {
        ("cais/mmlu", name),
        ("allenai/ai2_arc", "ARC-Challenge"),
        ("truthfulqa/truthful_qa", "multiple_choice"),
    }
    part = datasets.Dataset.from_list(rows)
    return datasets.DatasetDict({split: part for split in ("train", "dev", "validation", "test")})


@pytest.fixture
def from_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets, "load_dataset", hub)


# A study of a tiny Llama ----------------------------------------------------------------------


@pytest.fixture(scope="session")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("llama")
    special = ["<unk>", "<s>", "</s>"]
    vocabulary = {word: i for i, word in enumerate([*special, *WORDS, *"ABCDQ.:", "Question", "Answer"])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing("<s> $A", special_tokens=[("<s>", 1)])
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, unk_token="<unk>", bos_token="<s>", eos_token="</s>"
    ).save_pretrained(folder)
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(vocabulary), hidden_size=32, num_hidden_layers=2, num_attention_heads=2,
        intermediate_size=48, max_position_embeddings=512, initializer_range=0.2,
        bos_token_id=1, eos_token_id=2,
    )  # fmt: skip
    LlamaForCausalLM(config).save_pretrained(folder)
    return folder


def make_study(folder: Path, llama: Path, runs: dict[str, float], precision: str = "float32") -> Path:
    """A study's folder with a run per method, its adapter trained by throwing dice of the size given."""
    made = []
    for index, (method, size) in enumerate(runs.items()):
        task = TaskSettings(
            name="instruct", scale="paper", model=str(llama), data="d", steps=1, batch_size=1,
            precision=precision,
        )  # fmt: skip
        run = Run(task, method, OPTIONS.get(method, {}), lr=10.0**-index, seed=index)
        config = methods.config(method, OPTIONS.get(method, {}), ["q_proj", "v_proj"])
        model = get_peft_model(LlamaForCausalLM.from_pretrained(llama), config)
        torch.manual_seed(index)
        trained = [p for p in model.parameters() if p.requires_grad]
        for parameter in trained:
            parameter.data += size * torch.randn_like(parameter)
        model.save_pretrained(str(folder / "adapters" / run.run_id))
        outcome = Outcome("ok", parameters=sum(p.numel() for p in trained))
        made.append(RunRecord(Identity.of(run, "s"), outcome, Circumstances()))
    forgotten = Run(task, "oft", {}, lr=1.0, seed=0)  # a run whose adapter was not kept
    made.append(RunRecord(Identity.of(forgotten, "s"), Outcome("ok", parameters=1), Circumstances()))
    tables.tables([record.to_json() for record in made])["runs"].to_parquet(folder / "runs.parquet")
    return folder


@pytest.fixture(scope="session")
def study(tmp_path_factory: pytest.TempPathFactory, llama: Path) -> Path:
    folder = tmp_path_factory.mktemp("results") / "alpaca"
    return make_study(folder, llama, dict.fromkeys(OPTIONS, 0.3))


# What it must come to -------------------------------------------------------------------------


def likelihoods(model: nn.Module, tokenizer: Any, context: str, answers: list[str]) -> list[float]:
    """log p(answer | context) of each answer, summed over its tokens; what is filled in follows them."""
    before = len(tokenizer(context)["input_ids"])
    tokens = [tokenizer(f"{context} {answer}")["input_ids"] for answer in answers]
    filled = [[*own, *[0] * (max(map(len, tokens)) - len(own))] for own in tokens]
    with torch.no_grad():
        found = model(torch.tensor(filled)).logits.float().log_softmax(-1)
    return [
        sum(found[i, at - 1, own[at]].item() for at in range(before, len(own)))
        for i, own in enumerate(tokens)
    ]


def best(values: list[float]) -> int:
    return max(range(len(values)), key=values.__getitem__)


def by_hand(model: nn.Module, tokenizer: Any, preface: str) -> dict[str, float]:
    """The four scores of the paper's table, from the prompts and metrics as they are described."""

    def ask(context: str, answers: list[str]) -> list[float]:
        return likelihoods(model, tokenizer, context, answers)

    def right(rows: list[Any], correct: Callable[[Any], bool]) -> float:
        return sum(map(correct, rows)) / len(rows)

    def arc(row: dict[str, Any]) -> bool:
        found = ask(f"Question: {row['question']}\nAnswer:", row["choices"]["text"])
        return "ABCD"[best(found)] == row["answerKey"]

    def mmlu(subject: str, row: dict[str, Any]) -> bool:
        told = "The following are multiple choice questions (with answers) about"
        listed = "\n".join(f"{letter}. {text}" for letter, text in zip("ABCD", row["choices"], strict=True))
        context = f"{told} {subject.replace('_', ' ')}.\n\n{row['question']}\n{listed}\nAnswer:"
        return best(ask(context, list("ABCD"))) == row["answer"]

    def truth(row: dict[str, Any], targets: str) -> list[float]:
        return ask(f"{preface}\n\nQ: {row['question']}\nA:", row[targets]["choices"])

    def mass(row: dict[str, Any]) -> float:
        found = torch.tensor(truth(row, "mc2_targets"), dtype=torch.float64).softmax(0)
        return found[torch.tensor(row["mc2_targets"]["labels"]) == 1].sum().item()

    return {
        "arc": right(ARC, arc),
        "mmlu": right([(subject, row) for subject, rows in MMLU.items() for row in rows], lambda x: mmlu(*x)),
        "tru1": right(TRUTHFUL, lambda row: best(truth(row, "mc1_targets")) == 0),
        "tru2": sum(map(mass, TRUTHFUL)) / len(TRUTHFUL),
    }


def table(folder: Path, name: str = "benchmarks.csv") -> pd.DataFrame:
    return pd.read_csv(folder / name, dtype={"run_id": str}, keep_default_na=True).fillna({"run_id": ""})


# Tests without the harness --------------------------------------------------------------------


def test_help_does_not_wait_for_torch() -> None:
    code = (
        "import sys; from study.evaluate import main; code = main(['--help']); "
        "assert not {'torch', 'lm_eval', 'pandas'} & set(sys.modules); sys.exit(code)"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert found.returncode == 0 and "benchmarks=mmlu,arc,tru1,tru2" in found.stdout, found.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["alpacca"], "no study alpacca; nearest: alpaca"),
        (["alpaca", "limits=3"], "unknown key 'limits'; nearest: limit"),
        (["alpaca", "mmlu"], "'mmlu' is not an option; write key=value"),
        (["alpaca", "benchmarks="], "'benchmarks=' is not an option"),
        (["alpaca", "limit=0"], "limit=0: must be a number of examples, at least 1"),
        (["alpaca", "batch_size=-1"], "batch_size=-1: must be a number of examples, or auto"),
        (["alpaca", "include_path=nowhere"], "include_path=nowhere: no such folder"),
    ],
)
def test_wrong_usage_is_one_line(
    arguments: list[str],
    words: str,
    study: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    (tmp_path / "results").symlink_to(study.parent)
    monkeypatch.chdir(tmp_path)
    assert evaluate.main(arguments) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ") and words in line


def test_what_is_missing_is_named(
    study: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def line(folder: Path) -> str:
        assert evaluate.main([str(folder)]) == 2
        return capsys.readouterr().err.strip()

    bare = Path(shutil.copytree(study, tmp_path / "bare", ignore=shutil.ignore_patterns("adapters")))
    assert "has kept no adapters; train with save_adapters=best" in line(bare)
    monkeypatch.setitem(sys.modules, "lm_eval", None)
    fresh = shutil.copytree(study, tmp_path / "fresh", ignore=shutil.ignore_patterns("benchmarks.csv"))
    assert line(Path(fresh)).endswith("is not installed: pip install 'ether-study[eval]'")
    other = Path(shutil.copytree(study, tmp_path / "other"))
    (other / "benchmarks.csv").write_text("run_id,score\n,0.5\n")
    assert "benchmarks.csv has other columns than this command writes" in line(other)
    (other / "runs.parquet").write_bytes(b"half a table")
    (other / tables.SUMS).write_text(f"{'0' * 64}  runs.parquet\n")
    assert "runs.parquet is damaged" in line(other)


# Tests with the harness -----------------------------------------------------------------------


@pytest.fixture(scope="session")
def own_tasks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for `include_path`: one task on a local JSON file, a group of it and a tag."""
    pytest.importorskip("lm_eval", reason="needs the extra [eval]")
    folder = tmp_path_factory.mktemp("tasks")
    rows = [{"question": sentence(), "texts": [sentence(1), sentence(4)], "gold": i % 2} for i in range(8)]
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    task = """
task: {name}
tag: ours_tag
dataset_path: json
dataset_kwargs: {{data_files: {{test: {folder}/{file}}}, cache_dir: {folder}/cache}}
test_split: test
num_fewshot: 3
output_type: multiple_choice
doc_to_text: "Question: {{{{question}}}}\\nAnswer:"
doc_to_choice: "{{{{texts}}}}"
doc_to_target: gold
metric_list: [{{metric: acc_norm}}, {{metric: acc}}]
"""
    (folder / "ours.yaml").write_text(task.format(name="ours", folder=folder, file="rows.jsonl"))
    (folder / "lost.yaml").write_text(task.format(name="lost", folder=folder, file="nowhere.jsonl"))
    (folder / "group.yaml").write_text("group: ours_group\ntask: [ours]\n")
    return folder


@pytest.fixture(scope="session")
def command(own_tasks: Path) -> Callable[..., int]:
    """The command; every call has the same `include_path`, so that all tasks are indexed once.

    Whoever is first reads data into the cache, and would find the progress of that beside its one line.
    """
    datasets.disable_progress_bars()
    return lambda folder, *more: evaluate.main([str(folder), f"include_path={own_tasks}", *more])


@pytest.fixture(scope="session")
def evaluated(study: Path, command: Callable[..., int]) -> Iterator[Path]:
    """The study with the paper's benchmarks."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(datasets, "load_dataset", hub)
        assert command(study) == 0
    yield study


@pytest.fixture
def asked(command: Any, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is asked: benchmarks, in that order. Stops, as by Ctrl-C, before the fourth."""
    from study.evaluation.lm_eval import Asked

    names: list[str] = []
    ask = Asked.ask

    def noted(self: Asked, benchmark: Any, limit: int | None) -> dict[str, Any]:
        if len(names) == 3:
            raise KeyboardInterrupt
        names.append(benchmark.name)
        return ask(self, benchmark, limit)

    monkeypatch.setattr(Asked, "ask", noted)
    return names


@pytest.mark.slow
def test_scores_of_merged_models_are_those_of_the_adapted_by_hand(
    evaluated: Path, llama: Path, own_tasks: Path, from_hub: None
) -> None:
    """Every score by hand, with the adapter beside the weights; what the harness asked was merged."""
    from study.evaluation import lm_eval as harness
    from study.tasks.loading.pretrained import load_tokenizer

    task = harness.load({"tru1": evaluate.PAPER["tru1"]}, str(own_tasks))["tru1"].loaded["tasks"][
        "truthfulqa_mc1"
    ]
    preface, found, _ = task.doc_to_text(TRUTHFUL[0]).rpartition(f"\n\nQ: {TRUTHFUL[0]['question']}\nA:")
    assert found and preface.count("Q: ") == 6
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
    found, runs = table(evaluated), pd.read_parquet(evaluated / "runs.parquet").set_index("run_id")
    assert list(found.columns) == list(evaluate.COLUMNS)
    assert set(found["run_id"]) == {"", *(path.name for path in (evaluated / "adapters").iterdir())}
    assert (found["metric"] == "acc").all() and (found["precision"] == "float32").all()
    base = found[found["run_id"] == ""]
    assert (base["method"] == "base").all() and (base["form"] == "base").all()
    assert base[["lr", "seed"]].isna().all(axis=None) and (base["parameters"] == 0).all()
    own = found[found["run_id"] != ""]
    assert (own["form"] == "merged").all()
    columns = ["method", "lr", "seed", "parameters"]
    expected = runs.loc[own["run_id"], columns].reset_index(drop=True)
    pd.testing.assert_frame_equal(own[columns].reset_index(drop=True), expected, check_dtype=False)
    sizes = {
        "mmlu": sum(map(len, MMLU.values())),
        "arc": len(ARC),
        "tru1": len(TRUTHFUL),
        "tru2": len(TRUTHFUL),
    }
    assert len(MMLU) == 57 and (found["examples"] == found["benchmark"].map(sizes)).all()
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
    from study.evaluation import lm_eval as harness

    task = harness.load({"ours": "ours"}, str(own_tasks))["ours"].loaded["tasks"]["ours"]
    task.build_all_requests()
    first = json.loads((own_tasks / "rows.jsonl").read_text().splitlines()[0])
    assert task.instances[0].args == (f"Question: {first['question']}\nAnswer:", f" {first['texts'][0]}")
    folder = Path(shutil.copytree(evaluated, tmp_path / "copy"))
    before = (folder / "benchmarks.csv").read_text()
    assert command(folder, "benchmarks=ours,ours:acc,ours", "limit=5") == 0
    assert (folder / "benchmarks.csv").read_text() == before
    found = table(folder, "benchmarks_limit5.csv")
    assert list(found["benchmark"]) == ["ours", "ours:acc"] * 4
    assert list(found["metric"]) == ["acc_norm", "acc"] * 4 and (found["examples"] == 5).all()
    assert command(folder, "benchmarks=ours") == 0
    found = table(folder)
    assert found["benchmark"].value_counts().to_dict() == dict.fromkeys([*evaluate.PAPER, "ours"], 4)
    assert (found.loc[found["benchmark"] == "ours", "examples"] == 8).all()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["benchmarks=arc_chalenge"], "unknown benchmark 'arc_chalenge'; nearest: arc_challenge"),
        (["benchmarks=ours:accuracy"], "benchmark ours:accuracy has no metric 'accuracy'; nearest: acc"),
        (["benchmarks=ours_tag"], "benchmark ours_tag has no score of its own; its tasks: lost, ours"),
        (["benchmarks=ours_group"], "benchmark ours_group has no score of its own; its tasks: ours"),
        (["benchmarks=lost"], "benchmark lost: its data cannot be loaded: Unable to find"),
        (["benchmarks=arc"], "benchmark arc: its data is not in the cache: Couldn't reach 'allenai/ai2_arc'"),
        (["benchmarks=ours", "device=nonsense"], "device=nonsense: "),
    ],
)
def test_what_is_wrong_with_a_benchmark_is_one_line(
    options: list[str], words: str, study: Path, command: Any, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    load = datasets.load_dataset

    def offline(path: str, **settings: Any) -> Any:
        if path == "json":
            return load(path, **settings)
        raise ConnectionError(f"Couldn't reach '{path}' on the Hub (LocalEntryNotFoundError)")

    monkeypatch.setattr(datasets, "load_dataset", offline)
    folder = Path(shutil.copytree(study, tmp_path / "copy", ignore=shutil.ignore_patterns("benchmarks*")))
    assert command(folder, *options) == 2
    said = [line for line in capsys.readouterr().err.splitlines() if line]
    assert len(said) == 1 and said[0].startswith("error: ") and words in said[0], said
    assert not (folder / "benchmarks.csv").exists()


@pytest.mark.slow
def test_what_is_wrong_with_a_model_is_one_line(
    study: Path, command: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = Path(shutil.copytree(study, tmp_path / "copy", ignore=shutil.ignore_patterns("benchmarks*")))
    runs = pd.read_parquet(study / "runs.parquet")

    def line(**columns: str) -> str:
        changed = {name.replace("_", "."): value for name, value in columns.items()}
        runs.assign(**changed).to_parquet(folder / "runs.parquet")
        assert command(folder, "benchmarks=ours") == 2
        return capsys.readouterr().err.strip()

    assert line(task_model="/nowhere") == "error: task.model=/nowhere: no such folder"
    assert "task.model=shipped: a vit model writes no text" in line(task="vtab", task_model="shipped")
    assert "unknown method 'mine'; give its file: STUDY_METHODS=mine=FILE.py" in line(method="mine")
    weights = folder / "adapters" / runs["run_id"][0] / "adapter_model.safetensors"
    whole = load_file(weights)
    save_file({name: whole[name] for name in list(whole)[1:]}, weights)
    assert f"{weights.parent}: cannot be loaded: Found missing adapter keys" in line()
    weights.write_bytes(b"half a file")
    assert f"{weights.parent}: cannot be loaded: " in line()


@pytest.mark.slow
def test_answers_that_are_not_numbers_score_nothing(
    llama: Path, command: Any, from_hub: None, tmp_path: Path
) -> None:
    """Of nan the harness takes the first answer, which is TruthfulQA's right one: 100 % for a lost model."""
    folder = make_study(tmp_path / "lost", llama, {"lora": float("nan")})
    assert command(folder, "benchmarks=arc,tru1,tru2") == 0
    found = table(folder)
    assert found.loc[found["method"] == "base", "score"].notna().all()
    assert found.loc[found["method"] == "lora", "score"].isna().all() and len(found) == 6


@pytest.mark.slow
def test_in_bfloat16_adapters_stay_beside_the_weights(
    llama: Path, command: Any, from_hub: None, tmp_path: Path
) -> None:
    """As do those that cannot be merged, in any precision. Likelihoods have all digits nevertheless."""
    from study.evaluation import lm_eval as harness

    folder = make_study(tmp_path / "half", llama, {"lora": 0.3}, "bfloat16")
    assert command(folder, "benchmarks=tru2") == 0
    base, lora = table(folder).to_dict("records")
    assert (base["form"], lora["form"]) == ("base", "adapted") and base["score"] != lora["score"]
    weights = torch.linspace(1, 2, 129, dtype=torch.float64).bfloat16()  # each that there is from 1 to 2
    for change in (weights.double() / 513, -weights.double() / 513):
        assert torch.equal((weights.double() + change).bfloat16(), weights)
    model = harness.ready(evaluate.candidates(folder)[1], torch.device("cpu"), "8").lm
    requests = [SimpleNamespace(args=(row["question"], f" {sentence()}")) for row in ARC]
    found = torch.tensor([value for value, _ in model.loglikelihood(requests)])
    assert model.model.dtype == torch.bfloat16 and (found != found.bfloat16()).any()
    folder = make_study(tmp_path / "lily", llama, {"lily": 0.3})
    assert command(folder, "benchmarks=tru2") == 0
    base, lily = table(folder).to_dict("records")
    assert (base["form"], lily["form"]) == ("base", "adapted") and base["score"] != lily["score"]


@pytest.mark.slow
def test_the_harness_has_the_papers_benchmarks(own_tasks: Path) -> None:
    """Names, parts, metrics and prompts without examples, as the installed version has them."""
    from study.evaluation import lm_eval as harness

    index = harness._tasks(str(own_tasks)).task_index
    arc, tru1, tru2 = (index[what.partition(":")[0]].cfg for what in list(evaluate.PAPER.values())[1:])
    assert (arc["dataset_path"], arc["dataset_name"]) == ("allenai/ai2_arc", "ARC-Challenge")
    assert arc["test_split"] == "test"
    for cfg in (arc, tru1, tru2):
        assert "acc" in [each["metric"] for each in cfg["metric_list"]]
    assert "doc_to_choice" in tru1 and "mc1_targets" in tru1["doc_to_choice"]
    assert "mc2_targets" in tru2["doc_to_choice"] and "process_results" in tru2
    assert index["mmlu"].kind.name == "GROUP"
    assert index["mmlu"].cfg["aggregate_metric_list"] == [{"metric": "acc", "weight_by_size": True}]
