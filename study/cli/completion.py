"""`ether-study completion SHELL`: what makes Tab complete commands, sweeps, studies, keys and their values.

The script that it prints asks `ether-study completion complete WORD ...` for what the last word can become.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

from study import config, methods, tasks
from study.cli.arguments import PROGRAM, Command
from study.cli.commands import COMMANDS
from study.cli.studies import RESULTS, study_names
from study.errors import UsageError
from study.settings import SAVE_ADAPTERS, TRACKERS, settings_by_key, switches

BASH = f"""\
_ether_study() {{
    local line="${{COMP_LINE:0:$COMP_POINT}}" words word="${{COMP_WORDS[COMP_CWORD]}}"
    read -ra words <<< "$line"
    [[ "$line" == *" " ]] && words+=("")
    local last="${{words[-1]}}"
    [[ "$word" == "=" || "$word" == ":" ]] && word=""
    local begun="${{last%"$word"}}"
    COMPREPLY=()
    while IFS= read -r found; do COMPREPLY+=("${{found#"$begun"}}"); done \\
        < <({PROGRAM} completion complete "${{words[@]:1}}" 2>/dev/null)
    [[ "${{COMPREPLY[0]}}" == *[=.] ]] && compopt -o nospace
}}
complete -o default -F _ether_study {PROGRAM}
"""
ZSH = f"""\
autoload -U +X bashcompinit && bashcompinit
{BASH}"""
FISH = f"""\
complete -c {PROGRAM} -f -a '({PROGRAM} completion complete (commandline -opc)[2..] (commandline -ct))'
"""
SCRIPTS = {"bash": BASH, "zsh": ZSH, "fish": FISH}

COMMAND = Command(
    module="study.cli.completion",
    name="SHELL",
    about=f"""
Prints what makes Tab complete commands, sweeps, studies, keys and their values in bash, zsh or fish.
In bash: eval "$({PROGRAM} completion bash)", in ~/.bashrc for good; zsh likewise. In fish:
{PROGRAM} completion fish | source
""",
    exit=[("", "0 it is printed, 2 there is none for such a shell")],
)


def main(arguments: list[str]) -> int:
    if arguments[:1] == ["complete"]:
        print("\n".join(complete(arguments[1:])))
        return 0
    return COMMAND.run(arguments, lambda parsed: _print_script(parsed.names[0]))


def _print_script(shell: str) -> int:
    if shell not in SCRIPTS:
        raise UsageError(f"no completion for {shell}; there is one for: {', '.join(SCRIPTS)}")
    print(SCRIPTS[shell], end="")
    return 0


def complete(words: list[str]) -> list[str]:
    """What the last word can become, sorted; it may be empty, and stands behind the program's name."""

    *before, begun = words or [""]
    if not before:
        found = [*COMMANDS]
    elif "=" in begun:
        found = _values(begun.partition("=")[0], begun)
    else:
        found = [*_names(before[0], before[1:]), *_keys(before[0])]
    return sorted({each for each in found if each.startswith(begun)})


def _names(command: str, given: list[str]) -> list[str]:
    """What can stand where the command takes a name."""
    named = [word for word in given if "=" not in word and not word.startswith("-")]
    if command == "compare":
        return [*methods.names(), *(path.name for path in Path().glob("*.py"))]
    if named and command == "export":
        return [*TRACKERS]
    if named:
        return _run_ids(named[0]) if command == "rerun" else []
    if command == "sweep":
        return config.sweep_names()
    if command == "completion":
        return [*SCRIPTS]
    return [] if command in ("paper", "atlas") else study_names(Path(RESULTS.default), "plan.json")


def _run_ids(study: str) -> list[str]:
    from study.storage import records

    return [*records.statuses(Path(RESULTS.default) / study)]


def _keys(command: str) -> list[str]:
    """`seeds=`, `task.steps=`, ... of the commands that take them."""
    if command == "atlas":
        return ["only=", "method=", "results=", *(f"{key}=" for key in settings_by_key())]
    if command not in ("sweep", "compare"):
        return ["results="]
    of_methods = [f"method.{name}." for name in methods.own_names() | {"lora"}] if command == "sweep" else []
    own = ["task=", "scale=", "launcher=", *(["method="] if command == "sweep" else ["baseline=", "sweep="])]
    return [*own, *of_methods, *(f"{key}=" for key in settings_by_key())]


def _values(key: str, begun: str) -> list[str]:
    """`key=value` for the values that a key is known to take; behind a comma, for the next one."""
    known: dict[str, Callable[[], list[str]]] = {
        "method": methods.names,
        "task": tasks.names,
        "launcher": config.launcher_names,
        "sweep": config.sweep_names,
        "baseline": methods.names,
        "scale": lambda: ["mini", "paper"],
        "save_adapters": lambda: [*SAVE_ADAPTERS],
    }
    if key in known:
        values = known[key]()
    elif key in switches():
        values = ["true", "false"]
    else:
        values = list(settings_by_key()[key].choices) if key in settings_by_key() else []
    head = begun[: begun.rfind(",") + 1] if "," in begun else f"{key}="
    return [f"{head}{value}" for value in values]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
