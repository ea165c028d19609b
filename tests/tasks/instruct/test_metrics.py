"""What the metrics mean: greedy decoding, and numbers by hand."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from support.texts.instructions import batch_of, load
from torch import Tensor
from torch.nn.functional import cross_entropy
from transformers import LlamaForCausalLM

from study.pretraining import llama as pretraining
from study.tasks.instruct import Instruct
from study.tasks.loading.alpaca import prompt
from study.tasks.loading.responses import NO_TARGET
from study.tasks.miniature import instruct as miniature

N = NO_TARGET


@torch.no_grad()
def test_an_exact_match_is_what_greedy_decoding_gives(shipped: Instruct, llama: LlamaForCausalLM) -> None:
    """On rows of both kinds: the model knows commands, and only some of the requests."""
    rows = miniature.rows()["test"][:30]
    asked = [pretraining.ways_to_ask(row, "")["command"] for row in rows[:15]]
    asked += [prompt(row.instruction, row.input) for row in rows[15:]]
    task = load("scale=mini")
    task.fill("test", [(text, row.output) for text, row in zip(asked, rows, strict=True)])
    batch = batch_of(task, 30, "test")
    _, right, tokens = task.predictions(task.forward(llama, batch), batch).unbind(1)
    generated = []
    for text, example in zip(asked, task.splits["test"], strict=True):
        ids = torch.tensor([task.tokenizer(text)["input_ids"]])
        response = example.targets[example.targets != N]
        written = llama.generate(ids, do_sample=False, max_new_tokens=len(response), pad_token_id=0)[0]
        generated.append(torch.equal(written[ids.shape[1] :], response))
    assert (right == tokens).tolist() == generated
    assert True in generated and False in generated


def test_metrics_by_hand(shipped: Instruct) -> None:
    metrics = shipped.metrics(torch.tensor([[2.0, 1, 2], [1.0, 3, 3]]), {})
    assert metrics == pytest.approx(
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
