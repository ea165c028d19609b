"""`python -m study.compare METHOD ... [key=value ...]`: how a new method stands against a baseline.

Runs what is missing of a sweep for each method and the baseline (whose records are taken over from
where they are), and leaves results/compare/<name>/report.html.
"""

from __future__ import annotations

import dataclasses
import json
import re
import shlex
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from study import config, methods
from study.cli import exits
from study.coordination.coordinator import run_study
from study.coordination.describe import format_plan
from study.coordination.plan_file import read_plan
from study.errors import UsageError, nearest
from study.methods import external
from study.planning.runs import Run, digest, plan_runs
from study.settings import SweepSettings
from study.storage import records
from study.storage.files import write_atomically
from study.storage.rows import RunRecord

HELP = """\
usage: python -m study.compare METHOD [METHOD ...] [key=value ...]
       python -m study.compare --check FILE.py

METHOD   my_method.py                 a file with one method (CONTRIBUTING.md has an example)
         peft:HRA  peft:HRA,r=4       a tuner of the installed peft, with options (docs/tuners.md)
         ether,blocks=8               a method of this project
         LABEL=METHOD                 under a name of its own, such as hra4=peft:HRA,r=4

keys     baseline=ether               what the methods are compared with: a METHOD
         sweep=lr_grid                the grid that all of them run
         name=STUDY                   results/compare/STUDY; by default the labels
         and every key of study.sweep: lr=1e-3,1e-2 seeds=3 task=NAME task.model=PATH launcher=slurm ...

--check  takes a method file through the contract of methods and says of each failure what to fix

exit     0 every run ended, 1 some failed or were lost (or a check failed), 2 wrong usage,
         130/143 after a signal
"""

OWN_KEYS = {"baseline": "ether", "sweep": "lr_grid", "name": ""}


@dataclass(frozen=True)
class Contender:
    """One of the methods compared: the name it goes by, the method, its options."""

    label: str
    method: str
    options: dict[str, Any]


def main(arguments: list[str]) -> int:
    if not arguments or arguments[0] in ("-h", "--help"):
        print(HELP)
        return 0 if arguments else 2
    command = shlex.join(["python", "-m", "study.compare", *arguments])
    if arguments[0] == "--check":
        return exits.resumable(lambda: check(arguments[1:]), command)
    return exits.resumable(lambda: compare(arguments, command), command)


def check(arguments: list[str]) -> int:
    """Takes a method through the contract; 0 if it keeps it.

    Raises:
        UsageError: if there is no such method, or its file holds none.
    """
    if len(arguments) != 1:
        raise UsageError("--check takes one METHOD, such as --check my_method.py")
    own = contender(arguments[0])
    from study.testing import method_contract as contract

    results = contract.run(own.method, own.options)
    for result in results:
        mark = "ok    " if result.ok else "BROKEN"
        print(f"{mark} {result.what}{f': {result.message}' if result.message else ''}")
    broken = sum(not result.ok for result in results)
    print(f"{own.label}: {len(results) - broken} of {len(results)} checks passed")
    return 1 if broken else 0


# What is asked for ----------------------------------------------------------------------------


def parse(arguments: list[str]) -> tuple[list[str], dict[str, str], list[str]]:
    """The methods, this command's own keys, and the overrides for the sweep."""
    known = {field.name for field in dataclasses.fields(SweepSettings)} | {"scale", "launcher", "task"}
    wanted, own, overrides = [], dict(OWN_KEYS), []
    for argument in arguments:
        key, _, value = argument.partition("=")
        if key in OWN_KEYS and value:
            own[key] = value
        elif re.fullmatch(r"[\w.]+", key) and value and (key in known or "." in key):
            if key == "methods" or key.startswith("method."):
                raise UsageError(f"{argument}: give options with their method, as in peft:HRA,r=4")
            overrides.append(argument)
        elif key == "method":
            raise UsageError(f"{argument}: name the methods alone, as in: study.compare peft:HRA ether")
        else:
            wanted.append(argument)
    if not wanted:
        raise UsageError("no method to compare; name one, such as peft:HRA or my_method.py")
    return wanted, own, overrides


def contender(text: str) -> Contender:
    """Reads `LABEL=METHOD,option=value,...`.

    Raises:
        UsageError: if there is no such method, file or option, or the file does not hold one method.
    """
    label = ""
    if named := re.match(r"(\w+)=", text):
        label, text = named.group(1), text[named.end() :]
    name, *pairs = text.split(",")
    options: dict[str, Any] = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals:
            raise UsageError(f"{text}: {pair!r} is no option; write option=value")
        options[key] = _value(value)
    method = _from_file(Path(name)) if name.endswith(".py") else _by_name(name)
    known = methods.options(method)
    for option in options:
        if option not in known:
            raise UsageError(f"method {name} has no option {option!r}; {nearest(option, known)}")
    if method in external.files():
        options = {external.SOURCE: external.digest(external.files()[method]), **options}
    return Contender(label or Path(name).stem.removeprefix("peft:").lower(), method, options)


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


