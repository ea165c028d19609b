"""Importing the analysis changes nothing for its importer."""

from __future__ import annotations

import subprocess
import sys

import pytest

IMPORT_ALL = """
import importlib, os, pkgutil, sys
import matplotlib
import analysis

before, environment = matplotlib.rcParams.copy(), dict(os.environ)  # dict(rcParams) would choose a backend
for module in pkgutil.walk_packages(analysis.__path__, "analysis."):
    if not module.name.endswith("__main__") and not module.name.startswith("analysis.paper"):
        importlib.import_module(module.name)
assert matplotlib.rcParams.copy() == before
assert dict(os.environ) == environment
print(sorted({"torch", "matplotlib.pyplot"} & sys.modules.keys()))
"""


@pytest.mark.slow
def test_importing_has_no_side_effects() -> None:
    result = subprocess.run([sys.executable, "-c", IMPORT_ALL], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert result.stdout.strip() == "[]"
