"""`python -m benchmarks [NAME] [options]`: measurements of the harness itself; packing by default."""

from __future__ import annotations

import importlib
import sys

from study.cli.exits import one_line
from study.errors import UsageError, nearest

BENCHMARKS = {
    "packing": "what packing gains, and what a step of each method costs",
    "against": "the speed of this checkout against that of another commit, in turns",
    "energy": "hyperspherical energy in blocks against all pairs at once",
    "cluster": "how large the packs of a large sweep should be on a GPU cluster, simulated",
    "scale": "planning, submitting and collecting 1,000 to 100,000 runs",
    "gpu": "what a training step of Llama-2-7B costs on a GPU, alone and in packs",
}
"""Each is the module of its name, and what it measures."""


def main(arguments: list[str]) -> int:
    if arguments and arguments[0] in ("-h", "--help"):
        print(_help())
        return 0
    name, *rest = arguments if arguments and not arguments[0].startswith("-") else ["packing", *arguments]

    def measure() -> int:
        if name not in BENCHMARKS:
            raise UsageError(f"unknown benchmark {name!r}; {nearest(name, BENCHMARKS)}")
        importlib.import_module(f"benchmarks.{name}").main(rest)
        return 0

    return one_line(measure)


def _help() -> str:
    lines = [f"  {name:10}{what}" for name, what in BENCHMARKS.items()]
    return "\n".join([str(__doc__), "", *lines, "", "The options of one: python -m benchmarks NAME --help"])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
