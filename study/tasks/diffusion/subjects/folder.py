"""Subjects from a folder like google/dreambooth's: pictures of each, and a file of classes and prompts.

FOLDER/dataset/SUBJECT/00.jpg               or FOLDER/SUBJECT/00.jpg
FOLDER/dataset/prompts_and_classes.txt      see `study.tasks.diffusion.subjects.prompts`
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from study.errors import UsageError, listed
from study.tasks import SPLITS
from study.tasks.diffusion.map_folder import pictures_in
from study.tasks.diffusion.subjects import Example, prompts
from study.tasks.loading.pictures import check_picture, cut_to_square, open_picture
from study.tasks.loading.sources import local_path

PER_PROMPT = {"valid": 1, "test": 4}
"""Pictures that are generated for a prompt, from different noise."""

ORDINARY_STEP = {"valid": 5, "test": 1}
"""Every so manieth prompt is also given without the subject."""


class SubjectFolder:
    """See `study.tasks.diffusion.subjects.SubjectData`.

    Attributes:
        descriptions: what each example's prompt says of the picture, without the subject's word, by split.
    """

    names: Sequence[str]
    nouns: Sequence[str]
    examples: Mapping[str, Sequence[Example]]
    trained_on: Sequence[Sequence[int]]

    def __init__(self, source: str, size: int, token: str, subset: str | None, class_pictures: int) -> None:
        """Args:
            size: height and width of pictures.
            token: the word that stands for the subject.
            subset: name of the only subject; None for all.

        Raises:
            UsageError: for the first thing that is missing, cannot be read or does not fit the others.
        """
        where, root = f"task.data={source}", _folder(source)
        said = prompts.read(root / prompts.FILE, where)
        folders = _folders(root, where, said.nouns)
        if subset is not None and subset not in folders:
            raise UsageError(f"task.subset={subset}: no such subject; known: {listed(sorted(folders))}")
        self.names = [name for name in folders if subset in (None, name)]
        self.nouns = [said.nouns[name] for name in self.names]
        self._size = size
        self._files: list[Path] = []
        trained_on: list[list[int]] = []
        for name in self.names:
            files = pictures_in(folders[name], where)
            trained_on.append(list(range(len(self._files), len(self._files) + len(files))))
            self._files += files
        self.trained_on = trained_on
        for file in self._files:
            check_picture(file)
        self.descriptions: dict[str, list[str]] = {split: [] for split in SPLITS}
        self.examples = {split: self._examples(split, said, token, class_pictures) for split in SPLITS}
        absent = sorted(said.nouns.keys() - folders.keys())
        self.notes = tuple(self._noted(absent if subset is None else []))

    def pictures(self, numbers: Sequence[int]) -> Tensor:
        cut = [
            cut_to_square(open_picture(str(self._files[n])), self._size, Image.Resampling.LANCZOS)
            for n in numbers
        ]
        pixels = np.stack([np.asarray(picture) for picture in cut])
        return torch.from_numpy(pixels).movedim(-1, 1).float() / 127.5 - 1

    def _examples(self, split: str, said: prompts.Prompts, token: str, class_pictures: int) -> list[Example]:
        made: list[Example] = []

        def add(subject: int | None, noun: str, picture: int, prompt: str, about: str) -> None:
            caption = f"a photo of {noun}" if subject is None else f"a photo of {token} {noun}"
            sampled = subject is None and class_pictures > 0
            made.append(Example(subject, noun, picture, caption, prompt or caption, sampled))
            self.descriptions[split].append(about)

        for subject, noun in enumerate(self.nouns):
            learnt = self.trained_on[subject]
            if split == "train":
                for picture in learnt:
                    add(subject, noun, picture, "", f"a photo of {noun}")
                continue
            of_noun = said.of(noun)
            for row, prompt in enumerate(of_noun * PER_PROMPT[split]):
                own = prompts.with_subject(prompt, token, noun)
                add(subject, noun, learnt[row % len(learnt)], own, prompts.without_subject(prompt, noun))
        for noun in dict.fromkeys(self.nouns):
            first = self.trained_on[self.nouns.index(noun)][0]
            if split == "train":
                for picture in range(class_pictures):
                    add(None, noun, picture, "", f"a photo of {noun}")
                continue
            for row, prompt in enumerate(said.of(noun)[:: ORDINARY_STEP[split]]):
                picture = row % class_pictures if class_pictures else first
                alone = prompts.without_subject(prompt, noun)
                add(None, noun, picture, alone, alone)
        return made

    def _noted(self, absent: Sequence[str]) -> list[str]:
        notes = [
            "valid: each prompt once; test: each four times, from other noise; their losses are of the"
            " pictures that are learnt from, of which there are no others"
        ]
        alone = [name for name, of in zip(self.names, self.trained_on, strict=True) if len(of) == 1]
        if alone:
            notes.append(
                f"one picture alone, which tells a subject from its background badly: {listed(alone)}"
            )
        if absent:
            notes.append(f"subjects without a folder, left out: {listed(absent)}")
        sizes = [open_picture(str(file)).size for file in self._files]
        if smaller := sum(min(each) < self._size for each in sizes):
            pixels = f"{self._size}x{self._size}"
            notes.append(f"{smaller:,} pictures are smaller than {pixels} pixels, and are enlarged")
        if cut := sum(width != height for width, height in sizes):
            notes.append(f"{cut:,} pictures are not square, and are cut to the middle")
        return notes


def _folder(source: str) -> Path:
    path = local_path("task.data", source)
    if path is None or not path.is_dir():
        what = "a file" if path is not None else "no folder"
        raise UsageError(
            f"task.data={source}: {what}; give a folder of subjects with {prompts.FILE}, such as that of"
            " github.com/google/dreambooth"
        )
    root = path / "dataset" if (path / "dataset" / prompts.FILE).is_file() else path
    if not (root / prompts.FILE).is_file():
        raise UsageError(
            f"task.data={source}: no {prompts.FILE}, which says each subject's class and the prompts"
            " (docs/tasks.md)"
        )
    return root


def _folders(root: Path, where: str, nouns: Mapping[str, str]) -> dict[str, Path]:
    """The subjects' folders by name.

    Raises:
        UsageError: if there is none, or one whose class is not said.
    """
    found = {p.name: p for p in sorted(root.iterdir()) if p.is_dir() and not p.name.startswith(".")}
    if not found:
        raise UsageError(f"{where}: {root} holds no folder of pictures")
    for name in found:
        if name not in nouns:
            raise UsageError(f"{where}: {prompts.FILE} says no class for {name}; add a line `{name},CLASS`")
    return found
