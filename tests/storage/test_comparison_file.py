"""compare.json: the same content as before it was a dataclass, and files that lack parts of it."""

from __future__ import annotations

import json
from pathlib import Path

from study.storage.comparison_file import Comparison, Cost, read_comparison

CONTENT = {
    "baseline": "ether",
    "order": ["ether", "hra"],
    "labels": {"0a1": "ether", "0b2": "hra"},
    "command": "python -m study.compare peft:HRA",
    "costs": {
        "ether": {"saved_mb": 1.5, "adapter_bytes": 4000, "unpackable": ""},
        "hra": {"saved_mb": None, "adapter_bytes": None, "unpackable": "it does not vmap"},
    },
}
COMPARISON = Comparison(
    ["ether", "hra"],
    {"0a1": "ether", "0b2": "hra"},
    "python -m study.compare peft:HRA",
    {"ether": Cost(1.5, 4000), "hra": Cost(unpackable="it does not vmap")},
)


def test_what_is_written_is_read(tmp_path: Path) -> None:
    COMPARISON.write(tmp_path)
    assert (tmp_path / "compare.json").read_text() == json.dumps(CONTENT, indent=1)
    assert read_comparison(tmp_path) == COMPARISON


def test_older_files_lack_costs_and_the_command(tmp_path: Path) -> None:
    older = {key: CONTENT[key] for key in ("baseline", "order", "labels")}
    (tmp_path / "compare.json").write_text(json.dumps(older))
    read = read_comparison(tmp_path)
    assert (read.order, read.command, read.costs) == (["ether", "hra"], "", {})
