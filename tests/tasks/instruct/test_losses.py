"""Losses are those of transformers, whatever is beside a row; packs train as runs do alone."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from support.texts.instructions import batch_of
from torch import Tensor
from torch.nn.functional import pad
from transformers import LlamaForCausalLM

from study import methods
from study.tasks import Batch
from study.tasks.instruct import Instruct
from study.tasks.loading.responses import NO_TARGET
from study.training.passes import evaluate
from study.training.probe import why_unpackable

N = NO_TARGET


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
    loss = evaluate(shipped, llama, "valid").loss
    batch = batch_of(shipped, shipped.size("valid"), "valid")
    metrics = shipped.metrics(shipped.predictions(shipped.forward(llama, batch), batch), batch)
    assert math.exp(loss) == pytest.approx(metrics["perplexity"], rel=1e-5)


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
    joined = shipped.collate([alone[3], together, alone[5]])  # as the runs of a pack
    torch.testing.assert_close(sums(shipped, llama, joined), torch.cat([losses[3:4], losses, losses[5:6]]))


@pytest.mark.parametrize("whole", [False, True])
@pytest.mark.parametrize("method", ["lora", "ether_plus"])
def test_runs_in_packs_train_as_they_do_alone(
    shipped: Instruct, llama: LlamaForCausalLM, method: str, whole: bool
) -> None:
    options: dict[str, dict[str, Any]] = {"lora": {"r": 4}, "ether_plus": {"blocks": 4}}
    made = methods.config(method, options[method], shipped.settings.target_modules, None)
    assert why_unpackable(shipped, llama, made, whole) == ""
