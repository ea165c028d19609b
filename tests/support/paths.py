"""Where the project is."""

import os
from pathlib import Path

ROOT = Path(__file__).parents[2]
REFERENCE = ROOT / "results" / "reference"
FAULTS_HERE = os.pathsep.join([str(Path(__file__).parent / "faults"), str(ROOT)])
"""As PYTHONPATH, it breaks workers on purpose: those of this checkout, whichever one is installed."""
