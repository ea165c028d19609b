"""The miniature of instruction tuning: what is asked of words in English, and a small Llama to be taught it.

The base model has read prose, and sessions in which commands and terse descriptions are applied to texts:
`tail ( it is closed ) = closed` and `the last word of ( it is closed ) = closed`. It has also seen commands,
but no English, inside Alpaca's prompt. Instruction tuning asks for the same operations in sentences, in that
prompt: "Which word comes last?". Pretraining and each split have paragraphs of their own.

`python -m study.tasks.miniature.instruct` rebuilds the checkpoint (about 12 minutes on one core).
"""

from __future__ import annotations

import json
import math
import random
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from typing import NamedTuple

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerBase, PreTrainedTokenizerFast

from study.settings import TaskSettings
from study.tasks import SPLITS
from study.tasks.miniature import prose

Words = list[str]

NUMBERS = ("zero", "one", "two", "three", "four", "five", "six")


class Skill(NamedTuple):
    """What is done to the words of a text, and how that is said: in sessions, and when it is asked for."""

    apply: Callable[[Words], Words]
    descriptions: tuple[str, ...]
    requests: tuple[str, ...]


SKILLS = {
    "head": Skill(
        lambda words: words[:1],
        ("first word", "beginning"),
        ("Give the first word.", "Which word comes first?", "How does the text begin?"),
    ),
    "neck": Skill(
        lambda words: words[1:2],
        ("second word", "word after the first"),
        ("Give the second word.", "Which word comes second?", "What follows the first word?"),
    ),
    "tail": Skill(
        lambda words: words[-1:],
        ("last word", "end"),
        ("Give the last word.", "Which word comes last?", "How does the text end?"),
    ),
    "behead": Skill(
        lambda words: words[1:],
        ("all but the first word", "everything from the second word on"),
        ("Remove the first word.", "Leave out the first word.", "Start with the second word."),
    ),
    "curtail": Skill(
        lambda words: words[:-1],
        ("all but the last word", "everything before the last word"),
        ("Remove the last word.", "Leave out the last word.", "Stop before the last word."),
    ),
    "flip": Skill(
        lambda words: words[::-1],
        ("words in reverse order", "words from the end to the beginning"),
        ("Reverse the words.", "Read the text backwards.", "Go from last to first."),
    ),
    "trade": Skill(
        lambda words: [words[-1], *words[1:-1], words[0]],
        ("text with both ends exchanged", "text with the first and last word swapped"),
        ("Swap first and last word.", "Exchange both ends.", "Let the ends change places."),
    ),
    "double": Skill(
        lambda words: words + words,
        ("text two times", "text and the text again"),
        ("Repeat the text.", "Write the text two times.", "Say it twice."),
    ),
    "size": Skill(
        lambda words: [NUMBERS[len(words)]],
        ("number of words", "length"),
        ("Count the words.", "How many words are there?", "How long is the text?"),
    ),
}

SHORTEST, LONGEST = 3, 5
"""Words of a text."""

SIZES = {"test": 480, "valid": 240, "train": 1600}
SHARES = {"test": 0.12, "valid": 0.06, "train": 0.27, "pretraining": 0.55}
"""Of the paragraphs."""


class Row(NamedTuple):
    skill: str
    instruction: str
    input: str
    output: str


@cache
def parts() -> dict[str, list[str]]:
    """The prose's paragraphs, each in one of SHARES."""
    texts = [text for _, text in prose.paragraphs()]
    random.Random(0).shuffle(texts)
    found: dict[str, list[str]] = {}
    start = 0
    for part, share in SHARES.items():
        stop = start + round(share * len(texts))
        found[part], start = texts[start:stop], stop
    return found


@cache
def common() -> frozenset[str]:
    """The 400 commonest words of the pretraining prose: to the model, one token each, or nearly so."""
    words = Counter(word for text in parts()["pretraining"] for word in text.split())
    plain = [word for word, _ in words.most_common() if re.fullmatch("[a-z]+", word)]
    return frozenset(plain[:400])


def runs(paragraphs: Sequence[str]) -> Iterator[Words]:
    """Two and more common words that follow one another with nothing between."""
    for text in paragraphs:
        run: Words = []
        for word in [*text.split(), ""]:
            if word in common():
                run.append(word)
            else:
                if len(run) > 1:
                    yield run
                run = []


def pieces(text: str) -> Iterator[str]:
    """Whatever SHORTEST to LONGEST words follow one another in a text, in whatever case and punctuation."""
    words = re.findall("[a-z]+", text.lower())
    for size in range(SHORTEST, LONGEST + 1):
        for i in range(len(words) - size + 1):
            yield " ".join(words[i : i + size])


@cache
def rows() -> dict[str, list[Row]]:
    """The splits. No text is in two rows, and none occurs in the prose that the base model has read."""
    draw = random.Random(1)
    taken = {piece for text in parts()["pretraining"] for piece in pieces(text)}
    found: dict[str, list[Row]] = {}
    for split, size in SIZES.items():
        texts = []
        for run in runs(parts()[split]):
            while len(run) >= SHORTEST:
                length = min(draw.randint(SHORTEST, LONGEST), len(run))
                text, run = " ".join(run[:length]), run[length:]
                if text not in taken:
                    taken.add(text)
                    texts.append(text)
        draw.shuffle(texts)
        found[split] = []
        for i, text in enumerate(texts[:size]):
            name = list(SKILLS)[i % len(SKILLS)]
            skill = SKILLS[name]
            row = Row(name, draw.choice(skill.requests), text, " ".join(skill.apply(text.split())))
            found[split].append(row)
    return {split: found[split] for split in SPLITS}


