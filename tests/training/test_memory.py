"""What a pack needs: counted by hand, on shapes as on tensors, with every part in it."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from support.texts.random_words import Words
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from torch import nn
from transformers import LlamaConfig, PreTrainedTokenizerFast

from study import methods
from study.planning.profile import RunMapping
from study.tasks import Task
from study.training.memory import Peak, footprint, peak_mb
from study.training.packing import pack
from study.training.passes import base_model

MB = 2**20


def test_what_is_alive_at_a_time_by_hand() -> None:
    with Peak() as peak:
        a = torch.zeros(1000)  # 4,000 bytes
        b = a + 1  # 8,000
        a.add_(1)  # in place
        a[10:].relu_()  # a view
        del a  # 4,000
        c = b.double()  # 12,000
        del b, c
        torch.zeros(500)  # 2,000
    assert peak.highest == 12_000


def test_a_linear_layer_by_hand() -> None:
    """y = W x + b in training: y, then the gradients of W and b beside it."""
    layer, x = nn.Linear(100, 300), torch.randn(50, 100)
    with Peak() as peak:
        y = layer(x)  # 50 * 300
        y.backward(torch.ones_like(y))  # ones, then W's and b's gradients, a transposed copy at most
    y_bytes, gradients = 4 * 50 * 300, 4 * 300 * 101
    assert 2 * y_bytes + gradients <= peak.highest <= 2 * y_bytes + 2 * gradients


def config_of(method: str, task: Task) -> object:
    return methods.config(method, {}, task.settings.target_modules)


def peak_of(task: Task, model: nn.Module, runs: int) -> float:
    """Peak of a pack of LoRA."""
    packed, parameters = pack(model, config_of("lora", task), list(range(runs)))
    peak = peak_mb(task, packed, parameters)
    packed.close()
    return peak


@pytest.mark.parametrize("method", ["ether_plus", "lora"])
@pytest.mark.parametrize("name", ["bert", "llama", "deberta-v2"])
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_shapes_alone_tell_what_tensors_need(name: str, method: str, precision: str) -> None:
    task = Words(name)
    task.settings.precision = precision
    mapping = RunMapping.MODEL if name == "deberta-v2" else RunMapping.LAYERS
    real = footprint(task, base_model(task, torch.device("cpu")), config_of(method, task), mapping)
    shapes = footprint(task, base_model(task, torch.device("meta")), config_of(method, task), mapping)
    assert shapes.weights_mb == real.weights_mb > 0
    # On the meta device attention may be computed by another kernel, and nothing is cast.
    assert 0.9 < shapes.run_mb / real.run_mb < 1.2


def test_larger_packs_need_what_smaller_ones_foretell() -> None:
    task = Words("llama")
    model = base_model(task, torch.device("cpu"))
    needs = footprint(task, model, config_of("lora", task), False)
    foretold = needs.fixed_mb + 8 * needs.run_mb
    assert peak_of(task, model, 8) == pytest.approx(foretold, rel=0.02)


def test_checkpointing_and_accumulation_need_less() -> None:
    """A longer model than the others, so that activations and not the evaluation decide."""
    task = Words("llama", num_hidden_layers=6)
    task.settings.eval_batch_size = 1
    plain = peak_of(task, base_model(task, torch.device("cpu")), 2)
    task.settings.accumulate = 4
    parts = peak_of(task, base_model(task, torch.device("cpu")), 2)
    task.settings.accumulate, task.settings.gradient_checkpointing = 1, True
    again = peak_of(task, base_model(task, torch.device("cpu")), 2)
    assert parts < 0.75 * plain and again < 0.7 * plain  # parts have as many dense weights of the runs


@pytest.mark.slow
def test_a_dry_run_of_the_papers_llama_without_its_weights(
    tmp_path: Path, study_command: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    """Llama-2-7B's shape: 6.74e9 weights of 2 bytes, 12.55 GB; trained numbers as in the paper's Table 5."""
    LlamaConfig(vocab_size=32_000, num_hidden_layers=32, max_position_embeddings=4096).save_pretrained(
        tmp_path / "llama"
    )
    tokenizer = Tokenizer(WordLevel({"<unk>": 0, "<s>": 1, "</s>": 2}, "<unk>"))
    tokenizer.pre_tokenizer = Whitespace()
    special = {"unk_token": "<unk>", "bos_token": "<s>", "eos_token": "</s>"}
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, **special).save_pretrained(tmp_path / "llama")
    rows = [{"instruction": f"Say {i}.", "output": "well " * 300} for i in range(40)]
    (tmp_path / "rows.json").write_text(json.dumps(rows))
    dry_run = study_command(
        "study.sweep", "instruct_paper", "task.model=./llama", "task.data=./rows.json", "method=lora",
        "dry_run=true", "launcher.gpu_memory_gb=80",
    )  # fmt: skip
    assert dry_run.returncode == 0, dry_run.stderr
    assert "524,288 parameters" in dry_run.stdout and "4,194,304 parameters" in dry_run.stdout
    assert dry_run.stdout.count("of 80 GB (weights 12.55, adapter and optimizer 0.0") == 2
    assert not (tmp_path / "results").exists()
