"""Task `glue`: the miniature and its checkpoint; any classifier on any labelled texts; metrics as GLUE's."""

from __future__ import annotations

import csv
import hashlib
import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from scipy.stats import pearsonr, spearmanr
from sklearn.metrics import accuracy_score, f1_score, matthews_corrcoef
from tokenizers import ByteLevelBPETokenizer, Tokenizer, models, pre_tokenizers, processors
from transformers import AutoConfig, AutoModel, PreTrainedTokenizerFast

from study import config, methods, tasks
from study.errors import UsageError
from study.tasks import SPLITS
from study.tasks.glue import GLUE, METRICS, MINIATURE, Glue
from study.tasks.loading.pretrained import block_layers
from study.tasks.miniature import glue as miniature
from study.training.train import Hyperparameters, train

WORDS = [
    "a", "cat", "dog", "bird", "sat", "ran", "flew", "on", "under", "over", "the", "mat", "tree", "house",
    "quickly", "slowly", ".", "and", "not", "it",
]  # fmt: skip
SMALL = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "max_position_embeddings": 24}
V3 = {
    "relative_attention": True, "pos_att_type": ["p2c", "c2p"], "share_att_key": True, "position_buckets": 4,
    "norm_rel_ebd": "layer_norm", "position_biased_input": False, "type_vocab_size": 0,
}  # fmt: skip
STEADY = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0, "intermediate_size": 48}
MODELS: dict[str, dict[str, Any]] = {
    "deberta-v2": SMALL | V3 | STEADY,
    "bert": SMALL | STEADY,
    "gpt2": {
        "n_embd": 32, "n_layer": 2, "n_head": 2, "n_positions": 24,
        "resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0,
    },
    "llama": SMALL | {"intermediate_size": 48},
    "qwen2": SMALL | {"intermediate_size": 48, "num_key_value_heads": 2},
}  # fmt: skip
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
ENCODERS = ("deberta-v2", "bert")
BASE = {"valid": 0.0, "test": 0.0}
Rows = list[dict[str, Any]]


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """A small body without a head, with its tokenizer, of each kind; decoders have no padding token."""
    root = tmp_path_factory.mktemp("models")
    torch.manual_seed(0)
    of_words = Tokenizer(models.WordLevel({w: i for i, w in enumerate(SPECIAL + WORDS)}, unk_token="[UNK]"))
    of_words.pre_tokenizer = pre_tokenizers.Whitespace()
    of_words.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", 2), ("[SEP]", 3)],
    )
    encoder = PreTrainedTokenizerFast(
        tokenizer_object=of_words, pad_token="[PAD]", unk_token="[UNK]", cls_token="[CLS]", sep_token="[SEP]"
    )
    of_bytes = ByteLevelBPETokenizer()
    of_bytes.train_from_iterator([" ".join(WORDS)] * 2, vocab_size=300, special_tokens=["<|endoftext|>"])
    decoder = PreTrainedTokenizerFast(
        tokenizer_object=of_bytes._tokenizer, eos_token="<|endoftext|>", padding_side="left"
    )
    for name, options in MODELS.items():
        tokenizer = encoder if name in ENCODERS else decoder
        tokenizer.save_pretrained(root / name)
        AutoModel.from_config(
            AutoConfig.for_model(name, vocab_size=len(tokenizer), **options)
        ).save_pretrained(root / name)
    return {name: str(root / name) for name in MODELS}


def sentences(count: int, seed: int = 0, longest: int = 6) -> list[str]:
    generator = torch.Generator().manual_seed(seed)

    def number(below: int) -> int:
        return int(torch.randint(below, (1,), generator=generator))

    return [" ".join(WORDS[number(len(WORDS))] for _ in range(2 + number(longest - 1))) for _ in range(count)]


