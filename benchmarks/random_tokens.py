"""A Llama with random weights on random tokens: what its training steps cost depends on neither."""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import AutoModelForCausalLM, LlamaConfig

from analysis.paper.accounting.sides import TARGETS
from study.settings import TaskSettings
from study.tasks import Batch, Task
from study.training.passes import base_model

TINY = LlamaConfig(
    hidden_size=512, intermediate_size=512, num_hidden_layers=2, num_attention_heads=8, vocab_size=512
)
TINY_TOKENS = 16


class RandomTokens(Task):
    """The next one of random tokens, for a Llama with random weights, made on torch's current device."""

    metric, higher_is_better = "loss", False

    def __init__(self, config: LlamaConfig, length: int, batch_size: int) -> None:
        super().__init__(
            TaskSettings(
                name="random_tokens", model="llama", data="random", target_modules=TARGETS, steps=100,
                batch_size=batch_size, eval_batch_size=batch_size, precision="bfloat16",
            )
        )  # fmt: skip
        self.config, self.chance = config, math.log(config.vocab_size)
        generator = torch.Generator().manual_seed(0)
        self.tokens = torch.randint(config.vocab_size, (4 * batch_size, length + 1), generator=generator)

    def model(self) -> nn.Module:
        torch.manual_seed(0)
        return AutoModelForCausalLM.from_config(self.config, dtype=torch.bfloat16).requires_grad_(False)

    def size(self, split: str) -> int:
        return len(self.tokens)

    def examples(self, split: str, indices: Tensor) -> Batch:
        return {"tokens": self.tokens[indices]}

    def forward(self, model: nn.Module, batch: Batch) -> Tensor:
        tokens = batch["tokens"]  # (rows, length + 1)
        logits = model(input_ids=tokens[:, :-1], use_cache=False).logits.float()
        losses = F.cross_entropy(logits.flatten(0, 1), tokens[:, 1:].flatten(), reduction="none")
        return losses.view(len(tokens), -1).mean(1)

    def losses(self, outputs: Tensor, batch: Batch) -> Tensor:
        return outputs

    def predictions(self, outputs: Tensor, batch: Batch) -> Tensor:
        return outputs

    def metrics(self, predictions: Tensor, references: Batch) -> dict[str, float]:
        return {"loss": predictions.double().mean().item()}


def build(task: Task, device: torch.device) -> Any:
    """A fresh model, made in bfloat16 where it is to be: no copy in float32, none in main memory."""
    with device:
        return base_model(task, device)
