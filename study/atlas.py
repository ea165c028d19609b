"""`python -m study.atlas [key=value ...]`: every method that trains here, on every miniature.

A sweep of sweeps: for each task what `python -m study.sweep atlas task=...` does, planned, run, interrupted
and resumed as one. Records of the same runs that other studies under `results` have are taken over. Leaves a
study for each task in results/atlas/TASK, and pages about all of them: results/atlas/index.html.
"""

from __future__ import annotations

import dataclasses
import shlex
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from study import config
from study.cli.arguments import Arguments, Command, Key, program
from study.cli.studies import ATLAS
from study.coordination.coordinator import run_study
from study.coordination.describe import estimate, format_plan
from study.coordination.plan_file import read_plan
from study.errors import UsageError, nearest
from study.naming import study_name
from study.planning.runs import Run, plan_runs
from study.settings import SweepSettings, switches
from study.storage.atlas_file import NAME as ATLAS_FILE
from study.storage.atlas_file import Atlas, PlannedMethod, PlannedTask, read_atlas
from study.testing.foreign import check_foreign_methods

SWEEP = "atlas"

TASKS: dict[str, list[str]] = {
    "vtab": ["task=vtab"],
    **{
        study_name("glue", subset): ["task=glue", f"task.subset={subset}"]
        for subset in ("acceptability", "topic", "paraphrase", "similarity")
    },
    "instruct": ["task=instruct"],
    "s2i": ["task=s2i"],
    "subject": ["task=subject"],
}
"""The overrides that choose each miniature, by the name of its study's folder; the quickest come first."""

ONE_WIDTH = "it makes one projection for all layers of a name, which have several widths in this model"
EXCLUDED = {"s2i": {"frod": ONE_WIDTH}, "subject": {"frod": ONE_WIDTH}}
"""Methods that cannot be trained on a task, by task, each with the reason."""

OF_A_TASK = ("task", "scale", "task.subset", "task.data", "name")
"""Keys that say which study it is, which the atlas says itself."""


def _refuse_only(value: str) -> str:
    unknown = [name for name in value.split(",") if name not in TASKS]
    return nearest(unknown[0], TASKS) if unknown else ""


def _is_override(argument: str) -> bool:
    """Raises UsageError if it chooses a task, or renames the studies."""
    key, equals, _ = argument.partition("=")
    if equals and key in OF_A_TASK:
        raise UsageError(f"{argument}: the atlas has tasks of its own; choose among them with only=vtab,...")
    return bool(equals)


COMMAND = Command(
    module="study.atlas",
    about="""
Runs the sweep sweeps/atlas.yaml, every method that trains here over the grid of learning rates, on every
miniature, whatever of it is missing; and leaves results/atlas/index.html, pages that need no server.
Interrupt it at will: the same command goes on from there.
""",
    keys={"only": Key("some of the tasks alone", "vtab,glue_topic", refuse=_refuse_only)},
    is_override=_is_override,
    switches=switches(),
    sections={"tasks": [("", ", ".join(TASKS))]},
    overrides=[
        ("method=ether,lora", "some of the methods alone"),
        ("seeds=2 lr=1e-3,1e-2", "fewer of each; so for every key of study.sweep but those of the task:"),
        ("task.steps=3", "for all tasks"),
        ("dry_run=true", "print the plan of each task, and what all of them take; run nothing"),
        ("report=false", "do not draw the pages; python -m analysis.atlas does"),
    ],
)


@dataclass(frozen=True)
class Part:
    """The study of one task."""

    name: str
    settings: SweepSettings
    runs: list[Run]

    @property
    def folder(self) -> Path:
        return Path(self.settings.results) / self.name


def main(arguments: list[str]) -> int:
    return COMMAND.run(arguments, lambda parsed: atlas(parsed, arguments))


