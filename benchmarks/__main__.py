"""`python -m benchmarks [packing|energy|cluster|scale|gpu] [options]`; packing by default."""

from __future__ import annotations

import importlib
import sys

from study.cli.exits import one_line
from study.errors import UsageError, nearest

NAMES = ("packing", "energy", "cluster", "scale", "gpu")


def main(arguments: list[str]) -> int:
    name, *rest = arguments if arguments and not arguments[0].startswith("-") else ["packing", *arguments]

    def measure() -> int:
        if name not in NAMES:
            raise UsageError(f"unknown benchmark {name!r}; {nearest(name, NAMES)}")
        importlib.import_module(f"benchmarks.{name}").main(rest)
        return 0

    return one_line(measure)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
