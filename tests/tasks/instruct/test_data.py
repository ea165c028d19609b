"""Any causal model on any data in Alpaca's format."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from support.base_scores import untouched
from support.texts.instructions import MODELS, ROWS, TARGETS, paper, write
from transformers import AutoConfig, AutoModelForCausalLM

from study import methods
from study.errors import UsageError
from study.tasks import SPLITS
from study.tasks.loading.responses import NO_TARGET
from study.training.hyperparameters import Hyperparameters
from study.training.passes import base_model
from study.training.train import train

N = NO_TARGET


@pytest.mark.parametrize(
    ("kind", "file", "columns"),
    [
        ("llama", "data.json", ("instruction", "input", "output")),
        ("gpt2", "data.jsonl", ("instruction", "output")),
        ("qwen2", "data.csv", ("output", "instruction", "input")),
    ],
)
def test_the_papers_path_on_models_and_data_of_each_kind(
    checkpoints: dict[str, str], tmp_path: Path, kind: str, file: str, columns: tuple[str, ...]
) -> None:
    data = write(tmp_path / file, [{name: row[name] for name in columns} for row in ROWS])
    task = paper(
        checkpoints[kind], data, f"task.target_modules={TARGETS[kind]}", "task.steps=3", "task.evaluations=1",
        "task.warmup_steps=0", "task.accumulate=2",
    )  # fmt: skip
    assert [task.size(split) for split in SPLITS] == [32, 4, 4]
    assert (task.metric, task.higher_is_better, task.chance) == ("perplexity", False, 400.0)
    asked = [task.tokenizer.decode(example.input_ids) for example in task.splits["train"]]
    assert ("as a word" in " ".join(asked)) == ("input" in columns)
    starts = {example.input_ids[0].item() for example in task.splits["train"]}
    assert (starts == {1}) == (kind == "llama")  # only Llama's tokenizer begins a text with a token
    loaded = task.model()
    assert {weight.dtype for weight in loaded.parameters()} == {torch.bfloat16}
    model = base_model(task, torch.device("cpu"))
    made = methods.config("lora", {"r": 2}, task.settings.target_modules, None)
    runs = [Hyperparameters(1e-2, 0), Hyperparameters(1e-2, 1)]
    for trained in train(task, model, made, runs, untouched(400.0)):
        assert trained.outcome.status == "ok"
        assert trained.outcome.loss_last < trained.outcome.loss_first
        assert 1 < trained.outcome.test < 1000


def test_a_folder_of_splits_is_used_as_it_is(checkpoints: dict[str, str], tmp_path: Path) -> None:
    for name, rows in (("train", ROWS[:20]), ("validation", ROWS[20:25]), ("test", ROWS[25:])):
        write(tmp_path / f"{name}.jsonl", rows)
    task = paper(checkpoints["gpt2"], str(tmp_path))
    assert [task.size(split) for split in SPLITS] == [20, 5, 15]


def test_what_is_left_out_is_said_in_one_line(
    checkpoints: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [dict(row) for row in ROWS]
    rows[4]["output"], rows[9]["output"] = "", " "
    rows[20]["instruction"] = "word " * 200
    task = paper(checkpoints["gpt2"], write(tmp_path / "data.json", rows))
    (line,) = capsys.readouterr().out.splitlines()
    assert line.endswith(
        "rows left out: 2 without an output, first row 5 of train; 1 with a prompt of 128 tokens or more"
    )
    assert sum(task.size(split) for split in SPLITS) == 37


def test_longer_examples_are_cut(checkpoints: dict[str, str], tmp_path: Path) -> None:
    rows = [row | {"output": "word " * 200} for row in ROWS]
    task = paper(checkpoints["llama"], write(tmp_path / "data.json", rows))
    for example in task.splits["train"]:
        assert len(example.input_ids) == 128
        assert task.tokenizer.eos_token_id not in example.targets
        assert example.targets[-1] == N and example.targets[-2] == example.input_ids[-1]


@pytest.mark.parametrize(
    ("file", "rows", "overrides", "message"),
    [
        ("a.csv", [{"instructions": "a", "output": "b"}] * 9, [],
         "no instruction column .*has instructions, output; nearest: instructions"),
        ("a.jsonl", [{"instruction": "a", "answer": "b"}] * 9, [],
         "no output column .*has instruction, answer"),
        ("a.json", None, [], r"a\.json: the file is empty"),
        ("a.json", [row | {"output": ""} for row in ROWS], [], r"a\.json: no row has an output"),
        ("a.json", ROWS[:1], [], "too few"),
        ("a.json", ROWS, ["task.max_length=300"], "task.max_length=300: .*gpt2 takes 256 tokens at most"),
        ("a.json", ROWS, ["task.max_length=9"], "task.max_length=9: no prompt .* leaves room for a response"),
    ],
)  # fmt: skip
def test_bad_data_and_settings_are_refused_in_one_line(
    checkpoints: dict[str, str], tmp_path: Path, file: str, rows: Any, overrides: list[str], message: str
) -> None:
    (tmp_path / file).write_text("")
    with pytest.raises(UsageError, match=message) as raised:
        paper(checkpoints["gpt2"], write(tmp_path / file, rows) if rows else str(tmp_path / file), *overrides)
    assert "\n" not in str(raised.value)


def test_tokenizers_that_do_not_fit_are_refused(checkpoints: dict[str, str], tmp_path: Path) -> None:
    data = write(tmp_path / "good.json", ROWS)
    AutoModelForCausalLM.from_config(
        AutoConfig.for_model("gpt2", vocab_size=100, **MODELS["gpt2"])
    ).save_pretrained(tmp_path / "small")
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (tmp_path / "small" / name).write_bytes((Path(checkpoints["gpt2"]) / name).read_bytes())
    with pytest.raises(UsageError, match="its tokenizer has a token 3.., the model knows 100"):
        paper(str(tmp_path / "small"), data)
    endless = tmp_path / "small" / "tokenizer_config.json"
    endless.write_text(json.dumps(json.loads(endless.read_text()) | {"eos_token": None, "pad_token": "<s>"}))
    with pytest.raises(UsageError, match="no token that ends a text"):
        paper(str(tmp_path / "small"), data)