def atlas(arguments: Arguments, words: Sequence[str] = ()) -> int:
    """Carries out all studies; returns the command's exit code.

    A study that is refused or fails does not stop the others: 2 if all were refused, 1 if any was not done
    to its end.

    Args:
        words: the command's arguments as they were typed.

    Raises:
        UsageError: before any work, if something about the command is wrong.
        CannotWrite, KeyboardInterrupt: as `run_study`; what is finished is kept.
    """
    parts, results, wants_report = _plan(arguments)
    check_foreign_methods([run for part in parts for run in part.runs])
    if parts[0].settings.dry_run:
        print("\n\n".join([*(_described(part, results) for part in parts), _total(parts)]))
        return 0
    command = f"{program('study.atlas')} {shlex.join(words)}".rstrip()
    refusals, codes = {}, []
    for number, part in enumerate(parts, start=1):
        print(f"{part.name}: {number} of {len(parts)} tasks", flush=True)
        try:
            codes.append(run_study(part.settings, part.runs, lambda folder: folder, borrow_from=results))
        except UsageError as error:
            refusals[part.name] = str(error)
            codes.append(2)
            print(f"error: {part.name}: {'; '.join(str(error).splitlines())}", file=sys.stderr)
        finally:
            if part.folder.is_dir() and not part.settings.prefetch:
                _note(results / ATLAS, command, part, refusals.get(part.name, ""))
    if wants_report and any((results / ATLAS / name / "runs.parquet").is_file() for name in TASKS):
        from analysis.atlas.site import draw

        print(f"atlas: {draw(results / ATLAS)}")
    return 2 if set(codes) == {2} else int(any(codes))


def _plan(arguments: Arguments) -> tuple[list[Part], Path, bool]:
    """The studies, the folder of all studies, and whether the pages are to be drawn.

    Raises:
        UsageError: if the settings of any of them are wrong, or none has anything to do.
    """
    chosen = arguments.keys["only"].split(",") if arguments.keys["only"] else list(TASKS)
    parts = []
    for name in dict.fromkeys(chosen):
        settings = config.load(SWEEP, [*TASKS[name], *arguments.overrides, f"name={name}"])
        results, wants_report = Path(settings.results), settings.report
        settings.methods = [m for m in settings.methods if m not in EXCLUDED.get(name, {})]
        settings = dataclasses.replace(settings, results=str(results / ATLAS), report=False)
        if settings.methods:
            parts.append(Part(name, settings, plan_runs(settings)))
    if not parts:
        raise UsageError(f"nothing to run: {'; '.join(_reasons(chosen))}")
    return parts, results, wants_report


def _reasons(tasks: Sequence[str]) -> Iterator[str]:
    for task in tasks:
        yield from (f"{method} on {task}: {why}" for method, why in EXCLUDED.get(task, {}).items())


def _described(part: Part, results: Path) -> str:
    """The plan of one study, or why there is none."""
    try:
        text = format_plan(part.settings, part.runs, borrow_from=results)
    except UsageError as error:
        text = f"{part.name}: error: {error}"
    left_out = [f"  without {method}: {why}" for method, why in EXCLUDED.get(part.name, {}).items()]
    return "\n".join([text, *left_out])


def _total(parts: Sequence[Part]) -> str:
    """Runs and time of all studies, as far as the time is known."""
    estimates = [estimate(part.settings, part.runs) for part in parts]
    runs = sum(len(part.runs) for part in parts)
    known, seconds = sum(each.runs for each in estimates), sum(each.seconds for each in estimates)
    total = f"all {len(parts)} tasks: {runs:,} runs"
    if known == runs:
        return f"{total}, about {seconds:.0f} s of training"
    if not known:
        return f"{total}; their time is measured at launch"
    return f"{total}; about {seconds:.0f} s of training for {known:,} of them, new here are the others"


def _note(folder: Path, command: str, part: Part, refusal: str) -> None:
    """Puts what was planned for a task, and what its methods cost, into atlas.json; other tasks stay."""
    before: Mapping[str, PlannedTask]
    try:
        before = read_atlas(folder).tasks
    except UsageError as error:
        before = {}
        if (folder / ATLAS_FILE).exists():
            print(f"note: {error}")
    plan = read_plan(part.folder)
    methods: dict[str, PlannedMethod] = dict(before[part.name].methods) if part.name in before else {}
    for method in part.settings.methods:
        runs = [run for run in part.runs if run.method == method]
        profile = plan.profiles.get(runs[0].variant) if plan else None
        methods[method] = PlannedMethod(
            len(runs),
            dict(part.settings.method.get(method, {})),
            (profile.activation_mb or None) if profile else None,
            profile.unpackable if profile else "",
        )
    noted = PlannedTask(methods, EXCLUDED.get(part.name, {}), refusal)
    Atlas(command, tuple(TASKS), {**before, part.name: noted}).write(folder)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
