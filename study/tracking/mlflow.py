"""MLflow, in its file store unless MLFLOW_TRACKING_URI says otherwise."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from study.storage.rows import RunRecord
from study.tracking import Tracker, curves, group, results, settings, title

LONGEST = 500
"""Characters of a parameter that every store of MLflow takes."""


class MLflow(Tracker):
    package = "mlflow"

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._client: Any = None
        self._experiment = ""

    def _connect(self) -> Any:
        if self._client is None:
            os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")
            from mlflow.tracking import MlflowClient

            store = os.environ.get("MLFLOW_TRACKING_URI") or (self.folder / "mlruns").resolve().as_uri()
            self._client = MlflowClient(tracking_uri=store)
            known = self._client.get_experiment_by_name(self.study)
            self._experiment = known.experiment_id if known else self._client.create_experiment(self.study)
        return self._client

    def log(self, record: RunRecord) -> None:
        client = self._connect()
        tags = {"group": group(record), "status": record.outcome.status, "reason": record.outcome.reason}
        run_id = client.create_run(self._experiment, tags=tags, run_name=title(record)).info.run_id
        for name, value in settings(record).items():
            client.log_param(run_id, name, str(value)[:LONGEST])
        for step, values in curves(record):
            for name, value in values.items():
                client.log_metric(run_id, name, value, step=step)
        for name, value in results(record).items():
            client.log_metric(run_id, name, value, step=record.outcome.steps)
        client.set_terminated(run_id, "FAILED" if record.outcome.status == "failed" else "FINISHED")
