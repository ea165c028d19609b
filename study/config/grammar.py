"""One `key=value` of the command line: its key, and its value or the values of `a,b,c`.

The grammar is Hydra's, of which this takes values, lists, `range`, `choice`, `sort` and casts, and refuses
what means nothing here, each in one line. It adds values that are evenly spaced in their logarithm, and takes
text, such as a path, as it stands wherever Hydra could not read it.
"""

from __future__ import annotations

import dataclasses
import itertools
import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, get_type_hints

from hydra.core.override_parser import types
from hydra.core.override_parser.overrides_parser import OverridesParser, create_functions
from hydra.errors import HydraException

from study.config.spacing import LogSpaced, between, logspace
from study.errors import UsageError, first_line
from study.settings import GROUPS

MOST_VALUES = 1000
"""An axis has no more values than that: what is longer is a slip."""

SPECIAL = set("'\"\\[]{}()$")
"""What may mean more in a text than itself."""


@dataclass(frozen=True)
class Override:
    """What is given under a key.

    Attributes:
        text: as it stood on the command line.
        values: one, or those of `a,b,c`.
        several: whether it was written as several values, which only an axis can have.
    """

    text: str
    key: str
    values: tuple[Any, ...]
    several: bool


def parse(overrides: Sequence[str]) -> list[Override]:
    """Reads `key=value` and `key=a,b,c`. Of a key that is given again the last holds, as in Hydra.

    Raises:
        UsageError: if one cannot be read.
    """
    last: dict[str, Override] = {}
    for override in map(_parse, overrides):
        last.pop(override.key, None)
        last[override.key] = override
    return list(last.values())


def quoted(key: str, value: str) -> str:
    """How a value that is to be taken as it stands is written in a shell."""
    inside = re.sub(r"(\\*)'", lambda found: 2 * found[1] + r"\'", value)
    inside += "\\" * (len(inside) - len(inside.rstrip("\\")))  # before a quote, each counts half
    return f"\"{key}='{inside}'\"" if not set(inside) & set('"$`\\!') else shlex.quote(f"{key}='{inside}'")


def _parse(text: str) -> Override:
    key, equals, value = text.partition("=")
    key, value = key.strip(), value.strip()
    if text.startswith("~"):
        raise UsageError(f"{text}: nothing can be taken out of a sweep; give the value that is to hold")
    key = key.removeprefix("+").removeprefix("+")
    if equals and "@" in key:
        raise UsageError(f"{text}: write {key.partition('@')[0]}={value}; a sweep has no packages")
    if not equals or not re.fullmatch(r"[^\W\d][\w:-]*(\.[\w:-]+)*", key):
        raise UsageError(f"{text!r} is not an override; write key=value, such as seeds=3")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise UsageError(f"{key}={value!r} is not in UTF-8; rename what it stands for") from None
    if not value:
        raise UsageError(f"{key}= has no value; give one, or leave it out")
    if key == "methods":
        key = "method"
    values, several = _read_text(key, value) if key in text_keys() else _read(key, value)
    for each in values:
        _refuse_special(text, each)
    return Override(text, key, tuple(values), several)


@cache
def text_keys() -> frozenset[str]:
    """The keys whose values are text."""
    of_schema = {
        f"{prefix}{name}"
        for prefix, group in GROUPS.items()
        for name, kind in get_type_hints(group).items()
        if kind in (str, str | None) and name in {field.name for field in dataclasses.fields(group)}
    }
    return frozenset(of_schema | {"method", "task", "scale", "launcher"})


def _read_text(key: str, value: str) -> tuple[list[Any], bool]:
    """Text as it is written: `2024_01` is no number, and most characters stand for themselves."""
    if not set(value) & SPECIAL:
        pieces = [piece.strip() for piece in value.split(",")]
        if "" in pieces:
            raise _unreadable(key, value)
        return [None if piece == "null" else piece for piece in pieces], len(pieces) > 1
    try:
        values, several = _evaluate(key, value)
    except HydraException:
        if value[0] in "'\"" or "," in value:
            raise _unreadable(key, value) from None
        return [value], False
    if key != "method" and any(isinstance(each, list | dict) for each in values):
        raise _unreadable(key, value)
    return values, several