# the checkpoint -----------------------------------------------------------------------------

CONTEXT = 64
"""Tokens of a row in pretraining; documents follow one another in it."""


def ways_to_ask(row: Row, description: str) -> dict[str, str]:
    """Prompts for a row's output; the last kind is left to instruction tuning."""
    from study.tasks.instruct import prompt

    return {
        "command": f"{row.skill} ( {row.input} ) =",
        "description": f"the {description} of ( {row.input} ) =",
        "command in Alpaca's prompt": prompt(row.skill, row.input),
        "request in Alpaca's prompt": prompt(row.instruction, row.input),
    }


def sessions(count: int, draw: random.Random) -> list[str]:
    """Documents of one line with any skill on words of the pretraining prose."""
    texts = list(runs(parts()["pretraining"]))
    found = []
    for run in draw.choices(texts, [len(run) for run in texts], k=count):
        size = draw.randint(2, len(NUMBERS) - 1)
        start = draw.randint(0, max(0, len(run) - size))
        words = run[start : start + size]
        name = draw.choice(list(SKILLS))
        row = Row(name, "", " ".join(words), " ".join(SKILLS[name].apply(words)))
        *known, _ = ways_to_ask(row, draw.choice(SKILLS[name].descriptions)).values()
        found.append(f"{draw.choice(known)} {row.output}")
    return found


def train_tokenizer(size: int = 1200) -> PreTrainedTokenizerFast:
    """Byte pairs of the pretraining prose and of what is asked. As in Llama's, each word brings its space.

    What stands around the fields of Alpaca's prompts is one token each, as role markers are in chat models.
    """
    from study.tasks.instruct import WITH_INPUT, WITHOUT_INPUT

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
    said = [" ".join([name, *s.descriptions, *s.requests, *NUMBERS]) for name, s in SKILLS.items()]
    tokenizer.train_from_iterator([*parts()["pretraining"], *said * 20], trainer)
    tokenizer.post_processor = processors.TemplateProcessing("<s> $A", special_tokens=[("<s>", 1)])
    around = [part for template in (WITH_INPUT, WITHOUT_INPUT) for part in re.split(r"\{\w+\}", template)]
    tokenizer.add_tokens([part for part in dict.fromkeys(around) if part])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>", unk_token="<unk>"
    )


def pretraining_batches(
    tokenizer: PreTrainedTokenizerBase, steps: int, draw: random.Random
) -> Iterator[torch.Tensor]:
    """(32, CONTEXT) tokens each: the prose, shuffled among new sessions, again and again."""
    while steps:
        documents = parts()["pretraining"] + sessions(30_000, draw)
        draw.shuffle(documents)
        ids = [i for text in tokenizer(documents)["input_ids"] for i in (*text, tokenizer.eos_token_id)]
        whole = torch.tensor(ids[: len(ids) // (32 * CONTEXT) * (32 * CONTEXT)]).view(-1, 32, CONTEXT)
        yield from whole[:steps]
        steps -= len(whole[:steps])


def pretrain(steps: int = 5000, seed: int = 0) -> None:
    """Rebuilds the shipped checkpoint, and writes down what it can do."""
    from study.tasks.instruct import CHECKPOINT

    tokenizer = train_tokenizer()
    torch.manual_seed(seed)
    model = LlamaForCausalLM(
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
    optimizer = torch.optim.AdamW(model.parameters(), weight_decay=0.1)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3e-3, total_steps=steps, pct_start=0.05)
    for step, batch in enumerate(pretraining_batches(tokenizer, steps, random.Random(2))):
        loss = model(input_ids=batch, labels=batch).loss
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        if step % 100 == 0:
            print(f"step {step} of {steps}: loss {loss.item():.3f}", flush=True)
    model.bfloat16().save_pretrained(CHECKPOINT)
    tokenizer.save_pretrained(CHECKPOINT)
    (CHECKPOINT / "quality.json").write_text(json.dumps(quality(), indent=2) + "\n")
    print((CHECKPOINT / "quality.json").read_text())


def quality() -> dict[str, float]:
    """The shipped model on held-out paragraphs: perplexity of prose, exact match by each way to ask."""
    from study.tasks.instruct import WORDS, Instruct
    from study.training.passes import evaluate

    shipped = TaskSettings("instruct", model="shipped", data=WORDS, steps=1, batch_size=8, eval_batch_size=40)
    task = Instruct(shipped)
    model = task.model()
    found = {}
    for split in ("valid", "test"):
        task.fill(split, [("", text) for text in parts()[split][:200]])
        found[f"perplexity of prose, {split}"] = math.exp(evaluate(task, model, split)[1][0])
        asked = [(ways_to_ask(row, SKILLS[row.skill].descriptions[0]), row.output) for row in rows()[split]]
        for way in asked[0][0]:
            task.fill(split, [(ways[way], output) for ways, output in asked])
            found[f"{way}, {split}"] = evaluate(task, model, split)[0][0]
    return {name: round(value, 4) for name, value in found.items()}


if __name__ == "__main__":
    pretrain()
