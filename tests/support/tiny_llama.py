"""A tiny Llama, a study of it, and its scores computed without the harness."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from peft import get_peft_model
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from torch import nn
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from study import methods
from study.planning.runs import Run
from study.settings import TaskSettings
from study.storage import tables
from study.storage.rows import Circumstances, Identity, Outcome, RunRecord
from support.texts.benchmark_data import ARC, MMLU, TRUTHFUL, WORDS

OPTIONS: dict[str, dict[str, Any]] = {"ether_plus": {"blocks": 2}, "lora": {"r": 2}, "naive": {"blocks": 4}}


def save_llama(folder: Path) -> None:
    """Leaves a tokenizer of few words and random weights."""
    special = ["<unk>", "<s>", "</s>"]
    vocabulary = {word: i for i, word in enumerate([*special, *WORDS, *"ABCDQ.:", "Question", "Answer"])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing("<s> $A", special_tokens=[("<s>", 1)])
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, unk_token="<unk>", bos_token="<s>", eos_token="</s>"
    ).save_pretrained(folder)
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(vocabulary), hidden_size=32, num_hidden_layers=2, num_attention_heads=2,
        intermediate_size=48, max_position_embeddings=512, initializer_range=0.2,
        bos_token_id=1, eos_token_id=2,
    )  # fmt: skip
    LlamaForCausalLM(config).save_pretrained(folder)


def make_study(folder: Path, llama: Path, runs: dict[str, float], precision: str = "float32") -> Path:
    """A study's folder with a run per method, its adapter trained by throwing dice of the size given."""
    made = []
    for index, (method, size) in enumerate(runs.items()):
        task = TaskSettings(
            name="instruct", scale="paper", model=str(llama), data="d", steps=1, batch_size=1,
            precision=precision,
        )  # fmt: skip
        run = Run(task, method, OPTIONS.get(method, {}), lr=10.0**-index, seed=index)
        config = methods.config(method, OPTIONS.get(method, {}), ["q_proj", "v_proj"])
        model = get_peft_model(LlamaForCausalLM.from_pretrained(llama), config)
        torch.manual_seed(index)
        trained = [p for p in model.parameters() if p.requires_grad]
        for parameter in trained:
            parameter.data += size * torch.randn_like(parameter)
        model.save_pretrained(str(folder / "adapters" / run.run_id))
        outcome = Outcome("ok", parameters=sum(p.numel() for p in trained))
        made.append(RunRecord(Identity.of(run, "s"), outcome, Circumstances()))
    forgotten = Run(task, "oft", {}, lr=1.0, seed=0)  # a run whose adapter was not kept
    made.append(RunRecord(Identity.of(forgotten, "s"), Outcome("ok", parameters=1), Circumstances()))
    tables.tables([record.to_json() for record in made])["runs"].to_parquet(folder / "runs.parquet")
    return folder


def likelihoods(model: nn.Module, tokenizer: Any, context: str, answers: list[str]) -> list[float]:
    """log p(answer | context) of each answer, summed over its tokens; what is filled in follows them."""
    before = len(tokenizer(context)["input_ids"])
    tokens = [tokenizer(f"{context} {answer}")["input_ids"] for answer in answers]
    padded = [[*sequence, *[0] * (max(map(len, tokens)) - len(sequence))] for sequence in tokens]
    with torch.no_grad():
        log_probs = model(torch.tensor(padded)).logits.float().log_softmax(-1)
    return [
        sum(log_probs[i, at - 1, sequence[at]].item() for at in range(before, len(sequence)))
        for i, sequence in enumerate(tokens)
    ]


def best(values: list[float]) -> int:
    return max(range(len(values)), key=values.__getitem__)


def by_hand(model: nn.Module, tokenizer: Any, preface: str) -> dict[str, float]:
    """The four scores of the paper's table, from the prompts and metrics as they are described."""

    def ask(context: str, answers: list[str]) -> list[float]:
        return likelihoods(model, tokenizer, context, answers)

    def right(rows: list[Any], correct: Callable[[Any], bool]) -> float:
        return sum(map(correct, rows)) / len(rows)

    def arc(row: dict[str, Any]) -> bool:
        log_probs = ask(f"Question: {row['question']}\nAnswer:", row["choices"]["text"])
        return "ABCD"[best(log_probs)] == row["answerKey"]

    def mmlu(subject: str, row: dict[str, Any]) -> bool:
        intro = "The following are multiple choice questions (with answers) about"
        listed = "\n".join(f"{letter}. {text}" for letter, text in zip("ABCD", row["choices"], strict=True))
        context = f"{intro} {subject.replace('_', ' ')}.\n\n{row['question']}\n{listed}\nAnswer:"
        return best(ask(context, list("ABCD"))) == row["answer"]

    def truth(row: dict[str, Any], targets: str) -> list[float]:
        return ask(f"{preface}\n\nQ: {row['question']}\nA:", row[targets]["choices"])

    def mass(row: dict[str, Any]) -> float:
        mass_of_answers = torch.tensor(truth(row, "mc2_targets"), dtype=torch.float64).softmax(0)
        return mass_of_answers[torch.tensor(row["mc2_targets"]["labels"]) == 1].sum().item()

    return {
        "arc": right(ARC, arc),
        "mmlu": right([(subject, row) for subject, rows in MMLU.items() for row in rows], lambda x: mmlu(*x)),
        "tru1": right(TRUTHFUL, lambda row: best(truth(row, "mc1_targets")) == 0),
        "tru2": sum(map(mass, TRUTHFUL)) / len(TRUTHFUL),
    }


def table(folder: Path, name: str = "benchmarks.csv") -> pd.DataFrame:
    return pd.read_csv(folder / name, dtype={"run_id": str}, keep_default_na=True).fillna({"run_id": ""})
