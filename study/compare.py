"""`python -m study.compare METHOD ... [key=value ...]`: how a new method stands against a baseline.

Runs what is missing of a sweep for each method and the baseline (whose records are taken over from
where they are), and leaves results/compare/<name>/report.html.
"""

from __future__ import annotations

import dataclasses
import difflib
import re
import shlex
import sys
from pathlib import Path

from study import config
from study.cli.arguments import CFG, SWITCH, Arguments, Command, Key
from study.cli.contenders import Contender, is_method, offer, parse_contender
from study.cli.exits import resumable
from study.cli.result_table import result_table
from study.cli.studies import ATLAS
from study.config import aliases
from study.config.names import near_key
from study.coordination.coordinator import run_study
from study.coordination.describe import format_plan
from study.coordination.plan_file import read_plan
from study.errors import UsageError
from study.planning.runs import Run, plan_runs
from study.settings import SweepSettings, settings_by_key, switches
from study.storage import adapters
from study.storage.atlas_file import NAME as ATLAS_FILE
from study.storage.comparison_file import Comparison, Cost
from study.testing.foreign import check_foreign_methods

SWEEP_KEYS = {field.name for field in dataclasses.fields(SweepSettings)} | {"scale"}
OWN_KEYS = {
    "baseline": Key("what the methods are compared with: a METHOD", "ether", default="ether"),
    "sweep": Key("the grid that all of them run", "lr_grid", default="lr_grid"),
    "name": Key("results/compare/STUDY; by default the labels", "STUDY"),
    CFG: Key("print the settings of each method as YAML, run nothing", SWITCH),
}
KEYS = (SWEEP_KEYS | OWN_KEYS.keys()) - {"methods", "method"}


def is_override(argument: str) -> bool:
    """Whether an argument is for the sweep: METHOD can have a `=` as well, as in `hra4=peft:HRA,r=4`.

    Raises:
        UsageError: if it chooses methods, or a method's options, as a sweep's overrides do; or if its key is
            misspelt.
    """
    key, _, value = argument.partition("=")
    if key == "method":
        raise UsageError(f"{argument}: name the methods alone, as in: study.compare peft:HRA ether")
    if not (value and re.fullmatch(r"[\w.]+", key)):
        return False
    if key == "methods" or key.startswith("method."):
        raise UsageError(f"{argument}: give options with their method, as in peft:HRA,r=4")
    if key in SWEEP_KEYS or "." in key:
        return True
    known = [*KEYS, *settings_by_key()]
    is_key = aliases.key(key, known) or key in {each.rpartition(".")[2] for each in known}
    if not is_method(value) and (is_key or difflib.get_close_matches(key, KEYS, cutoff=0.75)):
        raise UsageError(f"unknown key {key!r}; {near_key(key, known)}")
    return False


COMMAND = Command(
    module="study.compare",
    name="METHOD",
    several=True,
    missing="no method to compare; name one, such as peft:HRA or my_method.py",
    about="""
Runs what is missing of a sweep for each METHOD and for a baseline, and leaves a report of how they
compare in results/compare/STUDY/report.html.
""",
    forms=["python -m study.compare --check FILE.py"],
    sections={
        "METHOD": [
            ("my_method.py", "a file with one method (CONTRIBUTING.md has an example)"),
            ("peft:HRA  peft:HRA,r=4", "a tuner of the installed peft, with options (docs/tuners.md)"),
            ("ether,blocks=8", "a method of this project"),
            ("LABEL=METHOD", "under a name of its own, such as hra4=peft:HRA,r=4"),
        ],
        "--check": [
            ("", "takes a method file through the contract of methods and says of each failure what to fix")
        ],
    },
    keys=OWN_KEYS,
    is_override=is_override,
    switches=switches(),
    overrides=[
        (
            "",
            "and every key of study.sweep: lr=1e-3,1e-2 seeds=3 task=NAME task.model=PATH launcher=slurm ...",
        )
    ],
    exit=[
        ("", "0 every run ended, 1 some failed or were lost (or a check failed), 2 wrong usage,"),
        ("", "130/143 after a signal"),
    ],
)


def main(arguments: list[str]) -> int:
    command = shlex.join(["python", "-m", "study.compare", *arguments])
    if "--check" in arguments:
        checked = [argument for argument in arguments if argument != "--check"]
        return resumable(lambda: check(checked), command)
    return COMMAND.run(arguments, lambda parsed: compare(parsed, command))


def check(arguments: list[str]) -> int:
    """Takes a method through the contract; 0 if it keeps it.

    Raises:
        UsageError: if there is no such method, or its file holds none.
    """
    if len(arguments) != 1:
        raise UsageError("--check takes one METHOD, such as --check my_method.py")
    contender = parse_contender(arguments[0])
    offer([contender])
    from study.testing import method_contract

    results = method_contract.run(contender.method, contender.options)
    for result in results:
        mark = "ok    " if result.ok else "BROKEN"
        print(f"{mark} {result.what}{f': {result.message}' if result.message else ''}")
    broken = sum(not result.ok for result in results)
    print(f"{contender.label}: {len(results) - broken} of {len(results)} checks passed")
    return 1 if broken else 0


