"""The tables of a study, under the name that users know: see `analysis.data.table`."""

from analysis.data.table import AnalysisError, Study, load

__all__ = ["AnalysisError", "Study", "load"]