def _read(key: str, value: str) -> tuple[list[Any], bool]:
    try:
        values, several = _evaluate(key, value)
    except HydraException as error:
        raise _unreadable(key, value, error) from None
    leading_zero = any(isinstance(each, str) and re.fullmatch(r"0\d+", each) for each in values)
    if leading_zero or (key == "lr" and re.match(r"0,\d", value)):
        raise UsageError(f"{key}={value}: a decimal comma makes two values; write a point, as in 0.001")
    spaced = [each for each in values if isinstance(each, str) and re.match(r"[+-]?\.?\d.*\.\.", each)]
    if spaced:
        values = [part for each in values for part in (between(key, each) if each in spaced else [each])]
        several = True
    return values, several


def _evaluate(key: str, value: str) -> tuple[list[Any], bool]:
    """What Hydra reads.

    Raises:
        UsageError: for what Hydra can read and a grid cannot use.
        HydraException: if it cannot be read.
    """
    if re.search(r"\bshuffle\(|\bshuffle=", value) and not set(value) & set("'\""):
        raise UsageError(
            f"{key}={value}: leave shuffle out; runs keep their order, so that the same command goes on"
        )
    functions = create_functions()
    functions.register("logspace", lambda start, stop, count: logspace(start, stop, count))  # no annotations
    override = OverridesParser(functions).parse_override(f"value={value}")
    read = override._value
    if isinstance(read, types.IntervalSweep):
        ends = re.search(r"interval\((?:start=)?([^,()]+),(?:end=)?([^,()]+)\)", value.replace(" ", ""))
        first, last = ends.groups() if ends else (read.start, read.end)
        raise UsageError(
            f"{key}={value}: an interval does not say which values; say how many: {key}={first}..{last}:7"
        )
    if isinstance(read, types.Glob):
        raise UsageError(f"{key}={value}: glob chooses among files; name the values, such as {key}=a,b")
    if isinstance(read, LogSpaced):
        return list(read), True
    return _values(key, value, override), override.is_sweep_override()


def _values(key: str, value: str, override: types.Override) -> list[Any]:
    if not override.is_sweep_override():
        return [override.value()]
    read = override._value
    if isinstance(read, types.RangeSweep) and not read.step:
        raise UsageError(f"{key}={value}: a range needs a step that is not zero")
    values = list(itertools.islice(override.sweep_iterator(), MOST_VALUES + 1))
    if len(values) > MOST_VALUES:
        raise UsageError(f"{key}={value} has more than {MOST_VALUES} values")
    plain = [each.text if isinstance(each, types.QuotedString) else each for each in values]
    return [part for each in plain for part in (each if isinstance(each, LogSpaced) else [each])]


def _refuse_special(text: str, value: Any) -> None:
    """What OmegaConf, which holds the configuration, would take for something else than it is."""
    parts = [*value, *value.values()] if isinstance(value, dict) else value if isinstance(value, list) else []
    for part in parts:
        _refuse_special(text, part)
    if isinstance(value, str) and "${" in value:
        raise UsageError(f"{text}: ${{...}} is not filled in here; write the value itself")
    if isinstance(value, str) and value == "???":
        raise UsageError(f"{text}: ??? stands for a value that is missing; give one")


def _unreadable(key: str, value: str, error: HydraException | None = None) -> UsageError:
    if found := re.search(r"while evaluating .*?: (.*)", str(error or "")):
        hint = "; write logspace(-4,0,9) for 9 values from 1e-4 to 1" if "logspace" in value else ""
        return UsageError(f"cannot read {key}={value}: {first_line(Exception(found[1]))}{hint}")
    if re.search(r"(^|,)\s*(,|$)", value):
        return UsageError(
            f"cannot read {key}={value}: a value is missing beside a comma; write a,b,c without spaces"
        )
    if key == "lr":
        return UsageError(f"cannot read {key}={value}; write lr=1e-3,1e-2 or lr=1e-4..1:9")
    return UsageError(f"cannot read {key}={value}; if it is text, quote it twice: {quoted(key, value)}")
