"""Where the project is."""

from pathlib import Path

ROOT = Path(__file__).parents[2]
REFERENCE = ROOT / "results" / "reference"
FAULTS = Path(__file__).parent / "faults"
"""Put on PYTHONPATH, this folder breaks workers on purpose."""
