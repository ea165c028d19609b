"""What is submitted is decided by the settings alone, whatever the environment says: sbatch is a fake here.

On a real cluster, from inside a job: tests/slurm.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from study import config
from study.launchers.cluster import squeue
from study.launchers.cluster.batches import Batches
from study.launchers.cluster.environment import for_slurm, is_inherited, unused, without_options
from study.launchers.cluster.submission import submit, submitit_executor
from study.launchers.slurm import Queue
from study.planning.jobs import FetchJob
from study.planning.runs import plan_runs
from study.settings import LauncherSettings

OF_A_JOB = {
    "SBATCH_TIMELIMIT": "1", "SBATCH_ACCOUNT": "other", "SBATCH_PARTITION": "debug", "SBATCH_EXPORT": "NONE",
    "SBATCH_ARRAY_INX": "0-3", "SBATCH_NO_REQUEUE": "1", "SLURM_MEM_PER_CPU": "100",
    "SLURM_HINT": "nomultithread",
    "SLURM_MEM_PER_NODE": "100", "SLURM_NTASKS": "7", "SLURM_TIMELIMIT": "1", "SLURM_JOB_ID": "12",
    "SLURM_JOB_END_TIME": "1", "SLURM_CPUS_PER_TASK": "9", "SLURM_EXPORT_ENV": "NONE",
    "SRUN_CPUS_PER_TASK": "9",
    "SLURM_SPANK_X": "1", "_SLURM_SPANK_OPTION_x": "1", "SQUEUE_PARTITION": "debug",
    "SINFO_PARTITION": "debug",
    "CUDA_VISIBLE_DEVICES": "3", "PMI_RANK": "0",
}  # fmt: skip
KEPT = {
    "SLURM_CONF": "/etc/my.conf", "SLURM_CLUSTERS": "east", "SLURM_JWT": "secret", "HF_HOME": "/data/hub",
    "MY_SLURM_THING": "1",
}  # fmt: skip

SBATCH = """#!/bin/sh
env > {folder}/environment
cat "$1" > {folder}/script
echo Submitted batch job 7
"""


@pytest.fixture
def fake_slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """sbatch notes what it is told; squeue and sinfo print their environment as theirs."""
    programs = {"sbatch": SBATCH.format(folder=tmp_path), "srun": "#!/bin/sh\n", "squeue": "#!/bin/sh\nenv\n"}
    (tmp_path / "bin").mkdir()
    for name, text in programs.items():
        path = tmp_path / "bin" / name
        path.write_text(text)
        path.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")
    for name, value in (OF_A_JOB | KEPT).items():
        monkeypatch.setenv(name, value)
    return tmp_path


def variables(text: str) -> dict[str, str]:
    return dict(line.split("=", 1) for line in text.splitlines() if "=" in line)


@pytest.mark.parametrize("jobs", [1, 2])  # a plain job and an array: submitit has a way for each
def test_sbatch_knows_the_settings_and_nothing_of_the_environment(fake_slurm: Path, jobs: int) -> None:
    settings = LauncherSettings(name="slurm", mem_gb=2, timeout_min=240, cpus_per_task=3)
    runs = plan_runs(config.load("lr_grid", ["method=ether", "lr=1e-3,1e-2", "seeds=1"]))[:jobs]
    submit(Batches(fake_slurm / "slurm"), [FetchJob(run) for run in runs], settings, submitit_executor)
    told = variables((fake_slurm / "environment").read_text())
    assert not told.keys() & OF_A_JOB.keys()
    assert KEPT.items() <= told.items()
    assert os.environ["SLURM_JOB_ID"] == "12"  # ours is as it was
    script = (fake_slurm / "script").read_text()
    options = {line for line in script.splitlines() if line.startswith("#SBATCH")}
    assert {"#SBATCH --time=240", "#SBATCH --mem=2GB", "#SBATCH --cpus-per-task=3"} <= options
    assert not [line for line in options if "account" in line or "partition" in line]
    assert "--cpus-per-task=3" in next(line for line in script.splitlines() if line.startswith("srun "))


def test_no_other_command_of_slurm_looks_elsewhere(fake_slurm: Path) -> None:
    """SQUEUE_PARTITION would hide our tasks, which would then be submitted a second time."""
    told = variables(squeue._ask("squeue"))
    assert not told.keys() & OF_A_JOB.keys() and KEPT.items() <= told.items()


def test_the_environment_comes_back_after_a_failure() -> None:
    before = dict(os.environ)
    os.environ["SBATCH_QOS"] = "x"
    try:
        with pytest.raises(RuntimeError), without_options():
            assert "SBATCH_QOS" not in os.environ and "SBATCH_QOS" not in for_slurm()
            assert "SBATCH_QOS" not in subprocess.run(["env"], capture_output=True, text=True).stdout
            raise RuntimeError
        assert os.environ["SBATCH_QOS"] == "x"
    finally:
        os.environ.pop("SBATCH_QOS")
    assert dict(os.environ) == before


def test_it_is_said_what_is_not_used_and_what_decides(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = LauncherSettings(name="slurm", partition="gpu")
    environment = {
        "SBATCH_ACCOUNT": "x",
        "SBATCH_PARTITION": "debug",
        "SBATCH_WAIT": "1",
        "SLURM_JOB_ID": "1",
    }
    line = (
        "from the environment, not used: SBATCH_ACCOUNT=x (launcher.account=null decides), "
        "SBATCH_PARTITION=debug (launcher.partition=gpu decides), SBATCH_WAIT=1"
    )
    assert unused(environment, settings) == line
    assert unused({"PATH": "/bin", "SLURM_CONF": "x"}, settings) == ""
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with Queue(settings, tmp_path):
        pass
    assert capsys.readouterr().out == f"{line}\n"


def test_what_reaches_slurm_is_kept() -> None:
    assert all(is_inherited(name) for name in OF_A_JOB) and not any(is_inherited(name) for name in KEPT)
