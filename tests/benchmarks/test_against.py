"""The benchmark of two checkouts: what is in its rows, and what happens when one cannot answer."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from benchmarks import against
from benchmarks.against_worker import Packs
from study.errors import UsageError
from study.tasks import Batch


class Canned(against.Checkout):
    """A checkout whose steps take these seconds, in turn; none: it cannot do anything."""

    def __init__(self, name: str, *steps: float) -> None:
        self.name, self.steps, self.asked = name, list(steps), 0

    def ask(self, **question: object) -> against.Answer:
        if not self.steps:
            return {"error": "unknown task"}
        step = self.steps[self.asked % len(self.steps)]
        self.asked += 1
        of_run = {"steps": 100, "evaluations": 3, "test_over_valid": 2.0, "evaluation": 0.5, "geometry": 0.25}
        return {"step": step, "evaluation": 0.4} if question["ask"] == "frozen" else {"step": step} | of_run


def test_the_first_turn_warms_up_and_medians_are_of_the_others() -> None:
    questions = {
        each.name: (each, {"ask": "pack"}) for each in (Canned("a", 9.0, 1.0, 5.0, 2.0), Canned("b"))
    }
    medians = against.in_turns(questions, 3)
    assert medians["a"]["step"] == 2.0 and set(medians) == {"a"}


def test_shares_of_a_run_by_hand(capsys: pytest.CaptureFixture[str]) -> None:
    """100 steps of 0.02 s, four points of 0.5 and 0.25 s, and a test split twice as large: 2 + 3 + 1 s."""
    rows = against.pack_rows([Canned("this", 0.02), Canned("old")], "vtab", 9, 2)
    assert {row["method"] for row in rows} == set(against.METHODS) and {r["revision"] for r in rows} == {
        "this"
    }
    assert rows[0]["seconds_per_run"] == pytest.approx(6)
    shares = [rows[0][f"{kind}_share"] for kind in ("training", "evaluation", "geometry")]
    assert shares == pytest.approx([2 / 6, 3 / 6, 1 / 6])
    assert rows[0]["run_over_frozen"] == pytest.approx(5 / (2 + 6 * 0.4))
    assert rows[0]["over_frozen"] == 1 and rows[0]["step_ms"] == pytest.approx(20)
    assert "old cannot do" in capsys.readouterr().out


@pytest.mark.slow
def test_the_bare_model_and_packs_have_the_same_batches_in_a_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Texts are padded to other lengths in every step."""
    packs = Packs("glue", 2)
    given: list[tuple[int, int]] = []
    batch = packs.task.batch

    def noted(seed: int, step: int) -> Batch:
        given.append((seed, step))
        return batch(seed, step)

    packs.training("ether")  # warms up, on a step of its own
    monkeypatch.setattr(packs.task, "batch", noted)
    batches = []
    for work in (lambda turn: packs.pack("ether", turn), packs.frozen):
        given.clear()
        work(2)
        batches.append(set(given))
    assert batches[0] == batches[1] == {(0, step) for step in (6, 7, 8)}


def test_one_layer_is_measured_by_a_process_of_this_checkout() -> None:
    checkout = against.Checkout(against.ROOT, "this")
    try:
        rows = against.layer_rows([checkout], 64, 1)
    finally:
        checkout.close()
    assert [row["method"] for row in rows] == [method for method, _ in against.layers(64)]
    assert all(min(row["frozen_ms"], row["step_ms"], row["over_frozen"]) > 0 for row in rows)


def test_an_unknown_commit_is_refused_in_one_line() -> None:
    with pytest.raises(UsageError, match="no-such-commit"), against.checkout_of("no-such-commit"):
        pass


def test_a_checkout_has_the_files_of_the_commit_and_leaves_nothing() -> None:
    with against.checkout_of("HEAD") as folder:
        listed = subprocess.run(
            ["git", "-C", str(against.ROOT), "ls-tree", "--name-only", "HEAD"], capture_output=True, text=True
        )
        assert {path.name for path in folder.iterdir()} == set(listed.stdout.split())
    assert not Path(folder).exists()
