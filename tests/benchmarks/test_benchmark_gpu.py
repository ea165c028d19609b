"""The benchmark for a GPU, by the same code on the CPU with a tiny Llama."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch

from benchmarks import gpu
from benchmarks.gpu import CASES, main, stepping
from benchmarks.random_tokens import TINY, TINY_TOKENS, RandomTokens, build
from study.errors import UsageError
from study.planning.profile import Footprint
from study.training.memory import Peak
from study.training.train import Training

CPU = torch.device("cpu")


def table(folder: Path, *arguments: str) -> pd.DataFrame:
    main(["--small", "--steps", "2", "--out", str(folder), *arguments])
    return pd.read_csv(folder / "llama_tiny.csv", keep_default_na=False, na_values=[""])


@pytest.mark.slow
def test_every_case_alone_and_packed(tmp_path: Path) -> None:
    measured = table(tmp_path, "--packs", "1", "4", "--batch-sizes", "2")
    expected = itertools.product([case.label for case in CASES], (1, 4))
    assert list(measured[["case", "pack_size"]].itertuples(index=False, name=None)) == list(expected)
    assert (measured["seconds_low"] > 0).all() and measured["note"].isna().all()
    assert (measured["seconds_low"] <= measured["seconds"]).all()
    assert (measured["seconds"] <= measured["seconds_high"]).all()
    adapted = measured[measured["case"] != "frozen"]
    # A copy of the weights that LoRA might replace is counted, but not foretold.
    assert (adapted["estimate_mb"] / adapted["peak_mb"]).between(0.85, 1.15).all()


def test_the_table_by_hand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A frozen step takes 10 ms a run, LoRA's 20, OFT's 30; two runs of LoRA do not fit in a batch of 8."""

    def measure(task: Any, model: Any, case: gpu.Case, size: int, *_: Any) -> dict[str, float]:
        if (case.method, task.settings.batch_size, size) == ("lora", 8, 2):
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return {"seconds": size * {"frozen": 0.01, "lora": 0.02, "oft": 0.03}[case.method], "peak_mb": 20.0}

    monkeypatch.setattr(gpu, "measure", measure)
    needs = Footprint(parameters=0, num_params=0, weights_mb=8, fixed_mb=1, run_mb=2)
    monkeypatch.setattr(gpu, "estimate", lambda *_: needs)
    measured = table(
        tmp_path, "--methods", "oft", "lora", "--packs", "4", "1", "2", "--batch-sizes", "1", "8"
    )
    measured = measured.set_index(["batch_size", "method", "pack_size"])
    every = set(itertools.product((1, 8), ("frozen", "lora", "oft"), (1, 2, 4)))
    assert len(measured) == len(every) - 1 and set(measured.index) == every - {(8, "lora", 4)}
    lost, packed = measured.loc[(8, "lora", 2)], measured.loc[(8, "oft", 4)]
    assert lost["note"] == "out of memory" and lost["estimate_mb"] == 8 + 1 + 2 * 2
    assert lost[["seconds", "seconds_per_run", "tokens_per_second", "over_frozen", "peak_mb"]].isna().all()
    assert packed["seconds_per_run"] == pytest.approx(0.03) and packed["over_frozen"] == pytest.approx(3)
    assert packed["tokens_per_second"] == pytest.approx(4 * 8 * TINY_TOKENS / 0.12)
    assert packed["gain"] == pytest.approx(1)  # as made up here, runs take as long together as alone
    assert measured["note"].notna().sum() == 1 and set(measured["device"]) == {"cpu"}
    assert {path.suffix for path in tmp_path.iterdir()} == {".csv", ".png", ".pdf", ".svg", ".json"}


@pytest.mark.slow
def test_what_runs_out_of_memory_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """LoRA fails in the second step of two runs; OFT then trains on a model of its own, as it would alone."""
    models = []

    class Small(Training):
        def train_step(self) -> torch.Tensor:
            models.append(self.model)
            if self.step == 1 and len(self.runs) == 2 and "LORA" in str(self.packed.peft_model.peft_config):
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
            return super().train_step()

    monkeypatch.setattr(gpu, "Training", Small)
    measured = table(tmp_path, "--methods", "lora", "oft", "--packs", "1", "2", "--batch-sizes", "1")
    assert measured["note"].fillna("").tolist() == ["", "", "", "out of memory", "", ""]
    assert measured["seconds"].isna().tolist() == [False, False, False, True, False, False]
    assert models[0] is not models[-1]


def test_other_errors_are_not_taken_for_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: Any) -> None:
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    monkeypatch.setattr(gpu, "measure", fails)
    with pytest.raises(RuntimeError, match="mat1 and mat2"):
        table(tmp_path, "--methods", "lora")


def test_the_model_is_made_in_bfloat16_without_another_copy() -> None:
    with Peak() as peak:
        model = build(RandomTokens(TINY, TINY_TOKENS, 1), CPU)
    weights = sum(parameter.nbytes for parameter in model.parameters())
    assert {parameter.dtype for parameter in model.parameters()} == {torch.bfloat16}
    assert weights <= peak.highest <= 1.01 * weights
    assert all(parameter.std() > 0 for name, parameter in model.named_parameters() if "norm" not in name)


def test_the_loss_is_the_models_own() -> None:
    task = RandomTokens(TINY, TINY_TOKENS, 3)
    model, batch = build(task, CPU), task.batch(0, 0)
    ours = task.losses(task.forward(model, batch), batch)
    theirs = model(input_ids=batch["tokens"], labels=batch["tokens"]).loss
    assert ours.shape == (3,)
    torch.testing.assert_close(ours.mean(), theirs.float(), rtol=1e-2, atol=0)


@pytest.mark.parametrize(("case", "module"), [(CASES[0], "input_layernorm"), (CASES[-1], "mlp")])
def test_a_step_reaches_the_first_layer_and_leaves_the_model_as_it_was(case: gpu.Case, module: str) -> None:
    task = RandomTokens(TINY, TINY_TOKENS, 1)
    model, batch = build(task, CPU), task.batch(0, 0)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    reached = []
    hook = getattr(model.model.layers[0], module).register_full_backward_hook(
        lambda module, inputs, outputs: reached.append(outputs[0].shape[0])
    )
    with stepping(task, model, case, 2) as step:
        step()
    hook.remove()
    assert reached == [2]  # rows
    after = model.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(value, after[name]) for name, value in before.items())
    assert all(parameter.grad is None for parameter in model.parameters())
    assert not task.forward(model, batch).requires_grad


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "there is no GPU for Llama-2-7B; --small "),
        (["--small", "--packs", "0"], "--batch-sizes, --packs and --steps must be 1 or more"),
        (["--small", "--steps", "0"], "--batch-sizes, --packs and --steps must be 1 or more"),
    ],
)
def test_wrong_usage_is_said(
    arguments: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(UsageError, match=message):
        main([*arguments, "--out", str(tmp_path / "out")])
    assert not (tmp_path / "out").exists()
