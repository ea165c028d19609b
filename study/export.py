"""`python -m study.export NAME TRACKER`: tells a tracker of all runs of a study, afterwards."""

from __future__ import annotations

import sys

from study import tracking
from study.cli.arguments import Arguments, Command
from study.cli.studies import RESULTS, existing_study
from study.errors import UsageError, first_line
from study.settings import TRACKERS
from study.storage import records
from study.storage.rows import RunRecord
from study.tracking.background import tell, told

COMMAND = Command(
    module="study.export",
    name="NAME TRACKER",
    several=True,
    about="""
Tells a tracker of every run of results/NAME that it does not know yet: settings, curves, results, grouped by
method and rate. Everything stays on this machine, in results/NAME/tracking, unless the tracker's own
environment variables (WANDB_MODE, MLFLOW_TRACKING_URI, TRACKIO_DIR) say otherwise. Trackers come with the
extra: pip install 'ether-study[track]'. To tell it while runs end: study.sweep NAME track=TRACKER.
""",
    sections={
        "TRACKER": [
            ("wandb", "offline; wandb sync results/NAME/tracking/wandb/*run-* sends it"),
            ("mlflow", "mlflow ui --backend-store-uri results/NAME/tracking/mlruns shows it"),
            ("trackio", "TRACKIO_DIR=results/NAME/tracking/trackio trackio show"),
            ("tensorboard", "tensorboard --logdir results/NAME/tracking/tensorboard"),
        ]
    },
    keys={"results": RESULTS},
    exit=[("", "0 it knows all runs, 1 it failed at one, 2 wrong usage, 130/143 after a signal")],
)


def main(arguments: list[str]) -> int:
    return COMMAND.run(arguments, export)


def export(arguments: Arguments) -> int:
    """Tells the tracker; returns the command's exit code.

    Raises:
        UsageError: if there is no such study or tracker, or its package is not installed.
    """
    if len(arguments.names) != 2:
        raise UsageError(
            f"give a study and a tracker, such as lr_grid wandb; there are: {', '.join(TRACKERS)}"
        )
    name, tracker_name = arguments.names
    tracking.check(tracker_name)
    folder = existing_study(name, arguments.keys["results"], "plan.json")
    ended = (RunRecord.from_json(content) for content in records.read_all(folder))
    try:
        tracker = tracking.load(tracker_name, folder)
        count = sum(1 for _ in tell(tracker, tracker_name, folder, ended))
    except UsageError:
        raise
    except Exception as error:
        print(f"error: {tracker_name}: {type(error).__name__}: {first_line(error)}", file=sys.stderr)
        return 1
    known = len(told(folder, tracker_name))
    print(f"{tracker_name} knows {known} runs of {folder}, {count} of them new: {folder / 'tracking'}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
