"""Tasks of a real cluster belong to its cgroups, which a process of the warm Python would be outside of."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import pytest
from support import warm_python


@pytest.fixture(scope="session", autouse=True)
def real_python(own_process: None) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(sys, "executable", warm_python.REAL)
        yield
