"""A classifier of each family on pairs of texts; padding, lengths and tokenizers."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from support.base_scores import untouched
from support.texts.labelled_text import MODELS, WORDS, load, rows_of, sentences, write
from transformers import AutoConfig, AutoModel

from study import methods
from study.errors import UsageError
from study.planning.profile import RunMapping
from study.tasks import SPLITS
from study.tasks.labelled_text.subsets import GLUE
from study.tasks.loading.pretrained import block_layers
from study.tasks.miniature import glue as miniature
from study.training.hyperparameters import Hyperparameters
from study.training.train import train

BASE = untouched()


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
    packed = train(
        task,
        model,
        adapter,
        runs,
        BASE,
        mapping=RunMapping.MODEL if name == "deberta-v2" else RunMapping.LAYERS,
    )
    for run, trained in zip(runs, packed, strict=True):
        outcome, (alone,) = trained.outcome, train(task, model, adapter, [run], BASE)
        assert outcome.status in ("ok", "diverged") and outcome.weight_distance > 0
        assert outcome.metric == "accuracy" and outcome.test in (0, 1 / 3, 2 / 3, 1)
        assert outcome.loss_first == pytest.approx(alone.outcome.loss_first, rel=1e-4)
        assert outcome.loss_last == pytest.approx(alone.outcome.loss_last, rel=1e-4)


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
    joined = task.collate([short, task.examples("train", order[-1:])])
    for key, value in both.items():
        assert torch.equal(joined[key], value), key
    alone, padded = (task.losses(task.forward(model, batch), batch) for batch in (short, both))
    torch.testing.assert_close(padded[0], alone[0], rtol=1e-5, atol=1e-6)


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
