"""TensorBoard: `tensorboard --logdir results/NAME/tracking/tensorboard`."""

from __future__ import annotations

import json
import shutil

from study.storage.rows import RunRecord
from study.tracking import Tracker, curves, group, results, settings


class TensorBoard(Tracker):
    package = "tensorboardX"  # writes its files without TensorBoard, and without torch

    def log(self, record: RunRecord) -> None:
        from tensorboardX import SummaryWriter

        identity = record.identity
        folder = self.folder / "tensorboard" / group(record).replace("/", "-") / f"seed={identity.seed}"
        folder = folder.with_name(f"{folder.name} {identity.run_id}")
        shutil.rmtree(folder, ignore_errors=True)
        with SummaryWriter(str(folder)) as writer:
            text = json.dumps({**settings(record), "status": record.outcome.status}, indent=1, default=str)
            writer.add_text("settings", f"```\n{text}\n```")
            for step, values in curves(record):
                for name, value in values.items():
                    writer.add_scalar(name, value, step)
            for name, value in results(record).items():
                writer.add_scalar(name, value, record.outcome.steps)
