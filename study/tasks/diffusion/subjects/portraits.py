"""The miniature's subjects: persons composed of sprites, whose looks the base model never saw together.

Of each there are a few pictures, looking serious, without hat and glasses, on some backgrounds. Prompts ask
for what none of these shows: another expression and background, glasses, a hat. The true picture of every
prompt can be composed, but for which mouth, glasses or hat it is.
"""

from __future__ import annotations

import itertools
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from study.errors import UsageError
from study.tasks import SPLITS
from study.tasks.diffusion.placed import Placed
from study.tasks.diffusion.subjects import Example, Judged, mean_but
from study.tasks.miniature.portraits import (
    HIDDEN,
    LOOKS,
    Attributes,
    Split,
    caption,
    of_attributes,
    portraits,
    subjects,
)
from study.tasks.miniature.portraits.attributes import NONE, SUBJECTS, colors_of, mouths_of, sprites_of
from study.tasks.miniature.portraits.captions import PERSON, PHOTO
from study.tasks.miniature.portraits.compose import planes
from study.tasks.miniature.portraits.looks import sprite_names
from study.tasks.miniature.portraits.networks import IDENTITY, attribute_network, targets

DATA = "portrait-subjects"
NOUN = "person"
CONTEXT = ("expression", "glasses", "hat", "background")
"""What prompts ask for."""

PICTURES, BACKGROUNDS = {"train": 5, "valid": 3, "test": 4}, 3
"""Pictures of a subject, all different, and on how many of the backgrounds. It is learnt from the first; the
losses of the other splits are of theirs. Those of a person in contexts that were never asked for rise where
scores still improve, and say nothing of whether a run goes astray."""

PROMPTS = {"valid": 6, "test": 8}
PER_PROMPT = 2
"""Pictures that are generated for a prompt, from different noise."""

ORDINARY: dict[Split, int] = {"valid": 6, "test": 12}
"""Prompts without a subject."""

SEED = 2


class PortraitSubjects:
    """See `study.tasks.diffusion.subjects.SubjectData`.

    Attributes:
        drawn: all pictures.
        told: what each one's prompt says of its looks, or HIDDEN, (pictures, looks).
    """

    names: Sequence[str]
    nouns: Sequence[str]
    examples: Mapping[str, Sequence[Example]]
    trained_on: Sequence[Sequence[int]]
    notes: tuple[str, ...] = ()

    def __init__(self, token: str, subset: str | None, class_pictures: int) -> None:
        """Args:
            token: the word that stands for the subject.
            subset: name of the only subject; None for all.

        Raises:
            UsageError: if there is no subject of that name.
        """
        everyone, names = subjects(), [f"{NOUN}-{number}" for number in range(SUBJECTS)]
        if subset is not None and subset not in names:
            raise UsageError(f"task.subset={subset}: no such subject; known: {names[0]} to {names[-1]}")
        chosen = range(SUBJECTS) if subset is None else [names.index(subset)]
        self.names = [names[number] for number in chosen]
        self.nouns = [NOUN] * len(self.names)
        trained_on: list[list[int]] = []
        examples: dict[str, list[Example]] = {split: [] for split in SPLITS}
        parts: list[Attributes] = []
        told: list[Tensor] = []
        person = f"{PHOTO} {token} {NOUN}"

        def add(attributes: Attributes, mentioned: Collection[str], named: str) -> tuple[range, list[str]]:
            """The numbers of these pictures, and a caption that says what is mentioned of each."""
            first = sum(map(len, parts))
            looks = of_attributes(attributes).looks
            parts.append(attributes)
            told.append(said_of(looks, mentioned))
            return range(first, first + len(attributes)), [
                caption(row, mentioned, named) for row in looks.tolist()
            ]

        for subject, number in enumerate(chosen):
            who = everyone[np.array([number])]
            alike, contexts = _contexts(who, number)
            numbers, _ = add(alike, CONTEXT, person)
            trained_on.append(list(numbers[: PICTURES["train"]]))
            examples["train"] += [Example(subject, NOUN, n, person, person) for n in trained_on[-1]]
            held_out = {"valid": numbers[PICTURES["train"] : -PICTURES["test"]]}
            held_out["test"] = numbers[-PICTURES["test"] :]
            for split, of_split in contexts.items():
                truths, prompts = add(of_split, CONTEXT, person)
                examples[split] += [
                    Example(subject, NOUN, picture, person, prompt, truth=truth)
                    for picture, prompt, truth in zip(
                        itertools.cycle(held_out[split]), prompts * PER_PROMPT, [*truths] * PER_PROMPT
                    )
                ]
        for split, count in ORDINARY.items():
            drawn = portraits(SEED, count, split)
            numbers, prompts = add(drawn.attributes, tuple(LOOKS), f"{PHOTO} {PERSON}")
            examples[split] += [
                Example(None, NOUN, n, prompt, prompt, truth=n)
                for n, prompt in zip(numbers, prompts, strict=True)
            ]
        alone = f"{PHOTO} {PERSON}"
        examples["train"] += [
            Example(None, NOUN, number, alone, alone, sampled=True) for number in range(class_pictures)
        ]
        self.trained_on, self.examples = trained_on, examples
        self.drawn = of_attributes(Attributes.concatenate(parts))
        self.told = torch.cat(told)

    def pictures(self, numbers: Sequence[int]) -> Tensor:
        return self.drawn.pictures[list(numbers)]


def said_of(looks: Tensor, mentioned: Collection[str]) -> Tensor:
    """The looks that a caption says, HIDDEN in the place of the others: (rows, looks)."""
    said = looks.clone()
    for column, look in enumerate(LOOKS):
        if look not in mentioned:
            said[:, column] = HIDDEN
        elif look in ("glasses", "hat", "beard"):  # that there is none is not said
            said[:, column] = looks[:, column].where(looks[:, column] > 0, HIDDEN)
    return said


