"""Instruction tuning of a causal language model, with the loss on the response alone (the paper's Table 5).

`mini`: a small Llama that was pretrained on English prose and on commands for words is asked for what the
commands do in English (`study.tasks.miniature.instruct`, `study.pretraining.llama`). Its checkpoint ships
with the project.
`paper`: any causal language model by hub name or local path on any data in Alpaca's format.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence
from transformers import AutoModelForCausalLM

from study.errors import UsageError
from study.settings import TaskSettings
from study.tasks import SPLITS, Batch, Task, base_model_path, refuse_unused
from study.tasks.data_summary import DataSummary, Lengths
from study.tasks.loading.alpaca import Instructions, load_alpaca, prompt
from study.tasks.loading.pretrained import load_config, load_pretrained, load_tokenizer
from study.tasks.loading.responses import NO_TARGET, Example, cut, whole_examples
from study.tasks.miniature import instruct as miniature

WORDS = "words"
"""The name of the miniature's data."""


def words() -> dict[str, list[tuple[str, str]]]:
    """(prompt, response) pairs of the miniature's splits."""
    return {
        split: [(prompt(row.instruction, row.input), row.output) for row in rows]
        for split, rows in miniature.rows().items()
    }


class Instruct(Task):
    """Metrics of a split:

    exact_match: share of rows whose whole response, with its end, is what greedy decoding gives. Nothing is
        generated for that: greedy decoding gives the reference just if each of its tokens is the likeliest
        after those before it.
    perplexity: exp of the mean negative log-likelihood of the responses' tokens, in nats.
    token_accuracy: share of the responses' tokens that are the likeliest after those before them.

    The miniature's requests have one right answer each: exact match is primary, and chance is what the
    commonest answer in training would reach on the test rows. Open-ended data is judged by its perplexity;
    guessing among all tokens gives the size of the vocabulary.
    """

    lower_is_better = ("perplexity",)
    padding = {"targets": NO_TARGET}  # input_ids with anything: the model only looks back

    def __init__(self, settings: TaskSettings) -> None:
        super().__init__(settings)
        self.path = base_model_path(settings)
        config = load_config(self.path).get_text_config()
        self.vocabulary, positions = config.vocab_size, getattr(config, "max_position_embeddings", None)
        if settings.max_length and positions and settings.max_length > positions:
            raise UsageError(
                f"task.max_length={settings.max_length}: {settings.model} takes {positions} tokens at most"
            )
        self.longest = settings.max_length or positions
        self.tokenizer = load_tokenizer(self.path)
        if self.tokenizer.eos_token_id is None:
            raise UsageError(f"task.model={settings.model}: its tokenizer has no token that ends a text")
        refuse_unused(settings, ("kind",), "task instruct")
        if settings.data == WORDS:
            refuse_unused(settings, ("text_column", "label_column"), f"the miniature's data, {WORDS}")
            self.read = Instructions(words(), "", [], [])
            answers = Counter(response for _, response in self.read.pairs["train"])
            commonest = answers.most_common(1)[0][0]
            tests = self.read.pairs["test"]
            self.metric, self.higher_is_better = "exact_match", True
            self.chance = sum(response == commonest for _, response in tests) / len(tests)
        else:
            self.read = load_alpaca(settings)
            self.metric, self.higher_is_better = "perplexity", False
            self.chance = float(self.vocabulary)
        self.splits: dict[str, list[Example]] = {}
        self.mean_tokens: dict[str, float] = {}
        self.longest_given = self.cut = 0
        too_many = sum(self.fill(split, self.read.pairs[split]) for split in SPLITS)
        too_long = f"{too_many} with a prompt of {self.longest} tokens or more" if too_many else ""
        self.left_out = "; ".join(reason for reason in (self.read.left_out, too_long) if reason)
        if self.left_out:
            print(f"task.data={settings.data}: rows left out: {self.left_out}", flush=True)

    def fill(self, split: str, pairs: Sequence[tuple[str, str]]) -> int:
        """Makes (prompt, response) pairs the examples of a split; tells how many were left out as too long.

        Raises:
            UsageError: if that was all of them, or the tokenizer has tokens that the model does not know.
        """
        whole = whole_examples(self.tokenizer, pairs)
        examples = [made for example in whole if (made := cut(example, self.longest))]
        if not examples:
            raise UsageError(
                f"task.max_length={self.longest}: no prompt of the {split} split leaves room for a response"
            )
        largest = max(int(example.input_ids.max()) for example in examples)
        if largest >= self.vocabulary:
            raise UsageError(
                f"task.model={self.settings.model}: its tokenizer has a token {largest},"
                f" the model knows {self.vocabulary}"
            )
        lengths = [len(example.input_ids) for example in whole]
        self.longest_given = max(self.longest_given, *lengths)
        self.cut += sum(length > self.longest for length in lengths) if self.longest else 0
        self.splits[split] = examples
        tokens = sum(int((example.targets != NO_TARGET).sum()) for example in examples)
        self.mean_tokens[split] = tokens / len(examples)
        return len(pairs) - len(examples)

    def model(self) -> nn.Module:
        dtype = torch.bfloat16 if self.settings.precision == "bfloat16" else torch.float32
        return load_pretrained(AutoModelForCausalLM, self.path, new_modules=[], dtype=dtype)

    def size(self, split: str) -> int:
        return len(self.splits[split])

    def data_summary(self) -> DataSummary:
        left_out = [f"rows left out: {self.left_out}"] if self.left_out else []
        return replace(
            super().data_summary(),
            kind="instruction tuning",
            columns=tuple(self.read.columns),
            lengths=Lengths("tokens", self.longest_given, self.longest, self.cut),
            notes=(*self.read.notes, *left_out),
        )

    def examples(self, split: str, indices: Tensor) -> Batch:
        """input_ids and targets, (rows, longest), see `Example`; mean_tokens, (rows,), the same for all.

        A row's loss is summed over its response and divided by `mean_tokens`, the tokens of a mean response,
        so that the mean over rows is a mean over tokens: of this batch in training, as transformers' own loss
        is; of the whole split in evaluation.
        """
        chosen = [self.splits[split][i] for i in indices.tolist()]
        batch = {
            name: pad_sequence([getattr(e, name) for e in chosen], True, self.padding.get(name, 0))
            for name in Example._fields
        }
        count = int((batch["targets"] != NO_TARGET).sum())
        mean = count / len(chosen) if split == "train" else self.mean_tokens[split]
        return {**batch, "mean_tokens": torch.full((len(chosen),), mean)}

    def forward(self, model: nn.Module, batch: Batch) -> Tensor:
        """Of each token that is to be said, its negative log-likelihood and whether it is the likeliest:
        (rows, length, 2), in float32; zeros elsewhere.

        No mask of the padding is needed: it comes after all that counts, and the model only looks back.
        """
        logits = model(input_ids=batch["input_ids"], use_cache=False).logits  # (rows, length, vocabulary)
        targets = batch["targets"]
        losses = F.cross_entropy(logits.float().flatten(0, 1), targets.flatten(), reduction="none")
        return torch.stack([losses.view_as(targets), (logits.argmax(-1) == targets).float()], -1)

    def losses(self, outputs: Tensor, batch: Batch) -> Tensor:
        return outputs[..., 0].sum(1) / batch["mean_tokens"]

    def predictions(self, outputs: Tensor, batch: Batch) -> Tensor:
        """Per row the responses' negative log-likelihood, tokens said right, and tokens: (rows, 3)."""
        tokens = (batch["targets"] != NO_TARGET).sum(1, keepdim=True)
        sums = torch.cat([outputs.sum(1), tokens], 1)
        return sums.masked_fill(~torch.isfinite(sums).all(1, keepdim=True), torch.nan)

    def metrics(self, predictions: Tensor, references: Batch) -> dict[str, float]:
        loss, right, tokens = predictions.double().unbind(1)
        if loss.isnan().any():
            return dict.fromkeys(("exact_match", "perplexity", "token_accuracy"), torch.nan)
        return {
            "exact_match": (right == tokens).double().mean().item(),
            "perplexity": (loss.sum() / tokens.sum()).exp().item(),
            "token_accuracy": (right.sum() / tokens.sum()).item(),
        }
