"""Faults: whatever happens to a sweep, its table ends as an undisturbed one's, and what happened is said.

Each test's figure is in the README's table of promises.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest
import torch
from support.paths import FAULTS
from support.sweeps_under_test import (
    DRAWN,
    SMALL,
    Command,
    no_workers_left,
    same_tables,
    start,
    table,
    workers_of,
)

from study.storage.checkpoints import Attempt
from study.storage.files import unseal
from study.storage.tables import damaged_tables

pytestmark = pytest.mark.slow

OFTEN = [*SMALL, "checkpoint_s=0.01"]
"""A checkpoint after nearly every step, so that every fault meets one."""


def broken(folder: Path, faults: str, arguments: list[str]) -> tuple[int, str]:
    """Exit code and output of a sweep whose workers break as `faults` says."""
    process = start(folder, arguments, PYTHONPATH=str(FAULTS), STUDY_FAULTS=faults)
    output = process.communicate(timeout=300)[0]
    return process.returncode, output


# Killed -----------------------------------------------------------------------------------------


def test_coordinator_killed_at_20_random_moments(undisturbed: Path, tmp_path: Path) -> None:
    """SIGKILL; workers end by themselves, nothing is lost, doubled or trained again once finished."""
    folder = tmp_path / "results" / "small"
    moments = random.Random(0)
    seen: dict[str, str] = {}
    for _ in range(20):
        process = start(tmp_path, OFTEN)
        time.sleep(moments.uniform(0.1, 4.5))
        if process.poll() is not None:  # done before the blow fell: begin anew to be hit again
            shutil.rmtree(folder)
            seen.clear()
        process.kill()
        process.wait()
        for path in (folder / "records").glob("*.json"):
            content = path.read_text()
            assert seen.setdefault(path.name, content) == content
        assert seen.keys() == {p.name for p in (folder / "records").glob("*.json")}
    assert no_workers_left(tmp_path, within=30)
    process = start(tmp_path, OFTEN)
    output = process.communicate(timeout=300)[0]
    assert process.returncode == 0, output
    same_tables(folder, undisturbed)


def test_workers_killed_at_20_random_moments(undisturbed: Path, tmp_path: Path) -> None:
    """SIGKILL to a random worker; another goes on from the checkpoint."""
    moments = random.Random(1)
    kills = 0
    while kills < 20:
        shutil.rmtree(tmp_path / "results", ignore_errors=True)
        process = start(tmp_path, OFTEN)
        for log in moments.sample(["worker-0.log", "worker-1.log"] * 2, 4):  # a job may die twice, not thrice
            time.sleep(moments.uniform(0.3, 2.0))
            for worker in workers_of(tmp_path.resolve()):
                if process.poll() is None and os.readlink(f"/proc/{worker}/fd/1").endswith(log):
                    os.kill(worker, signal.SIGKILL)
                    kills += 1
        output = process.communicate(timeout=300)[0]
        assert process.returncode == 0, output
        same_tables(tmp_path / "results" / "small", undisturbed)
    print(f"{kills} kills")
    assert no_workers_left(tmp_path, within=2)


def test_a_worker_that_is_killed_repeats_at_most_one_interval(undisturbed: Path, tmp_path: Path) -> None:
    steps = tmp_path / "steps"
    arguments = [*SMALL, "method=ether", "lr=2e-3", "seeds=2", "task.steps=60", "checkpoint_s=0.5"]
    environment = {"PYTHONPATH": str(FAULTS), "STUDY_FAULTS": "slow:0.05", "STUDY_STEPS": str(steps)}
    process = start(tmp_path, arguments, **environment)
    while not list(tmp_path.rglob("*.checkpoint")):
        time.sleep(0.05)
    time.sleep(0.3)
    for worker in workers_of(tmp_path.resolve()):
        os.kill(worker, signal.SIGKILL)
    assert process.wait(timeout=120) == 0
    trained = [int(line.split()[3]) for line in steps.read_text().splitlines() if " 0.002 " in line]
    repeated = len(trained) - len(set(trained))
    print(f"{repeated} steps repeated")
    assert set(trained) == set(range(1, 61)) and repeated <= 0.5 / 0.05 + 2
    whole = start(tmp_path, [*arguments, "name=whole"])
    assert whole.wait(timeout=120) == 0
    same_tables(tmp_path / "results" / "small", tmp_path / "results" / "whole")
    assert table(tmp_path / "results" / "small", keep_circumstances=True).attempt.tolist() == [2, 2]


# Signals ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("number,times,code,within", [
    (signal.SIGINT, 1, 130, 10), (signal.SIGINT, 2, 130, 2), (signal.SIGTERM, 1, 143, 10)
])  # fmt: skip
def test_a_signal_stops_the_sweep_and_says_how_to_go_on(
    number: int, times: int, code: int, within: float, tmp_path: Path
) -> None:
    process = start(tmp_path, [*SMALL, "task.steps=2000", "checkpoint_s=1"])
    while not list(tmp_path.rglob("*.checkpoint")):
        time.sleep(0.1)
    for last in range(times):
        time.sleep(0.2 * last)
        process.send_signal(number)
        asked = time.monotonic()
    output = process.communicate(timeout=30)[0]
    print(f"stopped after {time.monotonic() - asked:.1f} s")
    assert time.monotonic() - asked < within
    assert process.returncode == code, output
    assert "Go on with: python -m study.sweep lr_grid" in output and "Traceback" not in output
    assert no_workers_left(tmp_path, within=0.5)
    assert list(tmp_path.rglob("*.checkpoint"))


# Coordinators and their lock ----------------------------------------------------------------------


def test_two_coordinators_at_once_ten_times(undisturbed: Path, tmp_path: Path) -> None:
    """One works; the other is told which, and does nothing."""
    for attempt in range(10):
        shutil.rmtree(tmp_path / "results", ignore_errors=True)
        arguments = SMALL if attempt == 9 else [*SMALL, "task.steps=5000", "launcher.workers=1"]
        pair = [start(tmp_path, arguments) for _ in range(2)]
        while all(process.poll() is None for process in pair):
            time.sleep(0.02)
        told = next(process for process in pair if process.poll() is not None)
        working = next(process for process in pair if process is not told)
        assert told.returncode == 2
        assert f"by process {working.pid} on {os.uname().nodename}" in told.communicate()[0]
        if attempt < 9:
            working.kill()
        working.communicate(timeout=120)
    same_tables(tmp_path / "results" / "small", undisturbed)


def test_a_stale_lock_is_taken_over_with_a_message(undisturbed: Path, tmp_path: Path) -> None:
    shutil.copytree(undisturbed, tmp_path / "results" / "small")
    dead = {"pid": 2**22 + 1, "host": os.uname().nodename}
    (tmp_path / "results" / "small" / "lock").write_text(json.dumps(dead))
    process = start(tmp_path, SMALL)
    output = process.communicate(timeout=60)[0]
    assert process.returncode == 0
    assert f"process {dead['pid']} on {dead['host']} ended without letting go" in output


# A full disk --------------------------------------------------------------------------------------


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 2 MB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", disk], capture_output=True)
    if mounted.returncode:
        pytest.skip(f"cannot mount a tmpfs: {mounted.stderr.decode().strip()}")
    yield disk
    subprocess.run(["umount", "--lazy", disk], check=True)


def fill(disk: Path, free_kb: int) -> Path:
    """Leaves so many kB free."""
    room = os.statvfs(disk)
    (disk / "filler").write_bytes(b"x" * max(0, room.f_bavail * room.f_frsize - 1024 * free_kb))
    return disk / "filler"


@pytest.mark.parametrize("what,free_kb,more", [
    ("record", 24, []), ("checkpoint", 200, ["checkpoint_s=0.01"]), ("tables", 8, []), ("index", 60, []),
])  # fmt: skip
def test_a_full_disk_is_a_clear_error_and_loses_nothing(
    what: str, free_kb: int, more: list[str], undisturbed: Path, tmp_path: Path, tiny_disk: Path
) -> None:
    study = tiny_disk / "small"
    arguments = [*SMALL, *more, f"results={tiny_disk}"]
    if what in ("tables", "index"):  # everything is trained; what is made of it does not fit
        shutil.copytree(undisturbed / "records", study / "records")
        shutil.copy(undisturbed / "plan.json", study)
        shutil.copy(undisturbed / "optuna.log", study)
    filler = fill(tiny_disk, free_kb)
    before = {path: path.read_bytes() for path in study.rglob("*") if path.is_file()}
    process = start(tmp_path, arguments)
    output = process.communicate(timeout=120)[0]
    assert process.returncode == 1, output
    assert "error: cannot write" in output and "No space left on device" in output, output
    assert "Traceback" not in output
    assert all(path.read_bytes() == content for path, content in before.items() if path.name != "lock")
    finished = {path.name: path.read_bytes() for path in (study / "records").glob("*.json")}
    filler.unlink()
    process = start(tmp_path, [*SMALL, f"results={tiny_disk}"])
    output = process.communicate(timeout=120)[0]
    assert process.returncode == 0, output
    assert all((study / "records" / name).read_bytes() == content for name, content in finished.items())
    same_tables(study, undisturbed)


# Damage -------------------------------------------------------------------------------------------


def damaged(content: bytes, kind: str, chance: random.Random) -> bytes:
    place = chance.randrange(len(content))
    if kind == "cut":
        return content[:place]
    return content[:place] + bytes([content[place] ^ 1 << chance.randrange(8)]) + content[place + 1 :]


def test_400_damages_are_noticed(undisturbed: Path, tmp_path: Path) -> None:
    """200 flipped bits and 200 cut ends over checkpoints, records and tables."""
    study = tmp_path / "study"
    shutil.copytree(undisturbed, study)
    attempt = Attempt(study, "pack", every_s=0)
    for step in (1, 2):
        attempt.save(step, ({"row": torch.arange(50.0) * step}, {"step": step, "loss": float("nan")}))
    newest = study / "checkpoints" / "pack" / "000000002-1.checkpoint"
    targets = [newest, *(study / "records").glob("*.json"), *study.glob("*.parquet")]
    chance, noticed = random.Random(0), 0
    for trial in range(400):
        target = targets[trial % len(targets)]
        whole = target.read_bytes()
        target.write_bytes(damaged(whole, ("flip", "cut")[trial % 2], chance))
        if target.suffix == ".checkpoint":
            _, facts = attempt.load() or ({}, {"step": None})
            noticed += facts["step"] == 1 and target.with_name(f"{target.name}.damaged").exists()
        elif target.suffix == ".parquet":
            noticed += damaged_tables(study) == [target]
        else:
            noticed += unseal(target) is None
        target.write_bytes(whole)
    assert noticed == 400


def test_what_is_damaged_is_set_aside_and_done_again(
    undisturbed: Path, study_command: Command, tmp_path: Path
) -> None:
    study = tmp_path / "results" / "small"
    shutil.copytree(undisturbed, study)
    record, *others = sorted((study / "records").glob("*.json"))
    chance = random.Random(0)
    for path in (record, study / "history.parquet", study / "plan.json"):
        path.write_bytes(damaged(path.read_bytes(), "cut", chance))
    kept = {path: path.stat().st_mtime_ns for path in others}
    refused = study_command("analysis.report", "small")
    assert refused.returncode == 2 and "history.parquet is damaged; run the sweep's" in refused.stderr
    again = study_command("study.sweep", *SMALL)
    assert again.returncode == 0, again.stderr
    for path, what in ((record, "Its runs are"), (study / "history.parquet", "It is made anew")):
        assert f"{path.name} is damaged; kept as {path.name}.damaged. {what}" in again.stderr
        assert path.with_name(f"{path.name}.damaged").exists()
    assert "plan.json is damaged" in again.stderr
    assert "12/12 runs" in again.stdout and again.stdout.count(" runs: ") == 2  # that pack, the summary
    assert all(path.stat().st_mtime_ns == stamp for path, stamp in kept.items())
    same_tables(study, undisturbed)


# The Optuna index ---------------------------------------------------------------------------------


def test_the_index_is_rebuilt_whatever_happened_to_it(
    undisturbed: Path, study_command: Command, tmp_path: Path
) -> None:
    """Deleted; torn in its last line; locked by a dead process, in its place and where it is made."""
    import optuna
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    study = tmp_path / "results" / "small"
    shutil.copytree(undisturbed, study)
    index = study / "optuna.log"
    records_before = {p: p.stat().st_mtime_ns for p in (study / "records").iterdir()}
    for harm in ("deleted", "torn", "locked"):
        if harm == "deleted":
            index.unlink()
        elif harm == "torn":
            index.write_bytes(index.read_bytes()[:-30])
        else:
            (study / ".optuna.tmp").mkdir()
            for path in (index, study / ".optuna.tmp" / "optuna.log"):
                path.with_name("optuna.log.lock").symlink_to(path)
        began = time.monotonic()
        assert study_command("study.sweep", *SMALL).returncode == 0
        print(f"{harm}: {time.monotonic() - began:.1f} s")
        assert time.monotonic() - began < 35
        (study / "optuna.log.lock").unlink(missing_ok=True)
        storage = JournalStorage(JournalFileBackend(str(index)))
        assert len(optuna.load_study(study_name="small", storage=storage).trials) == 12
    assert {p: p.stat().st_mtime_ns for p in (study / "records").iterdir()} == records_before


# Not finite; out of memory ------------------------------------------------------------------------


def strictly_valid(folder: Path) -> int:
    """Checks every JSON file under the folder against the standard, which has no NaN."""

    def refuse(constant: str) -> None:
        raise ValueError(constant)

    texts = [path.read_text() for path in folder.rglob("plan.json")]
    for path in folder.rglob("records/*.json"):
        texts += path.read_text().splitlines()[1:]
    texts += [line for path in folder.rglob("optuna.log") for line in path.read_text().splitlines()]
    for text in texts:
        json.loads(text, parse_constant=refuse)
    return len(texts)


@pytest.mark.parametrize("faults", ["poison:0:nan", "poison:4:inf", "blind"])
def test_what_is_not_finite_is_diverged_everywhere_and_not_tried_again(faults: str, tmp_path: Path) -> None:
    arguments = [*DRAWN, "method=ether,lora", "lr=1e-3,1e-2"]
    code, output = broken(tmp_path, faults, arguments)
    assert code == 0 and "4 ok, 4 diverged, 0 failed" in output, output
    study = tmp_path / "results" / "small"
    runs = table(study)
    diverged = runs[runs.status == "diverged"]
    assert set(diverged.lr) == {1e-3} and len(diverged) == 4  # the first run of each pack
    assert (diverged.valid == diverged.chance).all() and diverged.reason.str.contains("nan|not finite").all()
    assert strictly_valid(study) > 10
    robustness = pd.read_csv(study / "robustness.csv")
    assert (robustness.best_lr == 1e-2).all()  # never best
    drawn = pd.read_csv(study / "figures" / "robustness.csv")
    assert (drawn.groupby("label").lr.nunique() == 2).all() and "diverged" in (
        study / "report.html"
    ).read_text()
    again = start(tmp_path, [*arguments, "report=false"]).communicate(timeout=60)[0]
    assert "8 of 8 runs" in again and "packs" not in again


@pytest.mark.parametrize("fault", ["memory", "killed"])
def test_out_of_memory_halves_the_pack_and_leaves_the_others_alone(fault: str, tmp_path: Path) -> None:
    arguments = [*SMALL, "method=ether,lora", "lr=1e-3,1e-2,1e-1", "seeds=1", "pack_size=3"]
    code, output = broken(tmp_path, f"{fault}:3", arguments)
    assert code == 0 and "6 ok" in output, output
    runs = table(tmp_path / "results" / "small")
    assert sorted(runs.pack_size) == [1, 1, 2, 2, 2, 2] and runs.halved.all()
    if fault == "killed":
        return
    code, output = broken(tmp_path, "memory:2", [*arguments, "name=smaller"])  # nor do the halves fit
    assert code == 0 and "6 ok" in output, output
    runs = table(tmp_path / "results" / "smaller")
    assert (runs.pack_size == 1).all() and runs.halved.all()
    code, output = broken(tmp_path, "memory:1", [*arguments, "method=lora", "lr=1e-2,1e-1", "name=none"])
    assert code == 1 and "0 ok, 0 diverged, 2 failed" in output, output
    failed = table(tmp_path / "results" / "none")
    assert failed.reason.str.contains("out of memory in a pack of 1").all() and failed.halved.all()


# Hostile files ------------------------------------------------------------------------------------


def test_no_pickle_is_executed(undisturbed: Path, study_command: Command, tmp_path: Path) -> None:
    """As checkpoint, record, index, base weights and adapter."""
    import pickle

    from peft import PeftModel

    class Bomb:
        def __init__(self, name: str) -> None:
            self.name = name

        def __reduce__(self) -> tuple[object, tuple[str]]:
            return os.system, (f"touch {tmp_path}/executed-{self.name}",)

    def bomb(path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(pickle.dumps({"weight": Bomb(path.parent.name + path.name)}))

    study = tmp_path / "results" / "small"
    shutil.copytree(undisturbed, study)
    victim = sorted((study / "records").glob("*.json"))[0]
    bomb(victim)
    bomb(study / "checkpoints" / victim.stem / "000000005-1.checkpoint")
    bomb(study / "optuna.log")
    done = study_command("study.sweep", *SMALL)
    assert done.returncode == 0, done.stderr
    same_tables(study, undisturbed)

    from study.tasks import shipped_checkpoint

    weights = tmp_path / "weights"
    weights.mkdir()
    shutil.copy(shipped_checkpoint("vtab") / "config.json", weights)
    bomb(weights / "pytorch_model.bin")
    refused = study_command("study.sweep", *SMALL, "name=other", "task.model=./weights")
    assert refused.returncode == 2 and "./weights: cannot be loaded" in refused.stderr

    adapter = tmp_path / "adapter"
    adapter.mkdir()
    config = {"peft_type": "ETHER", "target_modules": ["0"], "blocks": 1}
    (adapter / "adapter_config.json").write_text(json.dumps(config))
    bomb(adapter / "adapter_model.bin")
    import study.methods.ether

    with pytest.raises(Exception, match="."):
        PeftModel.from_pretrained(torch.nn.Sequential(torch.nn.Linear(4, 4)), str(adapter))
    assert not list(tmp_path.glob("executed-*"))
