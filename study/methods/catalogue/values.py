"""Whether an option can take a value, from its annotation in the source, so that torch need not be loaded.

What only the config or the model can tell, such as blocks that do not divide a width, is theirs to refuse.
"""

from __future__ import annotations

import ast
import math
import re
from typing import Any

from study.errors import nearest
from study.methods import external
from study.methods.catalogue.options import Declared, declared

WORDS = {"int": "a whole number", "float": "a number", "bool": "true or false", "str": "text",
         "list": "a list, such as [a,b]", "dict": "a mapping, such as {a:1}", "None": "null"}  # fmt: skip
"""What a type is called."""

FACTORS = ("alpha", "lambda")
"""Options that `peft` annotates as whole numbers and multiplies by: any number does."""


def complaint(name: str, option: str, value: Any) -> str:
    """What is wrong with an option's value: `r=4.5 must be a whole number`; empty if nothing is."""
    if option == external.SOURCE or value is None:
        return ""
    known = declared(name).get(option)
    if known is None or known.annotation is None:
        return ""
    kinds = _kinds(known.annotation)
    if kinds is None:
        return ""
    if kinds == {"int"} and any(word in option for word in FACTORS):
        kinds = {"float"}
    if not any(_is(kind, value) for kind in kinds):
        return _of_wrong_type(option, value, kinds)
    if isinstance(value, int | float) and not isinstance(value, bool):
        return _out_of_range(option, value, known)
    return ""


def _of_wrong_type(option: str, value: Any, kinds: set[str]) -> str:
    if words := kinds - WORDS.keys():  # those of a Literal
        words |= {"true", "false"} if "bool" in kinds else set()
        return f"{option}={value} is none of its values; {nearest(str(value), words)}"
    types = " or ".join(WORDS[kind] for kind in sorted(kinds - {"None"}))
    is_number = isinstance(value, str) and re.fullmatch(r"[+-]?[\d.]+([eE][+-]?\d+)?", value)
    if is_number and kinds <= {"int", "float", "None"}:
        return f"{option}={value!r} is text, not {types}; write it without quotes"
    return f"{option}={value} must be {types}"


def _out_of_range(option: str, value: float, known: Declared) -> str:
    """By what an option is called and its default: a size is 1 or more, a share is below 1."""
    if not math.isfinite(value):
        return f"{option}={value} must be a finite number"
    if "dropout" in option:
        return "" if 0 <= value < 1 else f"{option}={value} must be 0 or more, and less than 1"
    if _kinds(known.annotation) not in ({"int"}, {"int", "None"}):  # a fraction may well be negative
        return ""
    default = known.default if isinstance(known.default, int) else 0
    if default > 0 and not re.search("seed|key", option):
        return "" if value > 0 else f"{option}={value} must be positive"
    return "" if value >= 0 or default < 0 else f"{option}={value} must be zero or more"


def _kinds(annotation: ast.expr | None) -> set[str] | None:
    """Names of types, and the values of a Literal; None if there is anything else among them."""
    match annotation:
        case ast.Constant(value=None):
            return {"None"}
        case ast.Constant(value=str() as text):
            return _kinds(ast.parse(text, mode="eval").body)
        case ast.Name(id=name) if name in WORDS:
            return {name}
        case ast.BinOp(left=left, right=right, op=ast.BitOr()):
            return _union([left, right])
        case ast.Subscript(value=ast.Name(id="Optional") | ast.Attribute(attr="Optional"), slice=inner):
            return _union([inner, ast.Constant(None)])
        case ast.Subscript(
            value=ast.Name(id="Union") | ast.Attribute(attr="Union"), slice=ast.Tuple(elts=parts)
        ):
            return _union(parts)
        case ast.Subscript(value=ast.Name(id="Literal") | ast.Attribute(attr="Literal"), slice=inner):
            parts = inner.elts if isinstance(inner, ast.Tuple) else [inner]
            return {str(ast.literal_eval(part)) for part in parts}
        case ast.Subscript(value=ast.Name(id=("list" | "dict") as name)):
            return {name}
    return None


def _union(parts: list[ast.expr]) -> set[str] | None:
    kinds: set[str] = set()
    for part in parts:
        of_part = _kinds(part)
        if of_part is None:
            return None
        kinds |= of_part
    return kinds


def _is(kind: str, value: Any) -> bool:
    """Whether a value is of a type, or the value that a Literal names."""
    match kind:
        case "int":
            return isinstance(value, int) and not isinstance(value, bool)
        case "float":
            return isinstance(value, int | float) and not isinstance(value, bool)
        case "bool":
            return isinstance(value, bool)
        case "str":
            return isinstance(value, str)
        case "list":
            return isinstance(value, list | tuple)
        case "dict":
            return isinstance(value, dict)
    pattern = ".+".join(re.escape(part) for part in re.split(r"\[.*?\]", kind))  # pissa_niter_[number ...]
    return re.fullmatch(pattern, str(value)) is not None