def compare(arguments: Arguments, command: str) -> int:
    """Runs what is missing and draws the report; returns the command's exit code.

    Raises:
        UsageError: before any training, if something about the command is wrong.
        CannotWrite: if the disk is full.
    """
    keys, overrides = arguments.keys, arguments.overrides
    texts = [keys["baseline"], *arguments.names]
    before = ["", "", *arguments.names]
    contenders = [parse_contender(text, previous) for text, previous in zip(texts, before, strict=False)]
    labels = _distinct_labels(texts, contenders)
    name = keys["name"] or "_".join(labels[1:])[:80]
    loaded = [_settings(each, keys["sweep"], [*overrides, f"name={name}"]) for each in contenders]
    if keys[CFG] == SWITCH:
        documents = [
            f"# {label}\n{config.as_yaml(alone)}" for label, alone in zip(labels, loaded, strict=True)
        ]
        print("---\n".join(documents), end="")
        return 0
    settings = dataclasses.replace(loaded[0], methods=[each.method for each in contenders])
    settings.results = str(Path(settings.results) / "compare")
    if not any(override.startswith("save_adapters=") for override in overrides):
        settings.save_adapters = "best"
    runs_by_label = {label: plan_runs(alone) for label, alone in zip(labels, loaded, strict=True)}
    runs = [run for labelled_runs in runs_by_label.values() for run in labelled_runs]
    _check_runs(keys["sweep"], runs_by_label, list(settings.axes))
    offer(contenders)
    check_foreign_methods(runs)
    if settings.dry_run:
        print(format_plan(settings, runs, borrow_from=Path(loaded[0].results)))
        return 0

    def draw(folder: Path) -> Path:
        from analysis.compare import draw as draw_report

        label_of = {run.run_id: label for label, labelled in runs_by_label.items() for run in labelled}
        Comparison(labels, label_of, command, _costs(folder, runs_by_label)).write(folder)
        report = draw_report(folder)
        print(result_table(folder / "robustness.csv"))
        if keys["sweep"] == ATLAS and (folder.parent.parent / ATLAS / ATLAS_FILE).is_file():
            print("to put it on the atlas's pages: python -m analysis.atlas")
        return report

    return run_study(settings, runs, draw, borrow_from=Path(loaded[0].results))


def _distinct_labels(texts: list[str], contenders: list[Contender]) -> list[str]:
    """What the methods are called, the baseline first.

    Raises:
        UsageError: if two have one name.
    """
    labels = [each.label for each in contenders]
    for i, label in enumerate(labels):
        if label not in labels[:i]:
            continue
        first = labels.index(label)
        if contenders[first] == contenders[i]:
            role = "is the baseline" if first == 0 else "stands there twice"
            raise UsageError(f"{texts[i]} {role}; name another method, or another baseline=METHOD")
        unlabelled = re.sub(r"^\w+=", "", texts[i])
        raise UsageError(f"two methods are called {label}; give one a LABEL=, as in {label}2={unlabelled}")
    return labels


def _check_runs(sweep: str, runs_by_label: dict[str, list[Run]], axes: list[str]) -> None:
    """Refuses a method without runs, one with several at a learning rate and seed, and runs that two share.

    Args:
        axes: what else the grid varies, which would compare a method on several tasks or settings at once.

    Raises:
        UsageError: naming them.
    """
    if without := [label for label, runs in runs_by_label.items() if not runs]:
        raise UsageError(f"sweep {sweep} has points for other methods than {without[0]}; give another sweep=")
    owner: dict[str, str] = {}
    for label, runs in runs_by_label.items():
        if len({(run.lr, run.seed) for run in runs}) < len(runs):
            raise UsageError(
                f"{', '.join(axes) or 'points'}: methods are compared on one task with one set of settings; "
                "give a command for each value, with a name= of its own"
            )
        for run in runs:
            if (first := owner.setdefault(run.run_id, label)) != label:
                raise UsageError(f"{first} and {label} are the same, options included; nothing to compare")


def _settings(contender: Contender, sweep: str, overrides: list[str]) -> SweepSettings:
    """The sweep for this method alone, with the sweep's options for it and those given."""
    settings = config.load(sweep, overrides)
    settings.axes = {k: v for k, v in settings.axes.items() if not k.startswith("method.")}
    settings.methods = [contender.method]
    options_of_sweep = dict(settings.method.get(contender.method, {}))
    settings.method = {contender.method: options_of_sweep | contender.options}
    return settings


def _costs(folder: Path, runs_by_label: dict[str, list[Run]]) -> dict[str, Cost]:
    plan = read_plan(folder)
    profiles = plan.profiles if plan else {}
    costs = {}
    for label, runs in runs_by_label.items():
        profile = profiles.get(runs[0].variant)
        estimated_bytes = 4 * profile.footprint.num_params if profile else 0
        costs[label] = Cost(
            saved_mb=(profile.activation_mb if profile else 0) or None,
            adapter_bytes=_adapter_bytes(folder, runs) or estimated_bytes or None,
            unpackable=profile.unpackable if profile else "",
        )
    return costs


def _adapter_bytes(folder: Path, runs: list[Run]) -> int | None:
    """Size of one saved adapter of the method, if there is one; every run's is of the same size."""
    for run in runs:
        path = adapters.folder_of(folder, run.run_id) / "adapter_model.safetensors"
        if path.exists():
            return path.stat().st_size
    return None


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
