"""The file of classes and prompts that lies beside subjects' pictures, in google/dreambooth's form.

    Classes
    subject_name,class
    my_dog,dog

    Prompts
    a {0} {1} in the jungle

{0} stands for the subject's word and {1} for its class. The prompts may stand in two parts, headed `Object
Prompts` and `Live Subject Prompts`; cats and dogs take the second. Google's file has them as lines of Python,
`'a {0} {1} in the jungle'.format(unique_token, class_token),`, and is read as it is.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from study.errors import UsageError, first_line

FILE = "prompts_and_classes.txt"
ALIVE = ("cat", "dog")
"""Classes whose subjects take the prompts of live subjects."""

QUOTED = re.compile(r"""^\s*(['"])(.*)\1\s*\.format\(.*\)\s*,?\s*$""")
PLACES = re.compile(r"\{[^{}]*\}")
HEADINGS = {
    "classes": "classes",
    "prompts": "all",
    "object prompts": "objects",
    "live subject prompts": "alive",
}
BETWEEN = ("", "prompt_list = [", "]", "subject_name,class")
"""Lines that say nothing."""


@dataclass(frozen=True)
class Prompts:
    """What the file says.

    Attributes:
        nouns: class by subject.
        objects, alive: prompts with {0} and {1}, as many of both.
    """

    nouns: dict[str, str]
    objects: tuple[str, ...]
    alive: tuple[str, ...]

    def of(self, noun: str) -> tuple[str, ...]:
        """The prompts of a class's subjects."""
        return self.alive if noun in ALIVE else self.objects


def read(file: Path, where: str) -> Prompts:
    """Args: where: what messages begin with.

    Raises:
        UsageError: naming the line, if it is none of the above, or the file, if it lacks something.
    """
    try:
        lines = file.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, ValueError) as error:
        raise UsageError(f"{where}: {file} cannot be read: {first_line(error)}") from None
    nouns: dict[str, str] = {}
    found: dict[str, list[str]] = {"all": [], "objects": [], "alive": []}
    part = ""
    for number, line in enumerate(lines, start=1):
        text, at = line.strip(), f"{where}: {file.name}, line {number}"
        if text.lower() in HEADINGS:
            part = HEADINGS[text.lower()]
        elif text in BETWEEN:
            continue
        elif part == "classes":
            _add_noun(nouns, text, at)
        elif part:
            found[part].append(_prompt(text, at))
        else:
            raise UsageError(f"{at}: {text!r} stands before a heading `Classes` or `Prompts`")
    objects = found["objects"] or found["all"] or found["alive"]
    alive = found["alive"] or found["all"] or found["objects"]
    if not nouns or not objects:
        lacks = "class below `Classes`" if not nouns else "prompt below `Prompts`"
        raise UsageError(f"{where}: {file.name} has no {lacks}")
    if found["all"] and (found["objects"] or found["alive"]):
        raise UsageError(f"{where}: {file.name} has prompts with and without a part; give each a part")
    if len(objects) != len(alive):
        raise UsageError(
            f"{where}: {file.name} has {len(objects)} object prompts and {len(alive)} of live subjects; give"
            " as many of both"
        )
    return Prompts(nouns, tuple(objects), tuple(alive))


def _add_noun(nouns: dict[str, str], text: str, at: str) -> None:
    subject, comma, noun = (part.strip() for part in text.partition(","))
    if not comma or not subject or not noun:
        raise UsageError(f"{at}: {text!r} is not `subject,class`")
    if nouns.get(subject, noun) != noun:
        raise UsageError(f"{at}: {subject} is a {nouns[subject]} already; keep one class")
    nouns[subject] = noun


def _prompt(text: str, at: str) -> str:
    quoted = QUOTED.match(text)
    prompt = (quoted[2] if quoted else text).strip()
    places = PLACES.findall(prompt)
    if "{0}" not in places or "{1}" not in places or len(set(places)) > 2:
        raise UsageError(f"{at}: {prompt!r} needs {{0}} for the subject and {{1}} for its class, and no more")
    return prompt


def with_subject(prompt: str, token: str, noun: str) -> str:
    return prompt.replace("{0}", token).replace("{1}", noun)


def without_subject(prompt: str, noun: str) -> str:
    """The same of any member of the class."""
    return " ".join(prompt.replace("{0}", " ").replace("{1}", noun).split())