def _contexts(who: Attributes, number: int) -> tuple[Attributes, dict[str, Attributes]]:
    """A person's pictures, and what the prompts of a split ask for.

    Args:
        who: one row.
        number: of the person, which the contexts are drawn from.
    """
    generator = np.random.default_rng([SEED, number])
    backgrounds = generator.permutation(colors_of("background", "base"))
    known, new = backgrounds[:BACKGROUNDS], backgrounds[BACKGROUNDS:]
    mouths, behind = np.meshgrid(mouths_of("serious"), known)
    order = generator.permutation(mouths.size)[: sum(PICTURES.values())]
    rows = np.zeros(len(order), dtype=int)
    alike = replace(who[rows], mouth=mouths.flat[order], background=behind.flat[order])
    count = sum(PROMPTS.values())
    hats = ["none", "none", *range(len(LOOKS["hat"]) - 1)]
    dark = [name.startswith("dark") for name in sprite_names("glasses")]
    kinds = {kind: [n for n in sprites_of("glasses", "base") if dark[n] == kind] for kind in (False, True)}
    found: dict[tuple[object, ...], dict[str, int]] = {}
    while len(found) < count:
        expression = generator.choice(["smiling", "frowning"])
        worn = generator.choice(["none", "light", "dark"])
        hat = hats[generator.integers(len(hats))]
        background = int(generator.choice(new))
        if (worn, hat) == ("none", "none") and generator.random() < 0.5:
            continue
        found.setdefault(
            (expression, worn, hat, background),
            {
                "mouth": int(generator.choice(mouths_of(str(expression)))),
                "glasses": NONE if worn == "none" else int(generator.choice(kinds[worn == "dark"])),
                "hat": NONE if hat == "none" else int(generator.choice(sprites_of("hat", "base"))),
                "hat_color": 0 if hat == "none" else int(hat),
                "background": background,
            },
        )
    wanted = {name: np.array([each[name] for each in found.values()]) for name in next(iter(found.values()))}
    asked = replace(who[np.zeros(count, dtype=int)], **wanted)
    return alike, {"valid": asked[: PROMPTS["valid"]], "test": asked[PROMPTS["valid"] :]}


class PortraitSubjectJudge:
    """The attribute network that ships with the base model.

    Its further scores: the mean cosine between a picture's identity features and those of the pictures that
    the subject was learnt from, and the mean distance of pixels, in [0, 1], to the true picture, where no
    choice of mouth, glasses or hat can change it.
    """

    further: Sequence[str] = ("identity_similarity", "true_distance")
    has_truth = True

    def __init__(self, checkpoint: Path, data: PortraitSubjects) -> None:
        self._network = Placed(attribute_network(checkpoint))
        examples = [example for split in SPLITS for example in data.examples[split]]
        numbers = [0 if e.sampled else e.picture if e.truth is None else e.truth for e in examples]
        right = targets(data.drawn)
        of_subject = torch.tensor([example.subject is not None for example in examples])
        identity = torch.stack([right[kind] for kind in IDENTITY], 1)[numbers]
        self._identity = identity.where(of_subject[:, None], HIDDEN)
        self._told = data.told[numbers]
        self._truth = data.drawn.pictures[numbers]
        self._decided = decided_pixels(data.drawn.attributes)[numbers]
        with torch.no_grad():
            learnt = [self._network.on(torch.device("cpu"))(data.pictures(of)) for of in data.trained_on]
        known = torch.stack([F.normalize(each.identity, dim=1) for each in learnt])
        self._known = known[[example.subject or 0 for example in examples]]  # (examples, pictures, width)

    def models(self, device: torch.device) -> list[nn.Module]:
        return [self._network.on(device)]

    def judge(self, pictures: Tensor, numbers: Tensor, itself: Tensor | None = None) -> Judged:
        seen = self._network.on(pictures.device)(pictures)

        def of(table: Tensor) -> Tensor:
            return table.to(numbers.device)[numbers]

        identity, told = of(self._identity), of(self._told)
        found = torch.stack([seen.logits[kind].argmax(1) for kind in IDENTITY], 1)
        looks = torch.stack([seen.logits[kind].argmax(1) for kind in LOOKS], 1)
        features = F.normalize(seen.identity, dim=1).unsqueeze(2)
        alike = (of(self._known) @ features).squeeze(2)
        similarity = mean_but(alike, torch.ones_like(alike, dtype=torch.bool), itself)
        decided = of(self._decided)
        apart = (pictures - of(self._truth)).abs().mean(1) / 2 * decided
        return Judged(
            subject=((found == identity) & (identity != HIDDEN)).sum(1),
            subject_of=(identity != HIDDEN).sum(1),
            prompt=((looks == told) & (told != HIDDEN)).sum(1),
            prompt_of=(told != HIDDEN).sum(1),
            further=torch.stack([similarity, apart.sum((1, 2)) / decided.sum((1, 2))], 1),
            features=seen.features,
        )


def decided_pixels(attributes: Attributes) -> Tensor:
    """The pixels that no other sprite for mouth, glasses or hat would change, (rows, 16, 16), 0 or 1.

    Glasses and hats only count where the portrait has some.
    """
    worn = {"mouth": attributes.mouth, "glasses": attributes.glasses, "hat": attributes.hat}
    decided = np.ones((len(attributes), 16, 16))
    for group, numbers in worn.items():
        touched = (planes(group)[:, 0] != 1).any(0)
        decided = np.where((numbers != NONE)[:, None, None] & touched, 0.0, decided)
    return torch.from_numpy(decided).float()
