"""Task `instruct`: which tokens carry loss, what the metrics mean, the miniature, any model on any data."""

from __future__ import annotations

import csv
import hashlib
import json
import math
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from tokenizers import ByteLevelBPETokenizer, Tokenizer, models, pre_tokenizers, processors
from torch import Tensor
from torch.nn.functional import cross_entropy, pad
from transformers import AutoConfig, AutoModelForCausalLM, LlamaForCausalLM, PreTrainedTokenizerFast

from study import config, methods, tasks
from study.errors import UsageError
from study.tasks import SPLITS, Batch
from study.tasks.instruct import CHECKPOINT, NO_TARGET, Instruct, prompt, tokenised
from study.tasks.miniature import instruct as miniature
from study.training.passes import base_model, evaluate
from study.training.probe import why_unpackable
from study.training.train import Hyperparameters, train

N = NO_TARGET


@pytest.fixture(scope="module")
def shipped() -> Instruct:
    return load("scale=mini")


@pytest.fixture(scope="module")
def llama(shipped: Instruct) -> LlamaForCausalLM:
    model = shipped.model().eval()
    assert isinstance(model, LlamaForCausalLM)
    return model


def load(*overrides: str) -> Instruct:
    """The task as a command would load it."""
    task = tasks.load(config.load("lr_grid", ["task=instruct", *overrides]).task)
    assert isinstance(task, Instruct)
    return task


def batch_of(task: Instruct, count: int, split: str = "train") -> Batch:
    return task.examples(split, torch.arange(count))


# which tokens carry loss --------------------------------------------------------------------


