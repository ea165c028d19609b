"""Methods from elsewhere keep the contract before their first run; the answer is kept by a file's content."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Sequence
from pathlib import Path

from study.errors import UsageError
from study.methods import external
from study.paths import cache_folder
from study.planning.runs import Run, digest
from study.settings import MethodOptions
from study.storage.files import CannotWrite, write_atomically
from study.storage.provenance import provenance

VERSION = 1
"""Of the contract; answers of an older one count no more."""


def check_foreign_methods(runs: Sequence[Run]) -> None:
    """Takes every method of the runs that is not ours or `peft`'s through the contract of methods.

    Torch is imported for a file whose content is new alone.

    Raises:
        UsageError: naming what the first broken method must mend.
    """
    sources = external.sources()
    variants = {digest([run.method, run.options]): run for run in runs if run.method in sources}
    for run in variants.values():
        source = external.digest(sources[run.method])
        key = digest([VERSION, source, run.options, provenance().versions, provenance().git_sha])
        kept = cache_folder() / "contracts" / f"{key}.json"
        with contextlib.suppress(OSError, ValueError):
            print("\n".join(json.loads(kept.read_text())), flush=True)
            continue
        lines = _checked(run.method, run.options, sources[run.method])
        print("\n".join(lines), flush=True)
        with contextlib.suppress(CannotWrite):  # it is checked again the next time
            write_atomically(kept, json.dumps(lines).encode())


def _checked(name: str, options: MethodOptions, path: Path) -> list[str]:
    """What there is to say of a method that keeps the contract.

    Raises:
        UsageError: if it does not.
    """
    from study.testing import method_contract

    results = method_contract.run(name, options)
    if not results[0].ok:  # options for the layers of a large model may not fit the contract's small ones
        plain = {key: value for key, value in options.items() if key == external.SOURCE}
        results = method_contract.run(name, plain)
    broken = [result for result in results if not result.ok]
    if broken:
        raise UsageError(
            f"{path} breaks the contract of methods ({len(broken)} of {len(results)} checks): "
            f"{broken[0].message}; python -m study.compare --check {path} shows them all"
        )
    draws = [result.message for result in results if "draws at random" in result.message]
    return [f"{path}: keeps the contract of methods", *(f"  note: it {message}" for message in draws)]