def rows_of(
    count: int, label: Callable[[int], Any], columns: tuple[str, ...] = ("text",), seed: int = 0
) -> Rows:
    texts = {name: sentences(count, seed + 100 * i) for i, name in enumerate(columns)}
    return [{**{name: texts[name][i] for name in columns}, "label": label(i)} for i in range(count)]


def write(path: Path, rows: Rows) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        if path.suffix in (".csv", ".tsv"):
            table = csv.DictWriter(file, list(rows[0]), delimiter="," if path.suffix == ".csv" else "\t")
            table.writeheader()
            table.writerows(rows)
        elif path.suffix == ".jsonl":
            file.writelines(json.dumps(row) + "\n" for row in rows)
        else:
            json.dump(rows, file)
    return str(path)


def load(model: str, data: str, *overrides: str) -> Glue:
    """The task at `paper` scale, as a command would load it."""
    settings = config.load(
        "lr_grid",
        ["task=glue", "scale=paper", "task.subset=null", f"task.model={model}", f"task.data={data}",
         "task.batch_size=4", *overrides],
    ).task  # fmt: skip
    task = tasks.load(settings)
    assert isinstance(task, Glue)
    return task


# the paper's path --------------------------------------------------------------------------


@pytest.mark.parametrize("name", MODELS)
def test_a_classifier_of_each_family_trains_on_pairs_in_packs(
    name: str, checkpoints: dict[str, str], tmp_path: Path
) -> None:
    data = write(tmp_path / "pairs.csv", rows_of(30, lambda i: "xyz"[i % 3], ("premise", "hypothesis")))
    task = load(checkpoints[name], data, "task.steps=2", "task.evaluations=1", "task.warmup_steps=0")
    assert [task.size(split) for split in SPLITS] == [24, 3, 3]
    assert ("token_type_ids" in task.batch(0, 0)) == (name == "bert")
    model = task.model()
    assert set(task.head_modules) == {
        "deberta-v2": {"pooler.dense", "classifier"}, "bert": {"classifier"},
    }.get(name, {"score"})  # fmt: skip
    targets = block_layers(model)
    assert {
        "deberta-v2": "attention.self.query_proj",
        "bert": "attention.self.query",
        "gpt2": "attn.c_attn",
    }.get(name, "self_attn.q_proj") in targets
    adapter = methods.config("ether", {"blocks": 2}, targets, list(task.head_modules))
    runs = [Hyperparameters(1e-2, 0), Hyperparameters(1e-3, 1)]
    packed = train(task, model, adapter, runs, BASE, whole=name == "deberta-v2")
    for run, outcome in zip(runs, packed, strict=True):
        row, (alone,) = outcome.row, train(task, model, adapter, [run], BASE)
        assert row["status"] in ("ok", "diverged") and row["weight_distance"] > 0
        assert row["metric"] == "accuracy" and row["test"] in (0, 1 / 3, 2 / 3, 1)
        for loss in ("loss_first", "loss_last"):
            assert row[loss] == pytest.approx(alone.row[loss], rel=1e-4)


@pytest.mark.parametrize("name", MODELS)
def test_padding_changes_no_loss(name: str, checkpoints: dict[str, str], tmp_path: Path) -> None:
    rows = rows_of(40, lambda i: i % 2)
    rows[0]["text"] = "it ran"
    rows[1]["text"] = " ".join(sentences(1, longest=18) + WORDS[:12])
    task = load(checkpoints[name], write(tmp_path / "rows.jsonl", rows))
    torch.manual_seed(0)
    model = task.model().eval()
    lengths = [
        task.examples("train", torch.tensor([i]))["attention_mask"].sum() for i in range(task.size("train"))
    ]
    order = torch.tensor(lengths).argsort()
    short, both = task.examples("train", order[:1]), task.examples("train", order[[0, -1]])
    assert both["input_ids"].shape[1] > short["input_ids"].shape[1] + 4
    joined = task.join([short, task.examples("train", order[-1:])])
    for key, value in both.items():
        assert torch.equal(joined[key], value), key
    alone, padded = (task.losses(task.forward(model, batch), batch) for batch in (short, both))
    torch.testing.assert_close(padded[0], alone[0], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".json", ".jsonl"])