def _from_file(path: Path) -> str:
    if not path.is_file():
        there = [str(p) for p in path.parent.glob("*.py")] if path.parent.is_dir() else []
        raise UsageError(f"{path}: no such file; {nearest(str(path), there) if there else 'check the path'}")
    name = path.stem.lower()
    if not name.isidentifier():
        raise UsageError(f"{path}: call it by a Python name, such as my_method.py")
    if name in set(methods.names()) - external.files().keys():
        raise UsageError(f"{path}: there is a method {name} already; give the file another name")
    external.offer(name, path)
    external.config_class(name)
    return name


def _by_name(name: str) -> str:
    if name.startswith("peft:"):
        lower = name.lower()
        of_peft = [n for n in methods.names() if n.startswith("peft:")]
        if lower not in of_peft:
            raise UsageError(f"the installed peft has no tuner {name[5:]!r}; {nearest(lower, of_peft)}")
        plain = lower.removeprefix("peft:")
        return lower if plain in methods.own_names() else plain
    if name not in methods.names():
        raise UsageError(f"unknown method {name!r}; {nearest(name, methods.names())}")
    return name


# Running --------------------------------------------------------------------------------------


def compare(arguments: list[str], command: str) -> int:
    """Runs what is missing and draws the report; returns the command's exit code.

    Raises:
        UsageError: before any training, if something about the command is wrong.
        CannotWrite: if the disk is full.
    """
    wanted, own, overrides = parse(arguments)
    contenders = [contender(text) for text in (own["baseline"], *wanted)]
    labels = [each.label for each in contenders]
    if repeated := [label for i, label in enumerate(labels) if label in labels[:i]]:
        raise UsageError(f"two methods are called {repeated[0]}; give one a LABEL=, as in b=peft:HRA,r=4")
    name = own["name"] or "_".join(labels[1:])[:80]
    loaded = [_settings(each, own["sweep"], [*overrides, f"name={name}"]) for each in contenders]
    settings = dataclasses.replace(loaded[0], methods=[each.method for each in contenders])
    settings.results = str(Path(settings.results) / "compare")
    if not any(override.startswith("save_adapters=") for override in overrides):
        settings.save_adapters = "best"
    runs_by_label = {each.label: plan_runs(own_) for each, own_ in zip(contenders, loaded, strict=True)}
    runs = [run for own_runs in runs_by_label.values() for run in own_runs]
    if len({run.run_id for run in runs}) < len(runs):
        raise UsageError("two of the methods are the same, options included; nothing to compare")
    if settings.dry_run:
        print(format_plan(settings, runs))
        return 0

    def prepare(folder: Path) -> None:
        _borrow(folder, Path(loaded[0].results), {run.run_id for run in runs})

    def draw(folder: Path) -> Path:
        from analysis.compare import draw as draw_report

        _write_description(folder, runs_by_label, labels, command)
        return draw_report(folder)

    return run_study(settings, runs, draw, prepare)


def _settings(each: Contender, sweep: str, overrides: list[str]) -> SweepSettings:
    """The sweep for this method alone, with the sweep's own options for it and those given."""
    settings = config.load(sweep, overrides)
    settings.axes = {k: v for k, v in settings.axes.items() if not k.startswith("method.")}
    settings.methods = [each.method]
    settings.method = {each.method: dict(settings.method.get(each.method, {})) | each.options}
    return settings


def _borrow(folder: Path, results: Path, wanted: set[str]) -> None:
    """Takes over finished records of the same runs from the studies under `results`."""
    missing = wanted - records.statuses(folder).keys()
    for other in sorted({path.parent for path in results.rglob("records")} - {folder}):
        found = [
            RunRecord.from_json(record)
            for record in records.read_all(other)
            if record["row"]["run_id"] in missing and record["row"]["status"] != "failed"
        ]
        if found:
            ids = [record.identity.run_id for record in found]
            records.write(folder, f"from-{digest([str(other), ids])}", found)
            missing -= set(ids)
            print(f"{len(ids)} runs are there already, in {other}", flush=True)


def _write_description(
    folder: Path, runs_by_label: dict[str, list[Run]], labels: list[str], command: str
) -> None:
    """compare.json: what the analysis needs to know beside the tables."""
    plan = read_plan(folder)
    profiles = plan.profiles if plan else {}
    costs = {}
    for label, runs in runs_by_label.items():
        profile = profiles.get(runs[0].variant)
        stored_bytes = 4 * profile.footprint.num_params if profile else 0
        costs[label] = {
            "saved_mb": (profile.activation_mb if profile else 0) or None,
            "adapter_bytes": _adapter_bytes(folder, runs) or stored_bytes or None,
            "unpackable": profile.unpackable if profile else "",
        }
    description = {
        "baseline": labels[0],
        "order": labels,
        "labels": {run.run_id: label for label, runs in runs_by_label.items() for run in runs},
        "command": command,
        "costs": costs,
    }
    write_atomically(folder / "compare.json", json.dumps(description, indent=1).encode())


def _adapter_bytes(folder: Path, runs: list[Run]) -> int | None:
    """Size of one saved adapter of the method, if there is one; every run's is of the same size."""
    for run in runs:
        path = folder / "adapters" / run.run_id / "adapter_model.safetensors"
        if path.exists():
            return path.stat().st_size
    return None


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
