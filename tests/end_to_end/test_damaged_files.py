"""Full disks, damage and hostile files: noticed, said in one line, and done again."""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from support.sweeps_under_test import (
    SMALL,
    Command,
    same_tables,
    start,
)

from study.storage.checkpoints import Attempt
from study.storage.files import unseal
from study.storage.tables import damaged_tables

pytestmark = pytest.mark.slow


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


def damaged(content: bytes, kind: str, chance: random.Random) -> bytes:
    place = chance.randrange(len(content))
    if kind == "cut":
        return content[:place]
    return content[:place] + bytes([content[place] ^ 1 << chance.randrange(8)]) + content[place + 1 :]


def test_400_damages_are_noticed(undisturbed: Path, tmp_path: Path) -> None:
    """200 flipped bits and 200 cut ends over checkpoints, records and tables."""
    study = tmp_path / "study"
    shutil.copytree(undisturbed, study)
    attempt = Attempt(study, ["run"], every_s=0)
    for step in (1, 2):
        attempt.save(step, ({"row": torch.arange(50.0) * step}, {"step": step, "loss": float("nan")}))
    newest = attempt.folder / "000000002-1.checkpoint"
    targets = [newest, *(study / "records").glob("*.json"), *study.glob("*.parquet")]
    chance, noticed = random.Random(0), 0
    for trial in range(400):
        target = targets[trial % len(targets)]
        whole = target.read_bytes()
        target.write_bytes(damaged(whole, ("flip", "cut")[trial % 2], chance))
        if target.suffix == ".checkpoint":
            saved = attempt.load()
            noticed += [each.step for each in saved] == [1] and target.with_name(
                f"{target.name}.damaged"
            ).exists()
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
    for path, what in ((record, "Its runs are"), (study / "history.parquet", "It is rebuilt")):
        assert f"{path.name} is damaged; kept as {path.name}.damaged. {what}" in again.stderr
        assert path.with_name(f"{path.name}.damaged").exists()
    assert "plan.json is damaged" in again.stderr
    assert "12/12 runs" in again.stdout and again.stdout.count(" runs: ") == 2  # that pack, the summary
    assert all(path.stat().st_mtime_ns == stamp for path, stamp in kept.items())
    same_tables(study, undisturbed)


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
