"""Files with one method each, as a user writes them."""

from __future__ import annotations

import re
from pathlib import Path

from support.paths import ROOT

CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text()
SCALING = re.search(r"<!-- file: scaling.py -->\n```python\n(.*?)```", CONTRIBUTING, re.S)
assert SCALING is not None
TUNER = """
from dataclasses import dataclass
from peft.tuners.lora import LoraConfig, LoraModel

@dataclass
class {0}Config(LoraConfig):
    pass

class {0}Model(LoraModel):
    pass
"""


def written(folder: Path, name: str, text: str) -> Path:
    path = folder / f"{name}.py"
    path.write_text(text)
    return path
