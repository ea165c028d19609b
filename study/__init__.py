"""How much does a finetuning result depend on its hyperparameters? From a command to its tables, by floors:

door           `study.load`, `study.run`: the same from Python
sweep compare status evaluate rerun export     the commands; __main__ has them under one name
coordination   a study's folder: plans it, has what is missing done, collects
training       what a worker does: many runs of one method at once, over one frozen model      (torch)
config cli     YAML and overrides -> settings, checked; arguments, exit codes, progress
tracking       tells trackers, such as wandb, of runs that have ended
launchers      where jobs run: worker processes on this machine, array tasks on a cluster
storage        what a study keeps: records, tables, checkpoints, adapters; whole or not there
planning       settings -> runs -> packs -> jobs: pure functions
methods tasks  a name -> a `peft` config; a name -> base model, data, loss, metrics            (torch)
settings paths errors             the ground

evaluation     benchmarks of the language models that runs leave                               (torch)
testing        the contracts of methods, tasks and launchers, as checks                        (torch)
pretraining    scripts that rebuild the shipped checkpoints                                    (torch)

A floor imports from those below it, never from above (import rules: pyproject.toml). The package `analysis`,
beside this one, makes figures and reports of a study's tables and of nothing else.

From Python, `study.load("lr_grid")` opens a study and `study.run("lr_grid", seeds=3)` trains one. Importing
this package imports nothing else: what these need is imported when they are first asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from study.door import DrawnFigure, OpenStudy, load, run, studies

__all__ = ["DrawnFigure", "OpenStudy", "load", "run", "studies"]


def __getattr__(name: str) -> Any:
    """The names of `study.door`, imported when one is first asked for."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from study import door

    return getattr(door, name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
