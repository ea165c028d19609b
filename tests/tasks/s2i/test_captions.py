"""Captions are encoded once, however many rows have them, unless rows may differ."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.func import vmap

from study.tasks.diffusion.controlled_unet import ControlledUNet
from study.tasks.s2i import S2i


@pytest.fixture
def model(mini: S2i) -> ControlledUNet:
    model = mini.model()
    assert isinstance(model, ControlledUNet)
    return model


def rows_encoded(model: ControlledUNet, ids: Tensor) -> tuple[int, Tensor]:
    """How many rows the text encoder sees, and what `encode_text` gives."""
    seen: list[int] = []

    def note(_: nn.Module, __: object, kwargs: object, outputs: object) -> None:
        seen.append(len(outputs.last_hidden_state))  # type: ignore[attr-defined]

    with model.text_encoder.register_forward_hook(note, with_kwargs=True):
        states = model.encode_text(ids)
    return seen[0], states


def test_each_caption_is_encoded_once_and_reaches_its_rows(mini: S2i, model: ControlledUNet) -> None:
    ids = mini._token_ids["train"][torch.tensor([3, 0, 3, 7, 0])]
    rows, states = rows_encoded(model, ids)
    assert rows == len(ids.unique(dim=0)) < len(ids)
    for row, expected in enumerate(ids):
        alone = model.text_encoder(expected[None]).last_hidden_state[0]
        torch.testing.assert_close(states[row], alone)


@pytest.mark.parametrize("why", ["adapted", "dropout"])
def test_rows_that_may_differ_are_encoded_each(why: str, mini: S2i, model: ControlledUNet) -> None:
    if why == "adapted":
        next(model.text_encoder.parameters()).requires_grad_()
    else:
        model.train()
        model.text_encoder.config.attention_dropout = 0.1
    ids = mini._token_ids["train"][torch.tensor([3, 0, 3])]
    assert rows_encoded(model, ids)[0] == 3


def test_captions_of_runs_that_are_mapped_are_encoded(mini: S2i, model: ControlledUNet) -> None:
    ids = mini._token_ids["train"][:4].unflatten(0, (2, 2))
    with torch.no_grad():
        mapped = vmap(model.encode_text)(ids)
        torch.testing.assert_close(mapped.flatten(0, 1), model.encode_text(ids.flatten(0, 1)))
