"""Trackio, in the study's folder unless TRACKIO_DIR says otherwise: `TRACKIO_DIR=FOLDER trackio show`."""

from __future__ import annotations

import os
from pathlib import Path

from study.storage.rows import RunRecord
from study.tracking import Tracker, curves, group, results, settings, title


class Trackio(Tracker):
    package = "trackio"

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        os.environ.setdefault("TRACKIO_DIR", str((self.folder / "trackio").resolve()))  # read on import

    def log(self, record: RunRecord) -> None:
        import trackio

        config = {key: value for key, value in settings(record).items() if value is not None}
        run = trackio.init(
            project=self.study,
            name=f"{title(record)} {record.identity.run_id}",
            group=group(record),
            config={**config, "status": record.outcome.status},
        )
        for step, values in curves(record):
            run.log(values, step=step)
        run.log(results(record), step=record.outcome.steps)
        run.finish()
