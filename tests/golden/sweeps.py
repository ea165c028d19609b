"""What the golden tests freeze: plans of every shipped sweep, and a few small studies trained to the end.

`python -m golden.sweeps` from tests/ writes the frozen values anew. Do so only where a change of results is
meant, in a commit that says why.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from support.paths import ROOT

from study import config
from study.planning.packs import plan_packs
from study.planning.runs import group_by_variant, plan_runs
from study.storage.schema import CIRCUMSTANCES

FOLDER = Path(__file__).parent
PLANS = FOLDER / "plans.json"
PACK_SIZE = 7

FOLLOWS_PEFT = "atlas"
"""Lists every tuner of the installed peft, and so changes with it: tests/config/test_atlas_sweep.py."""

COMMANDS = [
    *sorted({path.stem for path in (ROOT / "sweeps").glob("*.yaml")} - {"base", "space", FOLLOWS_PEFT}),
    "lr_grid scale=paper",
    "lr_grid task=glue",
    "lr_grid task=glue task.subset=topic",
    "lr_grid task=glue task.subset=paraphrase",
    "lr_grid task=glue task.subset=similarity",
    "lr_grid task=glue scale=paper task.subset=rte",
    "lr_grid task=instruct",
    "lr_grid task=instruct scale=paper",
    "lr_grid task=s2i",
    "lr_grid task=subject",
    "lr_grid scale=upright",
    "lr_grid method=ether,lora lr=1e-3,1e-2 seeds=3 task.steps=100",
    "lr_grid method=ether method.ether.blocks=1,4,16",
    "lr_grid method=hra,boft,peft:oft method.hra.r=4",
    "lr_grid task.weight_decay=0,0.1 task.noise=0.5 method=oft",
    "lr_grid task.batch_size=8,16 task.accumulate=2 method=naive",
    "glue_paper task.subset=cola,stsb seeds=3",
    "head_alone task.subset=topic",
    "mechanism method=ether lr=1e-2,1e-1",
]
"""Arguments of study.sweep."""

STUDIES = {
    "digits": "lr_grid lr=1e-3,1e-1 seeds=2 task.steps=6 task.evaluations=2 pack_size=3 task.noise=0,0.1",
    "tuners": "lr_grid method=hra,boft,ia3,loha lr=1e-2 seeds=2 task.steps=4 task.evaluations=1 pack_size=2",
    "sentences": (
        "lr_grid task=glue method=ether,lora lr=1e-2 seeds=2 task.steps=4 task.evaluations=1 pack_size=2 "
        "task.eval_batch_size=100 task.head_lr=1e-2"
    ),
    "words": (
        "lr_grid task=instruct method=ether_plus,oft lr=1e-2 seeds=2 task.steps=4 task.evaluations=1 "
        "pack_size=2 task.accumulate=2 task.clip=1.0"
    ),
}
"""Arguments of study.sweep for the studies that are trained: by layers and whole, with heads, in parts."""

NOT_OF_THE_RESULT = {
    *CIRCUMSTANCES, "versions", "git_sha", "git_dirty", "record_version", "device", "data_fingerprint",
    "model_fingerprint", "judge_fingerprints",
}  # fmt: skip


def plans() -> dict[str, dict[str, Any]]:
    """Of each of COMMANDS the number of runs, and hashes of its run_ids and of its packs' ids."""
    frozen = {}
    for command in COMMANDS:
        name, *overrides = command.split()
        runs = plan_runs(config.load(name, overrides))
        packs = plan_packs(runs, dict.fromkeys(group_by_variant(runs), PACK_SIZE))
        frozen[command] = {
            "runs": len(runs),
            "first": runs[0].run_id,
            "run_ids": _hash([run.run_id for run in runs]),
            "packs": len(packs),
            "pack_ids": _hash([pack.pack_id for pack in packs]),
        }
    return frozen


def _hash(words: list[str]) -> str:
    return hashlib.sha256("\n".join(words).encode()).hexdigest()


def train(arguments: str, folder: Path) -> Path:
    """Runs a sweep with one worker on one core in `folder`; returns the study's folder."""
    core = next(iter(os.sched_getaffinity(0)))
    more = ["name=golden", "report=false", "launcher.workers=1"]
    done = subprocess.run(
        [sys.executable, "-m", "study.sweep", *arguments.split(), *more],
        cwd=folder, capture_output=True, text=True, timeout=600,
        preexec_fn=lambda: os.sched_setaffinity(0, {core}),
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return folder / "results" / "golden"


def content(folder: Path) -> dict[str, dict[str, list[Any]]]:
    """The three tables of a study as plain values, column by column, missing ones as None."""
    return {
        name: _plain(pd.read_parquet(folder / f"{name}.parquet")) for name in ("runs", "history", "layers")
    }


def _plain(table: pd.DataFrame) -> dict[str, list[Any]]:
    return {
        column: [None if pd.isna(value) else value for value in table[column].astype(object)]
        for column in table
        if column not in NOT_OF_THE_RESULT
    }


def arithmetic() -> str:
    """A hash of the bits that this machine computes: where it differs, so may the last bits of any result."""
    torch.set_num_threads(1)
    generator = torch.Generator().manual_seed(0)
    x, w = (torch.randn(shape, generator=generator) for shape in ((80, 64), (64, 256)))
    blocks = torch.randn(12, 16, 16, generator=generator)
    attended = torch.nn.functional.scaled_dot_product_attention(*[x.view(1, 4, 20, 64)] * 3)
    parts = [
        x @ w,
        torch.nn.functional.gelu(x @ w),
        torch.softmax(x, -1),
        torch.nn.functional.layer_norm(x, (64,)),
        torch.linalg.inv(torch.eye(16) - (blocks - blocks.mT) / 2),
        torch.bmm(blocks, blocks),
        x.square().sum(),
        (x.double() @ w.double()).exp(),
        attended,
    ]
    return hashlib.sha256(b"".join(part.numpy().tobytes() for part in parts)).hexdigest()[:12]


def main() -> None:
    PLANS.write_text(json.dumps(plans(), indent=1) + "\n")
    for name, arguments in STUDIES.items():
        with tempfile.TemporaryDirectory() as folder:
            tables = content(train(arguments, Path(folder)))
        frozen = {"arguments": arguments, "arithmetic": arithmetic(), "tables": tables}
        (FOLDER / f"{name}.json").write_text(json.dumps(frozen, indent=None) + "\n")
        print(name, {table: len(columns["run_id"]) for table, columns in tables.items()})


if __name__ == "__main__":
    main()
