"""Full finetuning as a `peft` tuner: what it trains, ties, refuses, merges and gives back."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from peft import PeftModel, get_peft_model
from torch import Tensor, nn
from transformers import LlamaConfig, LlamaForCausalLM

from study.methods.full import FullConfig, FullLayer
from study.training.geometry import hyperspherical_energy
from study.training.packing import pack


class Patches(nn.Module):
    """Holds a token and places itself, and a convolution; it is called with a keyword."""

    def __init__(self) -> None:
        super().__init__()
        self.token, self.places = nn.Parameter(torch.zeros(1, 1, 6)), nn.Parameter(torch.ones(1, 5, 6))
        self.projection = nn.Conv2d(3, 6, 2, stride=2)

    def forward(self, pictures: Tensor, *, scale: float) -> tuple[Tensor, float]:
        patches = self.projection(pictures).flatten(2).mT
        token = self.token.expand(len(patches), -1, -1)
        return torch.cat([token, patches], 1) * scale + self.places, scale


class Net(nn.Module):
    """Pictures (rows, 3, 4, 4) -> (rows, 2), with a table that is read and never called."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.patches, self.norm = Patches(), nn.LayerNorm(6)
        self.table = nn.Embedding(5, 6)
        self.head = nn.Linear(6, 2, bias=False)
        self.requires_grad_(False)

    def forward(self, pictures: Tensor) -> Tensor:
        patches, _ = self.patches(pictures, scale=2.0)
        return self.head(self.norm((patches * self.table.weight).mean(1)))


PICTURES = torch.randn(4, 3, 4, 4, generator=torch.Generator().manual_seed(1))
SIZE = 6 + 30 + 3 * 6 * 4 + 6 + 12 + 30 + 12


def moved(model: PeftModel) -> PeftModel:
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(0.3 * torch.randn(parameter.shape, generator=generator))
    return model


def test_every_weight_is_trained_whoever_holds_or_reads_it() -> None:
    base = Net()
    before = {name: value.clone() for name, value in base.state_dict().items()}
    plain = Net().requires_grad_(True)
    model = get_peft_model(base, FullConfig())
    assert model.get_nb_trainable_parameters()[0] == SIZE == sum(p.numel() for p in plain.parameters())
    for net in (model, plain):
        optimizer = torch.optim.SGD([p for p in net.parameters() if p.requires_grad], lr=0.1)
        for _ in range(3):
            optimizer.zero_grad()
            net(PICTURES).square().sum().backward()
            optimizer.step()
    torch.testing.assert_close(model(PICTURES), plain(PICTURES))
    assert torch.equal(model.base_model.model.table.weight, plain.table.weight)
    back = model.unload()
    assert type(back.patches) is Patches and type(back.patches.projection) is nn.Conv2d
    assert all(torch.equal(before[name], value) for name, value in back.state_dict().items())
    assert back.state_dict().keys() == before.keys()


def test_merged_unmerged_saved_and_loaded(tmp_path: Path) -> None:
    model = moved(get_peft_model(Net(), FullConfig()))
    expected = model(PICTURES)
    model.merge_adapter()
    assert torch.equal(model(PICTURES), expected)
    with model.disable_adapter():
        assert torch.equal(model(PICTURES), Net()(PICTURES))
    assert torch.equal(model(PICTURES), expected)
    model.save_pretrained(str(tmp_path))
    assert {p.name for p in tmp_path.iterdir()} >= {"adapter_config.json", "adapter_model.safetensors"}
    loaded = PeftModel.from_pretrained(Net(), str(tmp_path))
    assert torch.equal(loaded(PICTURES), expected)
    merged = loaded.merge_and_unload()
    assert torch.equal(merged(PICTURES), expected) and type(merged.patches) is Patches


@pytest.mark.filterwarnings("ignore")  # peft's advice on merging several
def test_several_adapters_add_up_what_they_change() -> None:
    model = moved(get_peft_model(Net(), FullConfig()))
    one = model.base_model.model.head.weight.detach().clone()
    model.add_adapter("two", FullConfig(target_modules=["head"]))
    assert torch.equal(model.base_model.model.head.weight, one)
    model.set_adapter("two")
    moved(model)
    two = model.base_model.model.head.weight.detach().clone()
    model.base_model.set_adapter(["default", "two"])
    both, base = model.base_model.model.head.weight, Net().head.weight
    torch.testing.assert_close(both, one + two - base)
    expected = model(PICTURES)
    model.merge_adapter(["default"])
    model.merge_adapter(["two"])
    torch.testing.assert_close(model(PICTURES), expected)
    model.unmerge_adapter()
    assert torch.equal(model.unload().head.weight, base)


