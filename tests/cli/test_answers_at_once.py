"""Help and dry runs of every command answer without torch or pandas, which take seconds to import."""

from __future__ import annotations

import subprocess
import sys

import pytest

CODE = """
import runpy, sys
module, *sys.argv[1:] = sys.argv[1:]
try: runpy.run_module(module, run_name='__main__')
except SystemExit as end: code = end.code
assert not {'torch', 'pandas', 'matplotlib', 'lm_eval'} & set(sys.modules); sys.exit(code)
"""


@pytest.mark.parametrize("arguments", [
    ["study.sweep", "--help"],
    ["study.compare", "--help"],
    ["study.atlas", "--help"],
    ["study.status", "--help"],
    ["study.evaluate", "--help"],
    ["study.sweep", "lr_grid", "dry_run=true"],
    ["study.compare", "peft:HRA", "dry_run=true"],
])  # fmt: skip
def test_without_torch(arguments: list[str]) -> None:
    result = subprocess.run([sys.executable, "-c", CODE, *arguments], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert result.stdout.startswith("usage: " if "--help" in arguments else "lr_grid: vtab (mini), ")