def test_a_file_of_each_format_reads_the_same(
    suffix: str, checkpoints: dict[str, str], tmp_path: Path
) -> None:
    rows = rows_of(20, lambda i: i % 2, ("sentence1", "sentence2"))
    rows[3]["sentence1"] = 'the cat, "quickly"'
    task = load(checkpoints["bert"], write(tmp_path / f"rows{suffix}", rows))
    read = {
        (*texts, label)
        for split in SPLITS
        for *texts, label in zip(*task.splits[split].texts, task.splits[split].labels.tolist(), strict=True)
    }
    assert read == {(row["sentence1"], row["sentence2"], row["label"]) for row in rows}
    assert [task.size(split) for split in SPLITS] == [16, 2, 2]


def test_a_folder_with_splits_and_regression(checkpoints: dict[str, str], tmp_path: Path) -> None:
    for number, (split, count) in enumerate((("train", 12), ("validation", 5), ("test", 7))):
        rows = rows_of(count, lambda i: i / 2, ("text", "text2"), seed=number)
        write(tmp_path / "data" / f"{split}.tsv", rows)
    task = load(checkpoints["deberta-v2"], str(tmp_path / "data"))
    assert [task.size(split) for split in SPLITS] == [12, 5, 7]
    assert task.metric == "correlation" and task.chance == 0
    batch = task.examples("test", torch.arange(7))
    assert batch["labels"].tolist() == [i / 2 for i in range(7)]
    outputs = task.forward(task.model().eval(), batch)
    assert outputs.shape == (7, 1)
    losses = task.losses(outputs, batch)
    assert losses.tolist() == pytest.approx(((outputs[:, 0] - batch["labels"]) ** 2).tolist())
    assert task.predictions(outputs, batch).tolist() == outputs[:, 0].tolist()


@pytest.mark.parametrize(
    ("labels", "classes"),
    [
        (["no", "yes"], ("no", "yes")),
        ([0, 1, 2], ("0", "1", "2")),
        ([7, -3], ("-3", "7")),
        ([False, True], ("False", "True")),
        ([0.0, 1.0], ()),
    ],
)
def test_whole_numbers_and_text_are_classes_and_fractions_are_not(
    labels: list[Any], classes: tuple[str, ...], checkpoints: dict[str, str], tmp_path: Path
) -> None:
    data = write(tmp_path / "rows.jsonl", rows_of(30, lambda i: labels[i % len(labels)]))
    task = load(checkpoints["bert"], data)
    assert task.subset.classes == classes
    assert task.model().num_labels == max(1, len(classes))


@pytest.mark.slow
def test_every_glue_task_by_its_name(checkpoints: dict[str, str], tmp_path: Path) -> None:
    """Local copies with GLUE's columns, labels as numbers or as names, and labels of the test hidden."""
    for name, subset in GLUE.items():
        count = max(len(subset.classes), 2)

        def label(i: int, count: int = count, hidden: bool = False) -> Any:
            return -1 if hidden else i % count

        for split, rows in (
            ("train", rows_of(30, label, subset.columns)),
            ("validation", rows_of(8, label, subset.columns, seed=1)),
            ("test", rows_of(5, lambda i: -1, subset.columns, seed=2)),
        ):
            if name == "rte" and split != "test":
                rows = [row | {"label": subset.classes[row["label"]]} for row in rows]
            if name == "mrpc" and split == "test":
                rows = [{k: v for k, v in row.items() if k != "label"} for row in rows]
            write(tmp_path / name / f"{split}.jsonl", rows)
        task = load(checkpoints["bert"], str(tmp_path / name), f"task.subset={name}")
        assert [task.size(split) for split in SPLITS] == [27, 3, 8], name
        assert task.splits["test"].labels.tolist() == [label(i) for i in range(8)]
        assert task.max_length == 24  # as far as this model reaches
        expected = {"cola": "matthews", "stsb": "correlation"}.get(name, "accuracy")
        assert task.metric == expected
        share = (
            task.splits["test"].labels.double().eq(task.splits["train"].labels.double().mode()[0]).double()
        )
        assert task.chance == (pytest.approx(share.mean().item()) if expected == "accuracy" else 0)


