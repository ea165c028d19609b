"""The methods of a comparison as they stand on the command line: `LABEL=METHOD,option=value,...`."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from study import methods
from study.config import aliases
from study.config.names import check_value
from study.errors import UsageError, nearest
from study.methods import external
from study.settings import MethodOptions


@dataclass(frozen=True)
class Contender:
    """One of the methods compared.

    Attributes:
        label: the name it goes by.
        method: the method's name.
        options: as YAML gives them.
        file: where the method is written, if the user gave a file.
    """

    label: str
    method: str
    options: MethodOptions
    file: Path | None = None


def is_method(text: str) -> bool:
    """Whether `METHOD,option=value,...` looks like a method: a file, one of `peft`'s, or a known name."""
    name, *_ = text.split(",")
    return name.endswith(".py") or name.startswith("peft:") or name in methods.names()


def parse_contender(text: str, before: str = "") -> Contender:
    """Reads `LABEL=METHOD,option=value,...`. Nothing is imported, and nothing is made known to anyone.

    Args:
        before: what stood before it on the command line, which it may be meant to be an option of.

    Raises:
        UsageError: if there is no such method, file or option, or an option cannot take its value.
    """
    label = ""
    if labelled := re.match(r"(\w+)=", text):
        label, text = labelled.group(1), text[labelled.end() :]
        if before and not is_method(text) and (option := _option_of(before, label)):
            hint = f"{before},{option}={text}"
            raise UsageError(f"{label}={text}: an option goes with its method, after a comma: {hint}")
    name, *pairs = text.split(",")
    options: MethodOptions = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals:
            raise UsageError(f"{text}: {pair!r} is no option; write option=value")
        options[key] = _value(value)
    label = label or Path(name).stem.removeprefix("peft:").lower()
    if name.endswith(".py"):
        path = Path(name)
        method = _name_of_file(path)
        return Contender(label, method, {external.SOURCE: external.digest(path), **options}, path)
    method = _by_name(name)
    if method in external.files():
        options = {external.SOURCE: external.digest(external.files()[method]), **options}
    _check_options(name, method, options)
    return Contender(label, method, options)


def _option_of(contender: str, name: str) -> str:
    """The option of a method, such as `peft:HRA`, that is meant by a name; empty if none is.

    Of a method in a file nobody knows the options yet: the name may be one.
    """
    method = re.sub(r"^\w+=", "", contender).split(",")[0].lower()
    known = methods.options(method) if method in methods.names() else [name]
    return name if name in known else aliases.option(name, known)


def offer(contenders: Iterable[Contender]) -> None:
    """Makes the methods in files known, in this process and to its workers. Imports them, and torch.

    Raises:
        UsageError: if a file does not hold one method, two have one name, or a method has no such option.
    """
    in_files = [(each, each.file) for each in contenders if each.file is not None]
    paths: dict[str, Path] = {}
    for each, path in in_files:
        if paths.setdefault(each.method, path).resolve() != path.resolve():
            raise UsageError(f"{paths[each.method]} and {path} have one name; give one file another")
        external.offer(each.method, path)
    for each, path in in_files:
        external.config_class(each.method)
        _check_options(str(path), each.method, each.options)


def _check_options(name: str, method: str, options: MethodOptions) -> None:
    for option, value in options.items():
        if option != external.SOURCE:
            check_value(method, option, value, name)
    if reason := methods.refusal(method, options):
        raise UsageError(f"method {name} cannot be trained here: {reason}")


def _value(text: str) -> Any:
    """`4`, `0.1`, `1e-3`, `true`, `[a;b]` or text, as YAML reads them (and 1e-3 as a number)."""
    try:
        return (
            float(text)
            if re.fullmatch(r"[+-]?\d+(\.\d*)?[eE][+-]?\d+", text)
            else yaml.safe_load(text.replace(";", ","))
        )
    except yaml.YAMLError:
        return text


def _name_of_file(path: Path) -> str:
    """The name of the method in a file."""
    if not path.is_file():
        files = [str(p) for p in path.parent.glob("*.py")] if path.parent.is_dir() else []
        hint = nearest(str(path), files) if files else "check the path"
        raise UsageError(f"{path}: no such file; {hint}")
    name = path.stem.lower()
    if not name.isidentifier():
        raise UsageError(f"{path}: call it by a Python name, such as my_method.py")
    if name in set(methods.names()) - external.files().keys():
        raise UsageError(f"{path}: there is a method {name} already; give the file another name")
    return name


def _by_name(name: str) -> str:
    """The name of a method of this project, of `peft`, or of an installed package."""
    if name.startswith("peft:"):
        lower = name.lower()
        of_peft = [known for known in methods.names() if known.startswith("peft:")]
        if lower not in of_peft:
            meant = aliases.variant(name)
            hint = f"write {meant.as_contender()}" if meant else nearest(lower, of_peft)
            raise UsageError(f"the installed peft has no tuner {name[5:]!r}; {hint}")
        plain = lower.removeprefix("peft:")
        return lower if plain in methods.own_names() else plain
    if name not in methods.names():
        meant = aliases.variant(name)
        hint = f"write {meant.as_contender()}" if meant else nearest(name, methods.names())
        raise UsageError(f"unknown method {name!r}; {hint}")
    return name
