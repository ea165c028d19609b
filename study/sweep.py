"""`python -m study.sweep NAME [key=value ...]`: plans a sweep, runs what is missing, draws the report."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

from study import config, methods, tasks
from study.cli.arguments import CFG, SWITCH, Arguments, Command, Key
from study.cli.result_table import result_table, tuning_table
from study.coordination import space
from study.coordination.coordinator import run_study
from study.coordination.describe import format_plan, format_space
from study.planning.rungs import Round
from study.planning.runs import plan_runs
from study.settings import SweepSettings, switches
from study.testing.foreign import check_foreign_methods

OVERRIDES = (
    ("method=ether,lora", "methods to run"),
    ("lr=1e-3,1e-2", "learning rates; lr=1e-4..1:9 or logspace(-4,0,9): 9, evenly spaced in their logarithm"),
    ("seeds=3", "seeds 0, 1, 2; seed=3 or seeds=[3,7]: these alone"),
    ("method.ether.blocks=8", "an option; a,b,c on task.* and method.* adds an axis"),
    ("task=NAME scale=mini|paper", "task.subset=NAME task.model=PATH task.data=PATH task.steps=100 ..."),
    ("task.data=my.csv", "own data: task.text_column=NAME task.label_column=NAME, if not text and label"),
    ("task.accumulate=4", "parts of a batch, one after the other; task.gradient_checkpointing=true"),
    (
        "trials=40 sampler=tpe",
        "of a space: trials of each method; random|qmc|tpe|gp; 'lr={log:[1e-4,1]}': a range",
    ),
    ("name=STUDY results=FOLDER", "where the results go: FOLDER/STUDY"),
    ("pack_size=1", "runs trained together (default: measured by a probe)"),
    ("save_adapters=none|best|all", "keep adapters, in peft's format: RESULTS/STUDY/adapters"),
    ("track=wandb|mlflow|trackio|tensorboard", "tell a tracker of every run that ends; see study.export"),
    ("checkpoint_s=60", "seconds between checkpoints of a pack in training"),
    ("launcher.workers=2", "processes on this machine; launcher.device=cpu|cuda"),
    ("launcher.gpu_memory_gb=80", "packs no larger than fit; with dry_run, what they need and for what"),
    (
        "launcher=slurm",
        "array tasks on a cluster: launcher.partition=NAME .account= .qos= .timeout_min= "
        ".array_parallelism= ... (study/settings.py)",
    ),
    ("detach=true", "with launcher=slurm: submit and return; the same command attaches"),
    ("prefetch=true", "load models and data into the cache, run nothing"),
    ("dry_run=true", "say what is understood of data, model and methods, print the plan, run nothing"),
    ("mixed_versions=true", "go on with a study that other versions of torch, peft, ... began"),
    ("retry=failed", "repeat runs that failed"),
)


def command() -> Command:
    """What `study.sweep` takes, with the names that there are."""
    own_methods = ", ".join(["lora", *sorted(methods.own_names())])
    sweeps = ", ".join(config.sweep_names())
    return Command(
        module="study.sweep",
        name="NAME",
        missing=f"no sweep given; name one of: {sweeps}",
        about="""
Runs the sweep sweeps/NAME.yaml, whatever of it is missing, and leaves tables, figures and report.html
in results/NAME/. Interrupt it at will: the same command goes on from there.
""",
        keys={CFG: Key("print the settings as YAML, run nothing", SWITCH)},
        is_override=lambda argument: "=" in argument,
        overrides=OVERRIDES,
        switches=switches(),
        sections={
            "sweeps": [("", sweeps)],
            "tasks": [("", ", ".join(tasks.names()))],
            "methods": [
                ("", own_methods),
                ("", "and every tuner of the installed peft, as hra, boft, ... or peft:NAME"),
            ],
        },
    )


def main(arguments: list[str]) -> int:
    return command().run(arguments, sweep)


def sweep(arguments: Arguments) -> int:
    """Carries out the sweep; returns the command's exit code. Raises as `run_study` does."""
    settings = config.load(arguments.names[0], arguments.overrides)
    if arguments.keys[CFG] == SWITCH:
        print(config.as_yaml(settings), end="")
        return 0
    if settings.space:
        return _sweep_space(settings)
    runs = plan_runs(settings)
    check_foreign_methods(runs)
    if settings.dry_run:
        print(format_plan(settings, runs))
        return 0
    return run_study(settings, runs, _draw)


def _sweep_space(settings: SweepSettings) -> int:
    """The same for a study whose runs are drawn from a space."""
    folder = Path(settings.results) / settings.name
    if not settings.dry_run:
        return run_study(settings, [], _draw, rounds=lambda folder: _checked(space.rounds(folder, settings)))
    drawn = space.known_trials(folder, settings)
    runs = space.runs_of(settings, drawn)
    check_foreign_methods(runs)
    print("\n".join([format_plan(settings, runs), *format_space(settings, drawn)]))
    return 0


def _checked(rounds: Iterator[Round]) -> Iterator[Round]:
    for each in rounds:
        check_foreign_methods(each.runs)
        yield each


def _draw(folder: Path) -> Path:
    from analysis.report import draw

    report = draw(folder)
    print(result_table(folder / "robustness.csv") or tuning_table(folder / "tuning.csv"))
    return report


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