def test_the_published_data_set_has_its_hidden_test_and_matched_validation(
    checkpoints: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from datasets import ClassLabel, Dataset, Features, Value

    features = Features(
        {
            "premise": Value("string"),
            "hypothesis": Value("string"),
            "label": ClassLabel(names=list(GLUE["mnli"].classes)),
        }
    )

    def part(count: int, seed: int, label: Callable[[int], int]) -> Dataset:
        return Dataset.from_list(rows_of(count, label, ("premise", "hypothesis"), seed), features=features)

    asked = []

    def load_dataset(source: str, subset: str | None) -> dict[str, Dataset]:
        asked.append((source, subset))
        return {
            "train": part(50, 0, lambda i: i % 3),
            "validation_matched": part(9, 1, lambda i: i % 3),
            "validation_mismatched": part(4, 2, lambda i: i % 3),
            "test_matched": part(4, 3, lambda i: -1),
        }

    monkeypatch.setattr("datasets.load_dataset", load_dataset)
    task = load(checkpoints["bert"], "nyu-mll/glue", "task.subset=mnli")
    assert asked == [("nyu-mll/glue", "mnli")]
    assert [task.size(split) for split in SPLITS] == [45, 5, 9]
    assert task.splits["test"].texts[0] == sentences(9, 1)


def test_mnli_in_a_folder(checkpoints: dict[str, str], tmp_path: Path) -> None:
    for number, (name, count) in enumerate(
        (("train", 50), ("validation_matched", 9), ("validation_mismatched", 4))
    ):
        write(tmp_path / f"{name}.jsonl", rows_of(count, lambda i: i % 3, ("premise", "hypothesis"), number))
    task = load(checkpoints["bert"], str(tmp_path), "task.subset=mnli")
    assert [task.size(split) for split in SPLITS] == [45, 5, 9]
    assert task.splits["test"].texts[0] == sentences(9, 1)


@pytest.mark.parametrize("suffix", [".csv", ".tsv"])
def test_words_that_pandas_takes_for_missing_are_text(
    suffix: str, checkpoints: dict[str, str], tmp_path: Path
) -> None:
    words = ["None", "NA", "null", "nan", "N/A", "n/a", "NaN", "<NA>", "a", "b"]
    rows: Rows = [{"text": word, "text2": "", "label": i % 2} for i, word in enumerate(words)]
    task = load(checkpoints["bert"], write(tmp_path / f"rows{suffix}", rows))
    assert {text for split in SPLITS for text in task.splits[split].texts[0]} == set(words)
    assert {text for split in SPLITS for text in task.splits[split].texts[1]} == {""}
    rows[4]["label"] = "NA"
    with pytest.raises(UsageError, match="row 5 of train has no label"):
        load(checkpoints["bert"], write(tmp_path / f"other{suffix}", rows))


def test_lengths(checkpoints: dict[str, str], tmp_path: Path) -> None:
    rows = rows_of(20, lambda i: i % 2)
    rows += [{"text": " ".join(WORDS * 5), "label": i % 2} for i in range(10)]
    data = write(tmp_path / "rows.csv", rows)
    task = load(checkpoints["gpt2"], data)
    assert task.examples("train", torch.arange(20))["input_ids"].shape[1] == 24  # cut to what the model takes
    short = load(checkpoints["gpt2"], data, "task.max_length=10")
    assert short.examples("train", torch.arange(20))["input_ids"].shape[1] == 10
    with pytest.raises(UsageError, match=r"task\.max_length=25: .*gpt2 takes at most 24 tokens"):
        load(checkpoints["gpt2"], data, "task.max_length=25")
    assert {name: subset.max_length for name, subset in GLUE.items()} == {
        "mnli": 256, "sst2": 128, "cola": 64, "qqp": 320, "qnli": 512, "rte": 320, "mrpc": 320, "stsb": 128,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"sentence": "the cat"}, r"no text column \(text or sentence1 or .*\); has sentense, label"),
        ({"label": 0}, r"no label column \(label\); has text, labels; nearest: labels"),
        ({"row": {"text": None}}, r"row 3 of train has no text"),
        ({"row": {"text": "  "}}, r"row 3 of train: text empty"),
        ({"row": {"label": None}}, r"row 3 of train has no label"),
        ({"labels": [1]}, r"every training label is 1; needs two or more"),
        ({"labels": [[0], [1]]}, r"a label is text or a number"),
        ({"labels": [0.5, math.inf]}, r"label inf in row 2 of train is not a number"),
    ],
)
def test_rows_that_cannot_be_learnt_from(
    change: dict[str, Any], message: str, checkpoints: dict[str, str], tmp_path: Path
) -> None:
    labels = change.get("labels", ["x", "y"])
    rows = rows_of(20, lambda i: labels[i % len(labels)])
    if "sentence" in change:
        rows = [{"sentense": row["text"], "label": row["label"]} for row in rows]
    if "label" in change:
        rows = [{"text": row["text"], "labels": row["label"]} for row in rows]
    rows[2] |= change.get("row", {})
    with pytest.raises(UsageError, match=message) as caught:
        load(checkpoints["bert"], write(tmp_path / "rows.jsonl", rows))
    assert str(caught.value).startswith("task.data=") and "\n" not in str(caught.value)