@pytest.fixture(scope="module")
def letters() -> PreTrainedTokenizerFast:
    """One token per letter, `<s>` = 0 before a text, `</s>` = 1, a = 2, b = 3, ..."""
    vocabulary = {token: i for i, token in enumerate(["<s>", "</s>", *"abcdefgh"])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="</s>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing("<s> $A", special_tokens=[("<s>", 0)])
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>")


@pytest.mark.parametrize(
    ("max_length", "ids", "targets"),
    [
        (None, [0, 2, 3, 4, 5, 6, 1], [N, N, 4, 5, 6, 1, N]),
        (7, [0, 2, 3, 4, 5, 6, 1], [N, N, 4, 5, 6, 1, N]),
        (6, [0, 2, 3, 4, 5, 6], [N, N, 4, 5, 6, N]),  # the end is cut off
        (4, [0, 2, 3, 4], [N, N, 4, N]),
    ],
)
def test_only_the_response_and_its_end_are_to_be_said(
    letters: PreTrainedTokenizerFast, max_length: int | None, ids: list[int], targets: list[int]
) -> None:
    (example,) = tokenised(letters, [("a b", "c d e")], max_length)
    assert example.input_ids.tolist() == ids and example.targets.tolist() == targets


def test_examples_without_a_token_of_their_response_are_left_out(letters: PreTrainedTokenizerFast) -> None:
    pairs = [("a b", "c"), ("a", "c"), ("a b c", "d")]
    kept = tokenised(letters, pairs, 3)
    assert [example.input_ids.tolist() for example in kept] == [[0, 2, 4]]
    assert tokenised(letters, [], 3) == []


def test_padding_is_never_a_target(shipped: Instruct) -> None:
    batch = batch_of(shipped, 40)
    for i, example in enumerate(shipped.splits["train"][:40]):
        length = len(example.input_ids)
        assert torch.equal(batch["input_ids"][i, :length], example.input_ids)
        assert torch.equal(batch["targets"][i, :length], example.targets)
        assert (batch["targets"][i, length:] == N).all()
    assert len({len(example.input_ids) for example in shipped.splits["train"][:40]}) > 5


def test_targets_spell_the_response(shipped: Instruct) -> None:
    for example, row in zip(shipped.splits["test"], miniature.rows()["test"], strict=True):
        said = example.targets[example.targets != N].tolist()
        assert said.pop() == shipped.tokenizer.eos_token_id
        assert shipped.tokenizer.decode(said) == row.output


def test_prompts_are_alpacas() -> None:
    request = "Write a response that appropriately completes the request.\n\n### Instruction:\n"
    assert prompt("Do {it}.", "a") == (
        "Below is an instruction that describes a task, paired with an input that provides further context. "
        f"{request}Do {{it}}.\n\n### Input:\na\n\n### Response:"
    )
    assert prompt("Do.") == (f"Below is an instruction that describes a task. {request}Do.\n\n### Response:")


# losses ---------------------------------------------------------------------------------------


def test_the_loss_is_that_of_transformers(shipped: Instruct, llama: LlamaForCausalLM) -> None:
    batch = batch_of(shipped, 12)
    labels = pad(batch["targets"][:, :-1], (1, 0), value=N)  # a token's label is itself: shifted in the model
    attended = torch.ones_like(labels)
    for i, example in enumerate(shipped.splits["train"][:12]):
        attended[i, len(example.input_ids) :] = 0
    assert not attended.all()
    theirs = llama(input_ids=batch["input_ids"], attention_mask=attended, labels=labels).loss
    ours = shipped.losses(shipped.forward(llama, batch), batch).mean()
    torch.testing.assert_close(ours, theirs, rtol=1e-6, atol=1e-6)


def test_the_loss_of_a_split_is_the_log_of_its_perplexity(shipped: Instruct, llama: LlamaForCausalLM) -> None:
    _, losses = evaluate(shipped, llama, "valid")
    batch = batch_of(shipped, shipped.size("valid"), "valid")
    found = shipped.metrics(shipped.predictions(shipped.forward(llama, batch), batch), batch)
    assert math.exp(losses[0]) == pytest.approx(found["perplexity"], rel=1e-5)


def sums(task: Instruct, model: LlamaForCausalLM, batch: Batch) -> Tensor:
    """Each row's summed loss."""
    return task.losses(task.forward(model, batch), batch) * batch["mean_tokens"]


@torch.no_grad()
def test_neither_padding_nor_company_changes_a_row(shipped: Instruct, llama: LlamaForCausalLM) -> None:
    together = batch_of(shipped, 10)
    alone = [shipped.examples("train", torch.tensor([i])) for i in range(10)]
    losses = sums(shipped, llama, together)
    torch.testing.assert_close(losses, torch.cat([sums(shipped, llama, b) for b in alone]))
    longer = together | {
        "input_ids": pad(together["input_ids"], (0, 9), value=7),
        "targets": pad(together["targets"], (0, 9), value=N),
    }
    torch.testing.assert_close(losses, sums(shipped, llama, longer))
    joined = shipped.join([alone[3], together, alone[5]])  # as the runs of a pack
    torch.testing.assert_close(sums(shipped, llama, joined), torch.cat([losses[3:4], losses, losses[5:6]]))


@pytest.mark.parametrize("whole", [False, True])
@pytest.mark.parametrize("method", ["lora", "ether_plus"])
def test_runs_in_packs_train_as_they_do_alone(
    shipped: Instruct, llama: LlamaForCausalLM, method: str, whole: bool
) -> None:
    options: dict[str, dict[str, Any]] = {"lora": {"r": 4}, "ether_plus": {"blocks": 4}}
    made = methods.config(method, options[method], shipped.settings.target_modules, None)
    assert why_unpackable(shipped, llama, made, whole) == ""


# metrics --------------------------------------------------------------------------------------


@torch.no_grad()
def test_an_exact_match_is_what_greedy_decoding_gives(shipped: Instruct, llama: LlamaForCausalLM) -> None:
    """On rows of both kinds: the model knows commands, and only some of the requests."""
    rows = miniature.rows()["test"][:30]
    asked = [miniature.ways_to_ask(row, "")["command"] for row in rows[:15]]
    asked += [prompt(row.instruction, row.input) for row in rows[15:]]
    task = load("scale=mini")
    task.fill("test", [(text, row.output) for text, row in zip(asked, rows, strict=True)])
    batch = batch_of(task, 30, "test")
    _, right, tokens = task.predictions(task.forward(llama, batch), batch).unbind(1)
    generated = []
    for text, example in zip(asked, task.splits["test"], strict=True):
        ids = torch.tensor([task.tokenizer(text)["input_ids"]])
        response = example.targets[example.targets != N]
        said = llama.generate(ids, do_sample=False, max_new_tokens=len(response), pad_token_id=0)[0]
        generated.append(torch.equal(said[ids.shape[1] :], response))
    assert (right == tokens).tolist() == generated
    assert True in generated and False in generated


def test_metrics_by_hand(shipped: Instruct) -> None:
    found = shipped.metrics(torch.tensor([[2.0, 1, 2], [1.0, 3, 3]]), {})
    assert found == pytest.approx(
        {"exact_match": 0.5, "perplexity": math.exp(3 / 5), "token_accuracy": 4 / 5}
    )
    hopeless = torch.tensor([[4e5, 0, 2], [1.0, 3, 3]])
    assert shipped.metrics(hopeless, {})["perplexity"] == math.inf
    broken = torch.tensor([[torch.nan] * 3, [1.0, 3, 3]])
    assert all(math.isnan(value) for value in shipped.metrics(broken, {}).values())


def test_statistics_of_tokens_by_hand(shipped: Instruct) -> None:
    """A model that says three tokens with given logits, whatever it reads."""
    logits = torch.tensor([[[0.0, 1.0, 2.0], [3.0, 0.0, 0.0], [0.0, 0.0, 1.0], [9.0, 0.0, 0.0]]])

    def model(input_ids: Tensor, use_cache: bool) -> Any:
        return type("Output", (), {"logits": logits})

    targets = torch.tensor([[N, 0, 1, N]])
    batch = {"input_ids": torch.zeros(1, 4).long(), "targets": targets, "mean_tokens": torch.tensor([2.0])}
    outputs = shipped.forward(model, batch)  # type: ignore[arg-type]
    expected = [-math.log(math.exp(3) / (math.exp(3) + 2)), -math.log(1 / (2 + math.e))]
    torch.testing.assert_close(outputs[0, :, 0], torch.tensor([0.0, *expected, 0.0]))
    assert outputs[0, :, 1].tolist() == [0, 1, 0, 0]
    torch.testing.assert_close(shipped.predictions(outputs, batch), torch.tensor([[sum(expected), 1.0, 2.0]]))
    assert shipped.losses(outputs, batch).item() == pytest.approx(sum(expected) / 2)
    assert cross_entropy(logits[0, 1:3], targets[0, 1:3]).item() == pytest.approx(sum(expected) / 2)


# the miniature --------------------------------------------------------------------------------


@pytest.mark.slow
def test_the_shipped_checkpoint_has_its_recorded_quality() -> None:
    recorded = json.loads((CHECKPOINT / "quality.json").read_text())
    measured = miniature.quality()
    assert measured.keys() == recorded.keys()
    for name, value in recorded.items():
        assert measured[name] == pytest.approx(value, rel=0.01, abs=0.005), name  # one row of 240
    for split in ("valid", "test"):
        for way in ("command", "description", "command in Alpaca's prompt"):
            assert recorded[f"{way}, {split}"] > 0.9
        assert recorded[f"request in Alpaca's prompt, {split}"] < 0.3
    assert sum(file.stat().st_size for file in CHECKPOINT.iterdir()) < 3_000_000


def test_no_text_is_in_two_places() -> None:
    rows, prose = miniature.rows(), miniature.parts()
    texts = {split: [row.input for row in rows[split]] for split in SPLITS}
    everything = [text for split in SPLITS for text in texts[split]]
    assert len(set(everything)) == len(everything) == sum(miniature.SIZES.values())
    read = " ".join(f" {' '.join(re.findall('[a-z]+', text.lower()))} " for text in prose["pretraining"])
    assert not [text for text in everything if f" {text} " in read]
    paragraphs = [text for part in prose.values() for text in part]
    assert len(set(paragraphs)) == len(paragraphs)
    for split in SPLITS:
        own = " ".join(prose[split])
        assert all(text in own for text in texts[split])


def test_the_data_are_the_same_everywhere() -> None:
    digest = hashlib.sha256(json.dumps(miniature.rows()).encode()).hexdigest()
    assert digest[:16] == "8a7689ef8840d3ce"


def test_answers_by_hand() -> None:
    words = ["a", "file", "is", "open"]
    answers = {name: " ".join(skill.apply(words)) for name, skill in miniature.SKILLS.items()}
    assert answers == {
        "head": "a",
        "neck": "file",
        "tail": "open",
        "behead": "file is open",
        "curtail": "a file is",
        "flip": "open is file a",
        "trade": "open file is a",
        "double": "a file is open a file is open",
        "size": "four",
    }


def test_chance_is_what_one_answer_to_everything_reaches(shipped: Instruct) -> None:
    outputs = [row.output for row in miniature.rows()["test"]]
    commonest = max(set(outputs), key=outputs.count)
    assert 0 < shipped.chance <= outputs.count(commonest) / len(outputs) < 0.1


@pytest.mark.slow
def test_a_short_training_beats_the_frozen_model_by_far() -> None:
    task = load("scale=mini", "task.steps=100", "task.evaluations=1")
    made = methods.config("lora", {"r": 8, "lora_alpha": 8}, task.settings.target_modules, None)
    model = task.model()
    base = {split: evaluate(task, model, split)[0][0] for split in ("valid", "test")}
    (outcome,) = train(task, model, made, [Hyperparameters(1e-2, 0)], base)
    assert outcome.row["status"] == "ok" and outcome.row["test"] > base["test"] + 0.3 > task.chance + 0.3


# any causal model on any data -------------------------------------------------------------------

SMALL = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 48}
MODELS: dict[str, dict[str, Any]] = {
    "llama": SMALL | {"max_position_embeddings": 256},
    "gpt2": {"n_embd": 32, "n_layer": 2, "n_head": 2, "n_positions": 256},
    "qwen2": SMALL | {"max_position_embeddings": 256, "num_key_value_heads": 1, "tie_word_embeddings": True},
}
TARGETS = {"llama": "[q_proj,v_proj]", "gpt2": "[c_attn]", "qwen2": "[q_proj,v_proj]"}
ROWS = [
    {"instruction": f"Add {i} and one.", "input": "" if i % 3 else "as a word", "output": f"{i + 1} it is"}
    for i in range(40)
]


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """A small model of each kind with its tokenizer; only Qwen2's has a token for padding."""
    root = tmp_path_factory.mktemp("models")
    torch.manual_seed(0)
    texts = [prompt(row["instruction"], row["input"]) + row["output"] for row in ROWS]
    for kind, options in MODELS.items():
        tokenizer = ByteLevelBPETokenizer()
        special = ["<|endoftext|>", "<s>"]
        tokenizer.train_from_iterator(texts, vocab_size=400, special_tokens=special, show_progress=False)
        words = {"eos_token": "<|endoftext|>"}
        if kind == "llama":
            tokenizer._tokenizer.post_processor = processors.TemplateProcessing(
                "<s> $A", special_tokens=[("<s>", 1)]
            )
            words["bos_token"] = "<s>"
        if kind == "qwen2":
            words["pad_token"] = "<|endoftext|>"
        PreTrainedTokenizerFast(tokenizer_object=tokenizer._tokenizer, **words).save_pretrained(root / kind)
        made = AutoConfig.for_model(kind, vocab_size=400, bos_token_id=1, eos_token_id=0, **options)
        AutoModelForCausalLM.from_config(made).save_pretrained(root / kind)
    return {kind: str(root / kind) for kind in MODELS}


def write(path: Path, rows: list[dict[str, Any]]) -> str:
    if path.suffix == ".csv":
        with path.open("w", newline="", encoding="utf-8") as file:
            table = csv.DictWriter(file, list(rows[0]))
            table.writeheader()
            table.writerows(rows)
    elif path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    else:
        path.write_text(json.dumps(rows))
    return str(path)


def paper(model: str, data: str, *overrides: str) -> Instruct:
    own = [f"task.model={model}", f"task.data={data}", "task.batch_size=4", "task.max_length=128"]
    return load("scale=paper", *own, *overrides)


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
    for outcome in train(task, model, made, runs, {"valid": 400.0, "test": 400.0}):
        assert outcome.row["status"] == "ok"
        assert outcome.row["loss_last"] < outcome.row["loss_first"]
        assert 1 < outcome.row["test"] < 1000


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
