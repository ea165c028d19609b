"""The notebook of the documentation runs from top to bottom, and is stored without what it printed."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from support.paths import REFERENCE, ROOT

NOTEBOOK = ROOT / "docs" / "python.ipynb"


def cells() -> list[str]:
    """The code of the notebook, a cell each; the last line of one may be a value to show."""
    notebook = json.loads(NOTEBOOK.read_text())
    code = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert notebook["nbformat"] == 4 and not any(cell["outputs"] for cell in code)
    return ["".join(cell["source"]) for cell in code]


SHOW = """
import ast

def run(cell, names):
    *body, last = ast.parse(cell).body
    if not isinstance(last, ast.Expr):
        body, last = [*body, last], None
    exec(compile(ast.Module(body, []), "cell", "exec"), names)
    if last is not None:
        value = eval(compile(ast.Expression(last.value), "cell", "eval"), names)
        png = getattr(value, "_repr_png_", None)
        print(f"<{len(png())} bytes>" if png else repr(value))
"""
"""What Jupyter does with a cell, without Jupyter, which brings 30 packages."""


@pytest.mark.slow
def test_the_notebook_runs(tmp_path: Path) -> None:
    shutil.copytree(REFERENCE / "lr_grid", tmp_path / "results" / "lr_grid")
    script = SHOW + "names = {}\n" + "".join(f"run({cell!r}, names)\n" for cell in cells())
    (tmp_path / "notebook.py").write_text(script)
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-m", "notebook"], cwd=tmp_path, capture_output=True, text=True, env=environment
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert "225 runs of ether" in done.stdout and "python -m study.rerun from_python" in done.stdout
    assert "bytes>" in done.stdout and "EtherConfig" in done.stdout


def test_the_notebook_imports_nothing_but_the_front_door() -> None:
    imports = [line for cell in cells() for line in cell.splitlines() if line.startswith(("import", "from"))]
    assert imports == ["import study"]