@pytest.mark.filterwarnings("ignore")  # peft's advice on tied weights
def test_tied_weights_are_trained_as_one() -> None:
    config = LlamaConfig(
        vocab_size=30, hidden_size=8, intermediate_size=8, num_hidden_layers=1, num_attention_heads=2,
        tie_word_embeddings=True,
    )  # fmt: skip
    torch.manual_seed(0)
    base = LlamaForCausalLM(config).requires_grad_(False)
    size = sum(p.numel() for p in base.parameters())
    model = moved(get_peft_model(base, FullConfig()))
    inner, ids = model.base_model.model, torch.tensor([[1, 2, 3]])
    assert inner.lm_head.weight is inner.model.embed_tokens.weight
    assert model.get_nb_trainable_parameters()[0] == size
    expected = model(input_ids=ids).logits
    model.merge_adapter()
    torch.testing.assert_close(model(input_ids=ids).logits, expected)
    model.unmerge_adapter()
    torch.testing.assert_close(model(input_ids=ids).logits, expected)
    packed, parameters = pack(model.unload(), FullConfig(), [0])
    assert packed.num_params == packed.parameter_count == size == len(parameters.adapters[0])
    packed.close()


def test_parts_are_trained_with_all_in_them_and_heads_at_their_own_rate() -> None:
    def slots(**options: list[str]) -> dict[str, bool]:
        packed, _ = pack(Net(), FullConfig(**options), [0])
        packed.close()
        return {slot.full_name: slot.head for slot in packed.slots}

    assert slots(target_modules=["patches"]).keys() == {
        "patches.finetuned_token.default", "patches.finetuned_places.default",
        "patches.finetuned_projection__weight.default", "patches.finetuned_projection__bias.default",
    }  # fmt: skip
    of_all = slots(modules_to_save=["head"])
    assert [name for name, head in of_all.items() if head] == ["head.modules_to_save.default.weight"]
    assert "head.finetuned_weight.default" not in of_all and "norm.finetuned_bias.default" in of_all


class Rooted(Net):
    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()), requires_grad=False)


@pytest.mark.parametrize("base,options,says", [
    (Net, {"target_modules": ["heads"]}, "no module heads with weights of its own to train"),
    (Rooted, {}, "the model's root holds scale itself"),
    (Net, {"modules_to_save": ["projection"]}, "patches holds weights beside projection"),
])  # fmt: skip
def test_what_cannot_be_trained_is_refused(base: type, options: dict, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        get_peft_model(base(), FullConfig(**options))


def test_half_precision_is_trained_in_single() -> None:
    base = nn.Sequential(nn.Linear(4, 4)).bfloat16().requires_grad_(False)
    model = get_peft_model(base, FullConfig())
    copy = model.base_model.model[0].finetuned_weight["default"]
    assert copy.dtype == torch.float32
    with torch.no_grad():
        copy += 2.0**-12 * copy.abs().max()  # lost in the base model's precision
    assert not torch.equal(copy.bfloat16().float(), copy)
    assert model(torch.ones(2, 4, dtype=torch.bfloat16)).dtype == torch.bfloat16


@pytest.mark.parametrize("layer,as_matrix", [
    (nn.Linear(3, 5), lambda w: w),
    (nn.Conv2d(3, 5, 2), lambda w: w.reshape(5, 12)),
    (nn.ConvTranspose2d(3, 5, 2), lambda w: w.transpose(0, 1).reshape(5, 12)),
])  # fmt: skip
def test_distances_and_energy_are_those_of_the_weights(layer: nn.Module, as_matrix: object) -> None:
    packed, parameters = pack(nn.Sequential(layer.requires_grad_(False)), FullConfig(), [0])
    change = torch.randn(layer.weight.shape)
    with torch.no_grad():
        parameters.adapters[0][: change.numel()] += change.flatten()
    adapted = packed.adapted_layers()["0"]
    weight, trained = adapted.effective_weights(packed.tensors(parameters.copy())["0"])
    expected = as_matrix(layer.weight).double()
    torch.testing.assert_close(weight, expected)
    torch.testing.assert_close(trained[0] - weight, as_matrix(change).double(), atol=1e-6, rtol=1e-5)
    assert hyperspherical_energy(trained[0])[0] != hyperspherical_energy(weight)[0]
    packed.close()
    assert isinstance(adapted.module, FullLayer)
