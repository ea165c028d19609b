"""`peft`'s own test-suite of tuners, from its source distribution, run on ours.

It needs the source distribution of the installed version: in the folder that PEFT_SDIST names, unpacked, or
from PyPI. Where it cannot be had the test is skipped.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tarfile
from importlib.metadata import version
from pathlib import Path

import pytest
from support.paths import ROOT

pytestmark = pytest.mark.slow

SUITE = "test_custom_models.py"
BEFORE = "ALL_PEFT_CONFIG_CLASSES = "
"""The line of the suite behind its list of cases, of which ours take the place."""

CASES = """
from study.methods.ether import EtherConfig
from study.methods.ether_plus import EtherPlusConfig
from study.methods.naive import NaiveConfig
from study.methods.oft import OftConfig

TEST_CASES[:] = [
    (f"{model_id} {config.__name__} {targets} {options}", model_id, config,
     {"target_modules": targets, **options})
    for config in (EtherConfig, EtherPlusConfig, OftConfig, NaiveConfig)
    for model_id, targets, options in (
        ("MLP", "lin0", {"blocks": 1}),
        ("MLP", ["lin0"], {"blocks": 2}),
        ("MLP", ["lin1"], {"blocks": 1}),  # of width 2: a block of one output has no direction to learn
        ("MLP", ["lin0", "lin1"], {"blocks": 1}),
        ("MLP", ["lin0"], {"blocks": 2, "modules_to_save": ["lin1"]}),
    )
]
"""


@pytest.fixture(scope="module")
def suite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of peft's tests, a package, with our cases in it."""
    folder = tmp_path_factory.mktemp("peft")
    if given := os.environ.get("PEFT_SDIST"):
        source = Path(given) / "tests"
    else:
        name = f"peft=={version('peft')}"
        download = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-build-isolation",
                    "--no-binary", ":all:", "--dest", str(folder), name]  # fmt: skip
        done = subprocess.run(download, capture_output=True, text=True, timeout=300)
        archives = list(folder.glob("peft-*.tar.gz"))
        if not archives:
            pytest.skip(f"the source distribution of {name} cannot be had: {done.stderr.strip()[-200:]}")
        with tarfile.open(archives[0]) as archive:
            archive.extractall(folder, filter="data")
        source = next(folder.glob("peft-*/tests"))
    package = folder / "run" / "peft_tests"
    shutil.copytree(source, package)
    (package / "__init__.py").touch()
    text = (package / SUITE).read_text()
    assert text.count(f"\n{BEFORE}") == 1
    (package / SUITE).write_text(text.replace(f"\n{BEFORE}", f"\n{CASES}\n{BEFORE}"))
    return package


def test_our_tuners_pass_the_tests_of_pefts_tuners(suite: Path) -> None:
    """Of those that take any tuner, by the cases; those of single tuners of `peft` are left out.

    So is one assumption: that a fresh adapter changes nothing. ETHER's is a reflection, at the start too, as
    the paper has it, and `test_disable_adapters` wants it to be the identity.
    """
    ours = "(EtherConfig and not disable_adapters) or EtherPlusConfig or OftConfig or NaiveConfig"
    environment = os.environ | {"HF_HUB_OFFLINE": "1", "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-k", ours,
         f"{suite}/{SUITE}::TestPeftCustomModel"],
        cwd=suite.parent, capture_output=True, text=True, timeout=1800, env=environment,
    )  # fmt: skip
    counts = dict(
        (word, int(number)) for number, word in re.findall(r"(\d+) (passed|failed|error)", done.stdout)
    )
    print(done.stdout.strip().splitlines()[-1])
    assert done.returncode == 0 and counts["passed"] > 500, done.stdout[-4000:]
