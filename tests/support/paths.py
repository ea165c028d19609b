"""Where the project is."""

import os
from pathlib import Path

ROOT = Path(__file__).parents[2]
REFERENCE = ROOT / "results" / "reference"
FAULTS = Path(__file__).parent / "faults"
"""Put on PYTHONPATH, this folder breaks workers on purpose."""
FAULTS_HERE = os.pathsep.join([str(FAULTS), str(ROOT)])
"""As PYTHONPATH, it breaks workers of this checkout, whichever one is installed."""
