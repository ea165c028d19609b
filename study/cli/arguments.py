"""The one grammar of all commands: names, `key=value` of the command's own, and overrides of a sweep.

`python -m study.evaluate alpaca limit=20` has the name `alpaca` and the key `limit`. A sweep's command passes
every other `key=value` on to the sweep's configuration. `--key value` and `--key=value` are the same as
`key=value`, and `--key` alone is `key=true` for a key that is true or false.

Every command can be called in two ways, `python -m study.evaluate` and `ether-study evaluate`; help and
messages name it as it was called.
"""

from __future__ import annotations

import shlex
import sys
import textwrap
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from study.cli import exits
from study.errors import UsageError, nearest
from study.storage.provenance import version_line

MARGIN, WIDTH = 9, 108

GRID = "lr=1e-3,1e-2 makes a grid as it is"

Rows = Sequence[tuple[str, str]]
"""What is written, and what it means."""

EXIT = (
    ("", "0 every run ended (diverged counts), 1 some failed or were lost, 2 wrong usage,"),
    ("", "130/143 after a signal"),
)


CFG = "cfg"
"""The key of commands that can print a sweep's settings."""

PROGRAM = "ether-study"
"""The console script, whose first word is a command."""


def program(module: str) -> str:
    """A command in the way that this process was called: `python -m study.sweep`, `ether-study sweep`."""
    called = Path(sys.argv[0])
    word = module.rpartition(".")[2]
    if called.stem == PROGRAM:
        return f"{PROGRAM} {word}"
    if called.parts[-2:] == ("study", "__main__.py"):
        return f"python -m study {word}"
    return f"python -m {module}"


SWITCH = "true"
"""The example of a key of a command's own that is true or false: `--cfg`."""


@dataclass(frozen=True)
class Key:
    """A key of a command's own.

    Attributes:
        help: what it means.
        example: a value, as the help shows it.
        default: its value where it is not given.
        refuse: what is wrong with a value that is given, empty if nothing is.
    """

    help: str
    example: str
    default: str = ""
    refuse: Callable[[str], str] = lambda value: ""


class Arguments(NamedTuple):
    """What stood on the command line.

    Attributes:
        names: the positional arguments.
        keys: a value for every key of the command's own.
        overrides: what is passed on to a sweep's configuration, as it is.
    """

    names: list[str]
    keys: dict[str, str]
    overrides: list[str]


