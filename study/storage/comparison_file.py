"""compare.json: what a comparison's analysis needs to know beside the tables."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from study.errors import UsageError, first_line
from study.storage.files import write_atomically

NAME = "compare.json"


@dataclass(frozen=True)
class Cost:
    """What a method costs beside time.

    Attributes:
        saved_mb: what a training step of one run holds for its backward pass, in MB of 2^20 bytes; None if it
            was not measured.
        adapter_bytes: size of one saved adapter; None if it is not known.
        unpackable: why its runs train one by one; empty if they train in packs.
    """

    saved_mb: float | None = None
    adapter_bytes: int | None = None
    unpackable: str = ""


@dataclass(frozen=True)
class Comparison:
    """Which run belongs to which of the methods compared.

    Attributes:
        order: the methods' labels, the baseline's first.
        labels: the label of each run, by run_id.
        command: what made the comparison, to be typed again.
        costs: by label.
    """

    order: Sequence[str]
    labels: Mapping[str, str]
    command: str = ""
    costs: Mapping[str, Cost] = field(default_factory=dict)

    def write(self, folder: Path) -> None:
        """Leaves compare.json in a study's folder."""
        content = {
            "baseline": self.order[0],
            "order": list(self.order),
            "labels": dict(self.labels),
            "command": self.command,
            "costs": {label: dataclasses.asdict(cost) for label, cost in self.costs.items()},
        }
        write_atomically(folder / NAME, json.dumps(content, indent=1).encode())


def read_comparison(folder: Path) -> Comparison:
    """compare.json of a study's folder, checked.

    Raises:
        UsageError: if it is missing, damaged or contradicts itself.
    """
    path = folder / NAME
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        order, labels = content["order"], content["labels"]
        consistent = content["baseline"] == order[0] and set(labels.values()) <= set(order)
        consistent &= len(set(order)) == len(order) > 1
        costs = {label: _cost(values or {}) for label, values in content.get("costs", {}).items()}
    except FileNotFoundError:
        raise UsageError(f"{path} is missing; it is made by: python -m study.compare METHOD") from None
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise UsageError(f"{path} cannot be read: {type(error).__name__} {first_line(error)}") from None
    if not consistent:
        raise UsageError(
            f"{path}: `order` must be the baseline and then the new methods, once each, and hold every label"
        )
    return Comparison(order, labels, content.get("command", ""), costs)


def _cost(values: dict[str, Any]) -> Cost:
    """A method's costs, of which any may be missing."""
    return Cost(values.get("saved_mb"), values.get("adapter_bytes"), values.get("unpackable") or "")
