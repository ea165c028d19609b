"""What the benchmarks' commands share."""

from __future__ import annotations

import argparse


def command_parser(
    command: str, description: str | None, results: str | None = None
) -> argparse.ArgumentParser:
    """A parser of `python -m command`.

    Args:
        description: the module's text, shown by `--help` as it stands.
        results: the default of `--results`, the folder of results; None where the command has no such option.
    """
    parser = argparse.ArgumentParser(
        prog=f"python -m {command}",
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    if results is not None:
        parser.add_argument("--results", default=results, help="folder of results (default %(default)s)")
    return parser