@dataclass(frozen=True)
class Command:
    """What a command takes.

    Attributes:
        module: what stands behind `python -m`.
        about: what it does and leaves behind.
        name: how the help calls its positional argument; empty if it has none.
        optional: whether it can be left out.
        several: whether it takes more than one.
        missing: what to say where there is none.
        keys: its own keys.
        is_override: whether an argument is for a sweep's configuration; None if it takes no overrides.
        overrides: examples of overrides.
        switches: keys of the configuration that are true or false.
        forms: further ways to call it.
        sections: what else its help tells, by heading; before the keys.
        exit: its exit codes.
    """

    module: str
    about: str
    name: str = ""
    optional: bool = False
    several: bool = False
    missing: str = ""
    keys: Mapping[str, Key] = field(default_factory=dict)
    is_override: Callable[[str], bool] | None = None
    overrides: Rows = ()
    switches: Collection[str] = ()
    forms: Sequence[str] = ()
    sections: Mapping[str, Rows] = field(default_factory=dict)
    exit: Rows = EXIT

    def run(self, arguments: list[str], action: Callable[[Arguments], int]) -> int:
        """Parses and acts; returns the exit code. Help is 0, a call without a needed name 2."""
        if "--version" in arguments:
            print(version_line())
            return 0
        if {"-h", "--help"} & set(arguments) or (self.needs_name and not arguments):
            print(self.help())
            return 0 if arguments else 2
        command = f"{program(self.module)} {shlex.join(arguments)}".rstrip()
        return exits.resumable(lambda: action(self.parse(arguments)), command)

    @property
    def needs_name(self) -> bool:
        return bool(self.name) and not self.optional

    def parse(self, arguments: list[str]) -> Arguments:
        """Sorts the arguments.

        Raises:
            UsageError: for an unknown key, a value that its key refuses, or too few or too many names.
        """
        names: list[str] = []
        keys = {key: each.default for key, each in self.keys.items()}
        overrides = []
        for argument in self._without_dashes(arguments):
            key, _, value = argument.partition("=")
            if key in self.keys and value:
                if complaint := self.keys[key].refuse(value):
                    raise UsageError(f"{argument}: {complaint}")
                keys[key] = value
            elif self.is_override is not None and self.is_override(argument):
                overrides.append(argument)
            elif self.name and (self.several or not names):
                names.append(argument)
            elif self.is_override is not None:
                raise UsageError(f"{argument!r} is not an override; write key=value, such as seeds=3")
            elif value:
                raise UsageError(f"unknown key {key!r}; {nearest(key, self.keys)}")
            else:
                raise UsageError(f"{argument!r} is not an option; write key=value{self._example()}")
        if self.needs_name and not names:
            raise UsageError(self.missing or f"no {self.name} given; see {program(self.module)} --help")
        return Arguments(names, keys, overrides)

    def _without_dashes(self, arguments: list[str]) -> list[str]:
        """`key=value` for each `--key value`, `--key=value` and `--switch`."""
        rest, plain = list(arguments), []
        while rest:
            argument = rest.pop(0)
            key, equals, value = argument.removeprefix("--").partition("=")
            key = key.replace("-", "_")
            if not argument.startswith("--") or not key:
                if argument == "-m" and self.is_override is not None:
                    raise UsageError(f"-m: leave it out; {GRID}")
                plain.append(argument)
            elif key == "multirun" and self.is_override is not None:
                raise UsageError(f"{argument}: leave it out; {GRID}")
            elif key not in self.keys and self.is_override is None:
                raise UsageError(f"unknown option {argument}; {self._known_options(key)}")
            elif equals:
                plain.append(f"{key}={value}")
            elif key == CFG and rest[:1] == ["job"]:  # as Hydra has it
                plain.append(f"{key}={SWITCH}")
                rest.pop(0)
            elif self._is_switch(key) and (not rest or rest[0].lower() not in ("true", "false")):
                plain.append(f"{key}=true")
            elif not rest:
                example = self.keys[key].example if key in self.keys else "VALUE"
                raise UsageError(f"{argument} needs a value, such as {argument}={example}")
            else:
                plain.append(f"{key}={rest.pop(0)}")
        return plain

    def _is_switch(self, key: str) -> bool:
        return key in self.switches or (key in self.keys and self.keys[key].example == SWITCH)

    def _known_options(self, key: str) -> str:
        return nearest(key, self.keys) if self.keys else f"see {program(self.module)} --help"

    def _example(self) -> str:
        examples = sorted((f"{key}={each.example}" for key, each in self.keys.items()), key=len)
        return f", such as {examples[0]}" if examples else ""

    def help(self) -> str:
        """What `--help` prints."""
        key_rows = [
            (f"--{key}" if self._is_switch(key) else f"{key}={each.example}", each.help)
            for key, each in self.keys.items()
        ]
        name = f"{self.name} [{self.name} ...]" if self.several else self.name
        name = f"[{name}]" if self.optional else name
        options = "[key=value ...]" if self.keys or self.is_override else ""
        usages = [" ".join(filter(None, [program(self.module), name, options])), *self.forms]
        lines = [f"{'' if i else 'usage:':6} {usage}" for i, usage in enumerate(usages)]
        blocks = (self.sections, {"keys": [*key_rows, *self.overrides]}, {"exit": self.exit})
        tables = ["\n".join(_section(*each) for each in block.items() if each[1]) for block in blocks]
        return "\n\n".join(["\n".join(lines), self.about.strip(), *filter(None, tables)])


def _section(heading: str, rows: Rows) -> str:
    """Rows in two columns beside their heading; a row without a left column takes the width of both."""
    width = max((len(left) + 2 for left, _ in rows if left), default=0)
    lines = []
    for left, right in rows:
        indent = width if left else 0
        first, *rest = textwrap.wrap(right, WIDTH - MARGIN - indent, break_on_hyphens=False)
        lines += [f"{left:{indent}}{first}", *(" " * indent + line for line in rest)]
    return "\n".join(f"{'' if i else heading:{MARGIN}}{line}" for i, line in enumerate(lines))
