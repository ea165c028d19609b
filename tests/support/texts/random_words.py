"""A task of random words, for small encoders and decoders of text."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForSequenceClassification

from study.settings import TaskSettings
from study.tasks import Batch, Task

SMALL = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "vocab_size": 50}
GPT2 = {"n_embd": 32, "n_layer": 2, "n_head": 2, "vocab_size": 50, "n_positions": 32}
MODELS: dict[str, tuple[dict[str, Any], list[str]]] = {
    "bert": (SMALL | {"intermediate_size": 48}, ["query", "value"]),
    "deberta-v2": (
        SMALL
        | {
            "intermediate_size": 48,
            "relative_attention": True,
            "pos_att_type": ["p2c", "c2p"],
            "share_att_key": True,
            "norm_rel_ebd": "layer_norm",
            "position_biased_input": False,
        },
        ["query_proj", "value_proj"],
    ),
    "gpt2": (GPT2, ["c_attn"]),
    "llama": (SMALL | {"intermediate_size": 48}, ["q_proj", "v_proj"]),
    "qwen2": (SMALL | {"intermediate_size": 48, "num_key_value_heads": 2}, ["q_proj", "v_proj"]),
}
NO_DROPOUT = dict.fromkeys(
    ("hidden_dropout_prob", "attention_probs_dropout_prob", "attn_pdrop", "embd_pdrop", "resid_pdrop"), 0.0
)
DECODERS = ("gpt2", "llama", "qwen2")


class Words(Task):
    """Random words: the next one for decoders, which of three kinds for encoders."""

    metric, chance = "accuracy", 0.02

    def __init__(self, name: str, **more: Any) -> None:
        options, modules = MODELS[name]
        super().__init__(
            TaskSettings(
                name="words", model=name, data="random", target_modules=modules, steps=2, batch_size=4,
                eval_batch_size=8, evaluations=1,
            )
        )  # fmt: skip
        self.config = AutoConfig.for_model(name, **(options | more), num_labels=3)
        generator = torch.Generator().manual_seed(0)
        self.words = torch.randint(3, 50, (16, 6), generator=generator)

    def model(self) -> nn.Module:
        torch.manual_seed(0)
        decoder = self.settings.model in DECODERS
        kind = AutoModelForCausalLM if decoder else AutoModelForSequenceClassification
        return kind.from_config(self.config).requires_grad_(False)

    def size(self, split: str) -> int:
        return len(self.words)

    def examples(self, split: str, indices: Tensor) -> Batch:
        return {"words": self.words[indices]}

    def forward(self, model: nn.Module, batch: Batch) -> Tensor:
        logits = model(input_ids=batch["words"], attention_mask=torch.ones_like(batch["words"])).logits
        return logits[:, -2] if self.settings.model in DECODERS else logits

    def _labels(self, batch: Batch) -> Tensor:
        last = batch["words"][:, -1]
        return last if self.settings.model in DECODERS else last % 3

    def losses(self, outputs: Tensor, batch: Batch) -> Tensor:
        return F.cross_entropy(outputs, self._labels(batch), reduction="none")

    def predictions(self, outputs: Tensor, batch: Batch) -> Tensor:
        return outputs.argmax(-1).float()

    def metrics(self, predictions: Tensor, references: Batch) -> dict[str, float]:
        return {"accuracy": (predictions == self._labels(references)).double().mean().item()}
