"""Sentences about portraits. They say colours and looks, as those of photographs do, and not which sprite."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from study.tasks.miniature.portraits.looks import LOOKS

PERSON = "a person"
PHOTO = "a photo of"


def caption(seen: Iterable[int], mentioned: Collection[str] = tuple(LOOKS), person: str = PERSON) -> str:
    """A sentence about one portrait.

    Args:
        seen: the number of each of LOOKS; a negative one is not mentioned.
        mentioned: which of LOOKS to mention, where there is something to say.
        person: what it begins with: `a person`, `a photo of a person`, `a photo of qwe person`.
    """
    say = {
        look: values[number]
        for (look, values), number in zip(LOOKS.items(), seen, strict=True)
        if number >= 0 and look in mentioned
    }
    features = []
    if "skin" in say:
        features.append(f"{say['skin']} skin")
    if say.get("hair") == "bald":
        features.append("no hair")
    elif "hair" in say or "hair color" in say:
        features.append(" ".join([*(say[look] for look in ("hair", "hair color") if look in say), "hair"]))
    if "shirt color" in say:
        features.append(f"{_article(say['shirt color'])} {say['shirt color']} shirt")
    worn = []
    if say.get("glasses", "none") != "none":
        worn.append("dark glasses" if say["glasses"] == "dark" else "glasses")
    if say.get("beard", "none") != "none":
        worn.append("a beard")
    if say.get("hat", "none") != "none":
        worn.append(f"{_article(say['hat'])} {say['hat']} hat")
    clauses = [f"{person} with {_listed(features)}" if features else person]
    if "expression" in say:
        clauses.append("looking serious" if say["expression"] == "serious" else say["expression"])
    if worn:
        clauses.append(f"with {_listed(worn)}")
    if "background" in say:
        clauses.append(f"on {_article(say['background'])} {say['background']} background")
    return ", ".join(clauses)


def _article(word: str) -> str:
    return "an" if word[0] in "aeiou" else "a"


def _listed(words: list[str]) -> str:
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


def words() -> list[str]:
    """Every word and mark that a caption can hold, sorted."""
    said = {"a", "an", "and", "with", "on", "no", "looking", ","}
    said |= {"skin", "hair", "shirt", "glasses", "hat", "background", *PHOTO.split(), *PERSON.split()}
    said |= {word for values in LOOKS.values() for word in values}
    return sorted(said - {"bald", "none"})
