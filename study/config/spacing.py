"""Values that are evenly spaced in their logarithm, as grids of learning rates are.

`logspace(-4,0,9)` takes exponents of ten, as numpy's does; `1e-4..1:9` takes the ends themselves. Both have 9
values with both ends, rounded to three significant digits so that they can be written down: 1e-4, 3.16e-4,
1e-3, ... The ends of `a..b:n` stay as they are given.
"""

from __future__ import annotations

import math
import re

from study.errors import UsageError

DIGITS = 3
"""Significant digits of a value between the ends."""

MOST = 100
"""A grid has no more values than that: three digits could not tell many more apart."""

NUMBER = r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?"


class LogSpaced(list[float | int]):
    """Several values, where Hydra's grammar knows one."""


def logspace(start: float, stop: float, count: int) -> LogSpaced:
    """`count` values from ten to the power of `start` to ten to the power of `stop`.

    Raises:
        ValueError: if that is not what is meant, or they cannot be told apart in three digits.
    """
    for exponent in (start, stop):
        if isinstance(exponent, bool) or not isinstance(exponent, int | float):
            raise ValueError(f"{exponent} is not a number")
        if 0 < abs(exponent) < 0.05 or abs(exponent) > 30:
            raise ValueError(f"{exponent:g} is not an exponent of ten")
    if isinstance(count, bool) or not isinstance(count, int):
        raise ValueError(f"{count} is not a number of values")
    return _spaced(_rounded(10.0**start), _rounded(10.0**stop), count)


def between(key: str, text: str) -> LogSpaced:
    """The values of `1e-4..1:9`.

    Raises:
        UsageError: if the text is not of that form, or the values cannot be told apart.
    """
    found = re.fullmatch(rf"({NUMBER})\.\.({NUMBER}):(\d+)", text.replace(" ", ""))
    if not found:
        raise UsageError(f"{key}={text}: write FIRST..LAST:COUNT, such as 1e-4..1:9")
    try:
        return _spaced(float(found[1]), float(found[2]), int(found[3]))
    except ValueError as error:
        raise UsageError(f"{key}={text}: {error}") from None


def _spaced(start: float, stop: float, count: int) -> LogSpaced:
    if not (0 < start < math.inf and 0 < stop < math.inf and start != stop):
        raise ValueError("the ends must be two different positive numbers")
    if not 2 <= count <= MOST:
        raise ValueError(f"the count must be between 2 and {MOST}, both ends included")
    step = math.log(stop / start) / (count - 1)
    inner = [_rounded(start * math.exp(i * step)) for i in range(1, count - 1)]
    values = [start, *inner, stop]
    if len(set(values)) < count:
        raise ValueError(f"{count} values are so close that {DIGITS} digits cannot tell them apart")
    whole = all(value.is_integer() and value < 1e15 for value in values)
    return LogSpaced(int(value) if whole else value for value in values)


def _rounded(value: float) -> float:
    return float(f"{value:.{DIGITS}g}")
