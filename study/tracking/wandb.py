"""Weights & Biases, offline unless WANDB_MODE says otherwise; `wandb sync` sends what it kept."""

from __future__ import annotations

import os

from study.storage.rows import RunRecord
from study.tracking import Tracker, curves, group, results, settings, title


class WandB(Tracker):
    package = "wandb"

    def log(self, record: RunRecord) -> None:
        import wandb

        run = wandb.init(
            project=os.environ.get("WANDB_PROJECT", self.study),
            id=record.identity.run_id,
            name=title(record),
            group=group(record),
            tags=[record.identity.method, record.outcome.status],
            config=settings(record),
            dir=str(self.folder),
            mode=os.environ.get("WANDB_MODE", "offline"),
            settings=wandb.Settings(silent=True, console="off"),
            reinit="finish_previous",
        )
        for step, values in curves(record):
            run.log(values, step=step)
        run.summary.update(
            {**results(record), "status": record.outcome.status, "reason": record.outcome.reason}
        )
        run.finish()