def test_a_padding_token_that_the_model_does_not_know(checkpoints: dict[str, str], tmp_path: Path) -> None:
    data = write(tmp_path / "rows.csv", rows_of(20, lambda i: i % 2))
    model = tmp_path / "llama"
    shutil.copytree(checkpoints["llama"], model)
    tokenizer = PreTrainedTokenizerFast.from_pretrained(model)
    tokenizer.add_special_tokens({"pad_token": "[PAD]"})
    tokenizer.save_pretrained(model)
    count = len(tokenizer) - 1
    with pytest.raises(UsageError, match=rf"pads with token {count}, the model knows {count}; enlarge"):
        load(str(model), data)


def test_labels_that_training_does_not_have(checkpoints: dict[str, str], tmp_path: Path) -> None:
    write(tmp_path / "train.csv", rows_of(10, lambda i: "xy"[i % 2]))
    write(tmp_path / "test.csv", rows_of(4, lambda i: "xyxz"[i]))
    with pytest.raises(UsageError, match=r"label 'z' in row 4 of test is none of: x, y"):
        load(checkpoints["bert"], str(tmp_path))
    data = write(tmp_path / "cola.csv", rows_of(10, lambda i: i % 3, ("sentence",)))
    with pytest.raises(UsageError, match=r"label 2 in row 3 of train is none of: unacceptable, acceptable"):
        load(checkpoints["bert"], data, "task.subset=cola")
    (tmp_path / "empty.csv").write_text("")
    with pytest.raises(UsageError, match="the file is empty"):
        load(checkpoints["bert"], str(tmp_path / "empty.csv"))


def test_subsets_that_are_not_there(checkpoints: dict[str, str]) -> None:
    for subset, message in (
        ("mnle", r"task\.subset=mnle: not one of GLUE's; nearest: mnli"),
        ("topic", r"task\.subset=topic: not one of GLUE's; topic is at scale=mini"),
        ("null", r"task\.subset is missing: one of GLUE's, mnli, sst2"),
    ):
        with pytest.raises(UsageError, match=message):
            load(checkpoints["bert"], "nyu-mll/glue", f"task.subset={subset}")
    for subset, message in (
        ("topics", r"task\.subset=topics: not one of the miniature's; nearest: topic"),
        ("cola", r"task\.subset=cola: not one of the miniature's; cola is at scale=paper"),
    ):
        with pytest.raises(UsageError, match=message):
            tasks.load(config.load("lr_grid", ["task=glue", f"task.subset={subset}"]).task)


