"""`python -m study.rerun NAME RUN_ID`: trains one run of a study again; is the result the same?"""

from __future__ import annotations

import sys
from pathlib import Path

from study import methods
from study.cli.arguments import SWITCH, Arguments, Command, Key
from study.cli.contenders import offer, parse_contender
from study.cli.studies import RESULTS, existing_study
from study.coordination.rerun import pack_of, recorded, rerun, run_of
from study.errors import UsageError
from study.methods import external
from study.planning.runs import Run
from study.storage import adapters

COMMAND = Command(
    module="study.rerun",
    name="NAME RUN_ID",
    several=True,
    missing="no study given; write NAME RUN_ID, such as lr_grid 12fe9fbcb24a",
    about="""
Trains one run of the study results/NAME again, alone, from the settings in its record, and says whether
the result is the same: bit for bit, to rounding, or not. The first result stays as it is; the second, with
its adapter, is in results/NAME/reruns/RUN_ID. RUN_ID may be shortened, as in git.
""",
    keys={
        "with_pack": Key("the runs that it trained with, too: what rounding decided is as it was", SWITCH),
        "file": Key("the method's file, where it was one of your own", "gain.py"),
        "device": Key("cpu | cuda; default: cuda if there is one", "cuda"),
        "results": RESULTS,
    },
    exit=[
        ("", "0 the result is the same, 1 it is not, or the run failed, 2 wrong usage,"),
        ("", "130/143 after a signal"),
    ],
)


def main(arguments: list[str]) -> int:
    return COMMAND.run(arguments, again)


def again(arguments: Arguments) -> int:
    """Trains the run and prints the verdict; returns the command's exit code.

    Raises:
        UsageError: if there is no such study or run, or it cannot be trained here.
    """
    if len(arguments.names) != 2:
        raise UsageError("give a study and a run, such as lr_grid 12fe9fbcb24a")
    name, run_id = arguments.names
    folder = existing_study(name, arguments.keys["results"], "plan.json")
    record = recorded(folder, run_id)
    run = run_of(record)
    if arguments.keys["file"]:
        offer([parse_contender(arguments.keys["file"])])
    check_method(run)
    runs = pack_of(folder, record) if arguments.keys["with_pack"] == SWITCH else [run]
    where, reproduction = rerun(folder, record, runs, arguments.keys["device"] or None)
    adapter = adapters.folder_of(where, run.run_id)
    print(f"{run.title} lr={run.lr:g} seed={run.seed}: {reproduction.words}")
    if adapter.is_dir():
        print(f"adapter: {adapter}")
    if not reproduction.ok and len(runs) == 1 and record.outcome.pack_size > 1:
        print(
            f"it trained in a pack of {record.outcome.pack_size} then and alone now, which rounds otherwise: "
            "--with-pack trains the whole pack again"
        )
    return 0 if reproduction.ok else 1


def check_method(run: Run) -> None:
    """Refuses a method that is not here, or whose file has changed.

    Raises:
        UsageError: saying which file is needed.
    """
    if run.method not in methods.names():
        raise UsageError(f"method {run.method} is in a file of yours; give file={run.method}.py")
    source = run.options.get(external.SOURCE)
    path: Path | None = external.sources().get(run.method)
    if source and path and external.digest(path) != source:
        raise UsageError(f"{path} has changed since the run: it was trained with content {source}")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
