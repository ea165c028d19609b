"""The commands by name, for those that need all of them: `ether-study` without one, and completion."""

from __future__ import annotations

from typing import NamedTuple


class Entry(NamedTuple):
    """A command: the module whose `main` takes its arguments, its positional argument, and what it does."""

    module: str
    name: str
    about: str


COMMANDS = {
    "sweep": Entry("study.sweep", "NAME", "train what is missing of sweeps/NAME.yaml, draw the report"),
    "compare": Entry("study.compare", "METHOD ...", "put methods beside a baseline and say which is better"),
    "atlas": Entry("study.atlas", "", "train every method on every miniature, draw pages about all of them"),
    "status": Entry("study.status", "[NAME]", "list the studies; how one stands, with --watch live"),
    "rerun": Entry("study.rerun", "NAME RUN_ID", "train one run of a study again; is the result the same?"),
    "evaluate": Entry("study.evaluate", "NAME", "benchmark the language models that a study saved"),
    "export": Entry("study.export", "NAME TRACKER", "tell wandb, mlflow, trackio or TensorBoard of all runs"),
    "report": Entry("analysis.report", "NAME", "draw a study's report again, from its records alone"),
    "paper": Entry("analysis.paper.report", "", "the paper's figures, tables and claims, from records"),
    "completion": Entry("study.cli.completion", "SHELL", "print what makes Tab complete all of this"),
}