def test_the_tokenizer_of_deberta_v3_is_read_from_its_sentencepiece_model(tmp_path: Path) -> None:
    """microsoft/deberta-v3-base ships spm.model and no tokenizer.json."""
    import sentencepiece

    folder = tmp_path / "v3"
    folder.mkdir()
    (tmp_path / "prose.txt").write_text("\n".join(list(miniature.sentences("train"))[:300]))
    sentencepiece.SentencePieceTrainer.train(
        input=str(tmp_path / "prose.txt"), model_prefix=str(folder / "spm"), vocab_size=200, minloglevel=2,
        pad_id=0, bos_id=1, eos_id=2, unk_id=3, pad_piece="[PAD]", bos_piece="[CLS]", eos_piece="[SEP]",
        unk_piece="[UNK]",
    )  # fmt: skip
    (folder / "tokenizer_config.json").write_text('{"do_lower_case": false, "vocab_type": "spm"}')
    AutoModel.from_config(
        AutoConfig.for_model("deberta-v2", vocab_size=256, **MODELS["deberta-v2"])
    ).save_pretrained(folder)
    data = write(tmp_path / "rows.jsonl", [{"text": "Return the value.", "label": i % 2} for i in range(20)])
    task = load(str(folder), data)
    ids = task.examples("test", torch.tensor([0]))["input_ids"][0].tolist()
    pieces = sentencepiece.SentencePieceProcessor(model_file=str(folder / "spm.model"))
    assert ids == [1, *pieces.encode("Return the value."), 2]
    batch = task.batch(0, 0)
    assert torch.isfinite(task.losses(task.forward(task.model().eval(), batch), batch)).all()


# metrics -----------------------------------------------------------------------------------


def test_metrics_equal_the_reference_and_what_one_finds_by_hand(
    checkpoints: dict[str, str], tmp_path: Path
) -> None:
    """True positives 3, false negatives 1, false positives 2, true negatives 4."""
    true = torch.tensor([1, 1, 1, 1, 0, 0, 0, 0, 0, 0])
    found = torch.tensor([1, 1, 1, 0, 1, 1, 0, 0, 0, 0])
    by_hand = {
        "cola": {"matthews": (3 * 4 - 2 * 1) / math.sqrt(5 * 4 * 6 * 5)},
        "mrpc": {"accuracy": 0.7, "f1": 2 * 3 / (2 * 3 + 2 + 1)},
        "sst2": {"accuracy": 0.7},
    }
    reference = {
        "matthews": matthews_corrcoef(true, found), "accuracy": accuracy_score(true, found),
        "f1": f1_score(true, found),
    }  # fmt: skip
    for name, expected in by_hand.items():
        data = write(tmp_path / f"{name}.jsonl", rows_of(20, lambda i: i % 2, GLUE[name].columns))
        task = load(checkpoints["bert"], data, f"task.subset={name}")
        measured = task.metrics(found.float(), {"labels": true})
        assert measured == pytest.approx(expected)
        assert measured == pytest.approx({key: reference[key] for key in expected})
        assert next(iter(measured)) == task.metric
        broken = found.float().index_fill(0, torch.tensor([4]), math.nan)
        assert all(math.isnan(value) for value in task.metrics(broken, {"labels": true}).values())
        assert task.metrics(torch.ones(10), {"labels": true})[task.metric] == (0 if name == "cola" else 0.4)
        assert task.predictions(torch.tensor([[1.0, 2.0], [math.inf, 0.0]]), {})[0] == 1
        assert task.predictions(torch.tensor([[1.0, 2.0], [math.inf, 0.0]]), {})[1].isnan()


