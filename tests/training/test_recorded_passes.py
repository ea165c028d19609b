"""When passes are recorded, replayed, checked and given up; on a GPU itself: `tests/gpu`."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from study.tasks import Batch
from study.training.recorded_passes import MOST_SHAPES, Passes, RecordedPasses, Recording, Results


def passes(flat: Tensor, batch: Batch) -> Results:
    return flat.sum(1) * batch["x"].sum(), flat * batch["x"].sum()


class Recorder:
    """Records as a CUDA graph does: results stay where they are, and a replay reads what the inputs hold.

    Args:
        frozen: the host's decision in the passes that a replay repeats, right or wrong.
    """

    def __init__(self, frozen: float = 0.0) -> None:
        self.recorded, self.replayed, self.frozen = 0, 0, frozen

    def __call__(self, passes: Passes, flat: Tensor, batch: Batch) -> Recording:
        self.recorded += 1
        flat, batch = flat.clone(), {name: value.clone() for name, value in batch.items()}
        results = passes(flat, batch)

        def replay() -> None:
            self.replayed += 1
            for place, value in zip(results, passes(flat, batch), strict=True):
                place.copy_(value + self.frozen)

        return Recording(flat, batch, results, replay)


class Steps:
    """Steps of a pack, and how many of them were not recorded.

    Args:
        noise: by which two of these differ, relative.
    """

    def __init__(self, recorder: object, noise: float = 0.0) -> None:
        self.recorded, self.plain, self.noise = RecordedPasses(recorder), 0, noise  # type: ignore[arg-type]

    def __call__(self, flat: Tensor, batch: Batch) -> Results:
        def plainly() -> Results:
            self.plain += 1
            losses, grad = passes(flat, batch)
            factor = 1 + self.noise * (self.plain % 2)
            return losses * factor, grad * factor

        return self.recorded(passes, flat, batch, plainly)


def inputs(step: int, width: int = 3) -> tuple[Tensor, Batch]:
    return torch.full((2, 4), float(step + 1)), {"x": torch.arange(width) + step}


def test_after_one_recording_and_one_check_steps_are_replayed() -> None:
    recorder = Recorder()
    step = Steps(recorder)
    results = [step(*inputs(number)) for number in range(6)]
    assert (recorder.recorded, recorder.replayed, step.plain) == (1, 5, 3)
    for number, of_step in enumerate(results):  # none was overwritten by a later one
        assert all(torch.equal(*pair) for pair in zip(of_step, passes(*inputs(number)), strict=True))


def test_what_a_replay_gets_wrong_is_said_and_launched_one_by_one(capsys: pytest.CaptureFixture[str]) -> None:
    recorder = Recorder(frozen=1.0)
    step = Steps(recorder)
    for number in range(5):
        results = step(*inputs(number))
        assert all(torch.equal(*pair) for pair in zip(results, passes(*inputs(number)), strict=True))
    assert (recorder.replayed, step.plain) == (1, 6)
    assert "came out otherwise when they were replayed" in capsys.readouterr().out


@pytest.mark.parametrize(("frozen", "replays"), [(0.0, 3), (0.01, 3), (1.0, 1)])
def test_a_replay_may_differ_as_much_as_two_steps_without_it(frozen: float, replays: int) -> None:
    recorder = Recorder(frozen)
    step = Steps(recorder, noise=0.01)
    for number in range(4):
        step(*inputs(number))
    assert recorder.replayed == replays


def test_what_cannot_be_recorded_is_said_once_and_launched_one_by_one(
    capsys: pytest.CaptureFixture[str],
) -> None:
    def refuse(*_: object) -> Recording:
        raise RuntimeError("operation not permitted when stream is capturing")

    step = Steps(refuse)
    for number in range(4):
        step(*inputs(number))
    assert step.plain == 4
    assert capsys.readouterr().out.count("steps cannot be recorded") == 1


def test_each_shape_has_its_recording_up_to_a_number() -> None:
    recorder = Recorder()
    step = Steps(recorder)
    for number in range(3):
        for width in range(1, MOST_SHAPES + 3):
            results = step(*inputs(number, width))
            assert torch.equal(results[1], passes(*inputs(number, width))[1])
    assert recorder.recorded == MOST_SHAPES


def test_a_run_that_has_gone_to_nan_is_no_fault_of_the_replay() -> None:
    step = Steps(recorder := Recorder())
    for number in range(4):
        flat, batch = inputs(number)
        flat[1] = torch.nan
        assert step(flat, batch)[0].isnan().tolist() == [False, True]
    assert recorder.replayed == 3
