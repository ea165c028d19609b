"""The columns of a study's tables, under the name that users know: see `study.storage.schema`."""

from study.storage.schema import ADDED, CIRCUMSTANCES, HISTORY, LAYERS, RECORD_VERSION, RUNS, TABLES

__all__ = ["ADDED", "CIRCUMSTANCES", "HISTORY", "LAYERS", "RECORD_VERSION", "RUNS", "TABLES"]
