"""Pretrains the small Llama that task `instruct` adapts: on prose and on commands, 12 minutes on one core."""

from __future__ import annotations

import math
import random
import re
from collections.abc import Iterator
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from torch import Tensor
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerBase, PreTrainedTokenizerFast

from study.pretraining import script
from study.settings import TaskSettings
from study.tasks.instruct import WORDS, Instruct
from study.tasks.loading.alpaca import WITH_INPUT, WITHOUT_INPUT, prompt
from study.tasks.miniature.instruct import NUMBERS, SKILLS, Row, parts, rows, word_runs
from study.training.passes import evaluate

STEPS, ROWS, CONTEXT = 5000, 32, 64
"""Steps, rows of a batch, and tokens of a row; documents follow one another in it."""


def ways_to_ask(row: Row, description: str) -> dict[str, str]:
    """Prompts for a row's output; the last kind is left to instruction tuning."""
    return {
        "command": f"{row.skill} ( {row.input} ) =",
        "description": f"the {description} of ( {row.input} ) =",
        "command in Alpaca's prompt": prompt(row.skill, row.input),
        "request in Alpaca's prompt": prompt(row.instruction, row.input),
    }


def sessions(count: int, draw: random.Random) -> list[str]:
    """Documents of one line with any skill on words of the pretraining prose."""
    runs = list(word_runs(parts()["pretraining"]))
    documents = []
    for run in draw.choices(runs, [len(run) for run in runs], k=count):
        size = draw.randint(2, len(NUMBERS) - 1)
        start = draw.randint(0, max(0, len(run) - size))
        words = run[start : start + size]
        name = draw.choice(list(SKILLS))
        row = Row(name, "", " ".join(words), " ".join(SKILLS[name].apply(words)))
        *pretrained, _ = ways_to_ask(row, draw.choice(SKILLS[name].descriptions)).values()
        documents.append(f"{draw.choice(pretrained)} {row.output}")
    return documents


def train_tokenizer(size: int = 1200) -> PreTrainedTokenizerFast:
    """Byte pairs of the pretraining prose and of what is asked. As in Llama's, each word brings its space.

    What stands around the fields of Alpaca's prompts is one token each, as role markers are in chat models.
    """
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>"))
    space = pre_tokenizers.Metaspace(prepend_scheme="always")
    line, mark = pre_tokenizers.Split("\n", "isolated"), pre_tokenizers.Punctuation("isolated")
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([space, line, mark])
    tokenizer.decoder = decoders.Metaspace(prepend_scheme="always")
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        special_tokens=["<unk>", "<s>", "</s>"],
        initial_alphabet=[chr(code) for code in range(ord(" "), ord("~") + 1)],
        show_progress=False,
    )
    asked = [" ".join([name, *s.descriptions, *s.requests, *NUMBERS]) for name, s in SKILLS.items()]
    tokenizer.train_from_iterator([*parts()["pretraining"], *asked * 20], trainer)
    tokenizer.post_processor = processors.TemplateProcessing("<s> $A", special_tokens=[("<s>", 1)])
    around = [part for template in (WITH_INPUT, WITHOUT_INPUT) for part in re.split(r"\{\w+\}", template)]
    tokenizer.add_tokens([part for part in dict.fromkeys(around) if part])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>", unk_token="<unk>"
    )


def batches(tokenizer: PreTrainedTokenizerBase, steps: int, draw: random.Random) -> Iterator[Tensor]:
    """(ROWS, CONTEXT) tokens each: the prose, shuffled among new sessions, again and again."""
    size = ROWS * CONTEXT
    while steps:
        documents = parts()["pretraining"] + sessions(30_000, draw)
        draw.shuffle(documents)
        ids = [i for text in tokenizer(documents)["input_ids"] for i in (*text, tokenizer.eos_token_id)]
        epoch = torch.tensor(ids[: len(ids) // size * size]).view(-1, ROWS, CONTEXT)
        yield from epoch[:steps]
        steps -= len(epoch[:steps])


def small_llama(tokenizer: PreTrainedTokenizerBase) -> LlamaForCausalLM:
    """Three blocks of width 128."""
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(tokenizer),
            hidden_size=128,
            num_hidden_layers=3,
            num_attention_heads=4,
            intermediate_size=352,
            max_position_embeddings=128,
            tie_word_embeddings=True,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
        )
    )


def pretrain(folder: Path, steps: int = STEPS, seed: int = 0) -> None:
    """Trains tokenizer and model on the pretraining prose and on sessions with its words."""
    tokenizer = train_tokenizer()
    torch.manual_seed(seed)
    model = small_llama(tokenizer)
    optimizer = torch.optim.AdamW(model.parameters(), weight_decay=0.1)
    schedule = script.one_cycle(optimizer, 3e-3, steps, warmup=0.05)
    for step, batch in enumerate(batches(tokenizer, steps, random.Random(2))):
        loss = model(input_ids=batch, labels=batch).loss
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        script.report(step, steps, f"{loss.item():.3f}", every=100)
    model.bfloat16().save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def quality(checkpoint: Path) -> dict[str, float]:
    """A checkpoint on held-out paragraphs: perplexity of prose, exact match by each way to ask."""
    settings = TaskSettings("instruct", model=str(checkpoint), data=WORDS, steps=1, batch_size=8)
    settings.eval_batch_size = 40
    task = Instruct(settings)
    model = task.model()
    scores = {}
    for split in ("valid", "test"):
        task.fill(split, [("", text) for text in parts()[split][:200]])
        scores[f"perplexity of prose, {split}"] = math.exp(evaluate(task, model, split).loss)
        asked = [(ways_to_ask(row, SKILLS[row.skill].descriptions[0]), row.output) for row in rows()[split]]
        for way in asked[0][0]:
            task.fill(split, [(prompts[way], output) for prompts, output in asked])
            scores[f"{way}, {split}"] = evaluate(task, model, split).primary
    return {name: round(value, 4) for name, value in scores.items()}


if __name__ == "__main__":
    script.run(pretrain, quality, __doc__ or "", STEPS)