def test_correlations_equal_the_reference_and_what_one_finds_by_hand(
    checkpoints: dict[str, str], tmp_path: Path
) -> None:
    """Deviations -2 -1 0 1 2 and -1 -3 0 1 3: sums of squares 10 and 20, of products 12; ranks 2 1 3 4 5."""
    true, found = torch.tensor([1.0, 2, 3, 4, 5]), torch.tensor([3.0, 1, 4, 5, 7])
    data = write(tmp_path / "stsb.jsonl", rows_of(20, lambda i: i % 6, ("sentence1", "sentence2")))
    task = load(checkpoints["bert"], data, "task.subset=stsb")
    measured = task.metrics(found, {"labels": true})
    pearson, spearman = 12 / math.sqrt(10 * 20), 1 - 6 * 2 / (5 * 24)
    assert measured == pytest.approx(
        {"correlation": (pearson + spearman) / 2, "pearson": pearson, "spearman": spearman}
    )
    assert measured["pearson"] == pytest.approx(pearsonr(true, found).statistic)
    assert measured["spearman"] == pytest.approx(spearmanr(true, found).statistic)
    assert task.metrics(torch.full((5,), 2.5), {"labels": true}) == dict.fromkeys(measured, 0.0)
    assert math.isnan(task.metrics(found * math.nan, {"labels": true})["correlation"])


# the miniature -----------------------------------------------------------------------------


def test_the_miniature_is_the_same_everywhere() -> None:
    made = json.dumps({name: miniature.splits(name) for name in MINIATURE})
    assert hashlib.sha256(made.encode()).hexdigest()[:16] == "923e05177778728d"
    assert METRICS.keys() >= {metric for subset in MINIATURE.values() for metric in subset.metrics}


def test_nothing_that_is_held_out_was_pretrained_or_trained_on() -> None:
    known = "\n".join(" ".join(texts) for texts in miniature.pretraining_texts()).lower()
    assert "return true if" in known
    for earlier, split in (("train", "valid"), ("train", "test"), ("valid", "test")):
        assert not miniature.sentences(earlier).keys() & miniature.sentences(split).keys()
        assert not [sentence for sentence in miniature.sentences(split) if sentence.lower() in known]
    assert known.count(next(iter(miniature.sentences("train"))).lower()) > 1


def test_labels_of_the_miniature_are_what_they_say() -> None:
    for split in SPLITS:
        for (text,), label in by_row(miniature.splits("acceptability")[split]):
            assert (text in miniature.sentences(split)) == (label == 1)
        for (text,), label in by_row(miniature.splits("topic")[split]):
            module = miniature.sentences(split)[text].replace("/", ".").split(".")
            assert set(module[:2]) & set(list(miniature.TOPICS.values())[int(label)])
        for (first, second), label in by_row(miniature.splits("paraphrase")[split]):
            assert (sorted(first.split()) == sorted(second.split())) == (label == 1)
        for (first, second), label in by_row(miniature.splits("similarity")[split]):
            kept = [a == b for a, b in zip(first.split(), second.split(), strict=True)]
            assert label == pytest.approx(5 * sum(kept) / len(kept))


def by_row(examples: miniature.Examples) -> list[tuple[tuple[str, ...], float]]:
    columns, labels = examples
    return list(zip(zip(*columns, strict=True), labels, strict=True))


def test_the_shipped_checkpoint_has_its_recorded_quality() -> None:
    recorded = json.loads(miniature.QUALITY.read_text())
    measured = miniature.quality()
    assert measured == pytest.approx(recorded, abs=0.003)
    for split in ("valid", "test"):
        assert measured[f"masked tokens found, {split}"] > 4 * measured[f"most frequent token, {split}"]
    assert sum(file.stat().st_size for file in miniature.CHECKPOINT.iterdir()) < 3_000_000
