"""`ether-study COMMAND ...`, or `python -m study COMMAND ...`: every command under one name."""

from __future__ import annotations

import importlib
import sys

from study.cli import exits
from study.cli.arguments import PROGRAM
from study.cli.commands import COMMANDS
from study.config.names import sweep_names
from study.errors import UsageError, nearest
from study.storage.provenance import version_line


def main(arguments: list[str] | None = None) -> int:
    """Passes the arguments behind the first on to the command that it names; returns its exit code."""
    words = sys.argv[1:] if arguments is None else arguments
    if not words or words[0] in ("-h", "--help", "help"):
        print(overview())
        return 0
    if words[0] == "--version":
        print(version_line())
        return 0
    return exits.one_line(lambda: _run(words[0], words[1:]))


def _run(word: str, rest: list[str]) -> int:
    if word not in COMMANDS:
        hint = f"it is a sweep: {PROGRAM} sweep {word}" if word in sweep_names() else nearest(word, COMMANDS)
        raise UsageError(f"unknown command {word!r}; {hint}")
    code: int = importlib.import_module(COMMANDS[word].module).main(rest)
    return code


def overview() -> str:
    """The commands, a line each."""
    lines = [f"  {f'{word} {entry.name}':20}{entry.about}" for word, entry in COMMANDS.items()]
    return "\n".join(
        [
            f"usage: {PROGRAM} COMMAND ...   (or python -m study COMMAND ...)",
            "",
            *lines,
            "",
            f"{PROGRAM} COMMAND --help says more of each; {PROGRAM} --version says which versions these are.",
        ]
    )


if __name__ == "__main__":
    sys.exit(main())
