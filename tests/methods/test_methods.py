"""The contract of methods: every one here, and any tuner of `peft`, through the same checks."""

from __future__ import annotations

import pytest
import torch
from peft import PeftModel, get_peft_model
from peft.tuners.tuners_utils import BaseTunerLayer
from support import dense
from torch import nn
from transformers import GPT2Config, GPT2LMHeadModel
from transformers.pytorch_utils import Conv1D

from study import methods
from study.methods.multiplicative import MultiplicativeLayer, block_width
from study.methods.oft import cayley
from study.testing import method_contract as contract
from study.training.geometry import distance_to_identity, hyperspherical_energy
from study.training.packing import pack

OWN = sorted(methods.own_names())
IDENTITY_AT_START = {"ether": False} | dict.fromkeys(
    ["ether_plus", "full", "oft", "naive", "lora", "hra", "boft"], True
)
VARIANTS = [(m, {}) for m in dense.METHODS] + [("ether_plus", {"sides": 1}), ("ether", {"blocks": 24})]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    chosen = metafunc.config.getoption("--method")
    if "any_method" in metafunc.fixturenames:
        metafunc.parametrize("any_method", chosen or [*OWN, "lora", "hra", "boft"])
    if "multiplicative" in metafunc.fixturenames:
        metafunc.parametrize(
            "multiplicative", [m for m in chosen or OWN if m in OWN and "blocks" in methods.options(m)]
        )


class Toy(nn.Module):
    """Two linear layers of different widths, no width a power of two."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(24, 48), nn.Linear(48, 24)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.second(torch.tanh(self.first(x)))


def toy(dtype: torch.dtype = torch.float64) -> Toy:
    torch.manual_seed(0)
    return Toy().to(dtype).requires_grad_(False)


def adapt(base: nn.Module, method: str, options: dict, adapter: str = "default") -> PeftModel:
    torch.manual_seed(1)
    config = methods.config(method, options, ["first", "second"])
    return get_peft_model(base, config, adapter, autocast_adapter_dtype=False)


def shake(model: nn.Module, size: float = 0.3) -> None:
    """Moves all trained parameters off their initialisation."""
    torch.manual_seed(2)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(size * torch.randn_like(parameter))


def layer_of(model: PeftModel) -> MultiplicativeLayer:
    return model.base_model.model.first


@pytest.mark.parametrize("method,options", VARIANTS)
def test_forward_and_gradient_equal_the_dense_form(method: str, options: dict) -> None:
    model = adapt(toy(), method, options)
    shake(model)
    layer = layer_of(model)
    x = torch.randn(5, 24, dtype=torch.float64)
    target = torch.randn(5, 48, dtype=torch.float64)
    weight, bias = layer.base_layer.weight, layer.base_layer.bias
    p = {k: v.detach().clone().requires_grad_() for k, v in layer.parameters_of("default").items()}
    expected = dense.forward(method, p, weight, bias, x)
    got = layer(x)
    torch.testing.assert_close(got, expected, rtol=1e-10, atol=1e-10)
    (got * target).sum().backward()
    (expected * target).sum().backward()
    for name, parameter in layer.parameters_of("default").items():
        torch.testing.assert_close(parameter.grad, p[name].grad, rtol=1e-10, atol=1e-10)


@pytest.mark.filterwarnings("ignore")  # peft's advice on what the checks ask for
@pytest.mark.parametrize("check", contract.CHECKS)
def test_the_contract(any_method: str, check: str) -> None:
    note = contract.CHECKS[check](any_method, {})
    if any_method in dense.METHODS:
        assert note == "" or check == "start"
    if check == "start" and any_method in IDENTITY_AT_START:
        assert (note == "starts at the base model") == IDENTITY_AT_START[any_method]


def test_conv1d_of_gpt2(multiplicative: str) -> None:
    torch.manual_seed(0)
    gpt = GPT2LMHeadModel(GPT2Config(n_embd=24, n_layer=1, n_head=2, vocab_size=31)).double().eval()
    tokens = torch.arange(10).view(1, -1)
    model = get_peft_model(
        gpt, methods.config(multiplicative, {}, ["c_attn", "c_proj"]), autocast_adapter_dtype=False
    )
    shake(model)
    adapted = [m for m in model.modules() if isinstance(m, MultiplicativeLayer)]
    assert all(isinstance(m.base_layer, Conv1D) for m in adapted) and len(adapted) == 3
    before = model(tokens).logits
    model.merge_adapter()
    torch.testing.assert_close(model(tokens).logits, before, rtol=1e-10, atol=1e-10)


def test_unsupported_layer_is_refused_by_name() -> None:
    with pytest.raises(TypeError, match="layer 0 is a Embedding"):
        get_peft_model(nn.Sequential(nn.Embedding(4, 8)), methods.config("ether", {}, ["0"]))


def test_a_block_count_that_does_not_divide_names_layer_width_and_nearest() -> None:
    with pytest.raises(ValueError, match="blocks=5 .* width 24 of layer first.* 4 or 6"):
        adapt(toy(), "ether", {"blocks": 5})
    with pytest.raises(ValueError, match=r"width 48 of layer first \(output side\)"):
        adapt(toy(), "ether_plus", {"blocks": 24, "sides": 2}) and block_width(
            48, 5, "layer first (output side)"
        )
    assert block_width(24, 6, "x") == 4


@pytest.mark.parametrize("options", [{"blocks": 0}, {"blocks": 2.0}, {"blocks": True}])
def test_bad_block_counts(options: dict) -> None:
    with pytest.raises(ValueError, match="blocks must be a positive integer"):
        methods.config("ether", options)


def test_ether_is_a_reflection_at_distance_two_per_block() -> None:
    for blocks in (1, 3, 12):
        model = adapt(toy(), "ether", {"blocks": blocks})
        h = layer_of(model).dense_blocks("in")
        assert h.shape == (blocks, 24 // blocks, 24 // blocks)
        identity = torch.eye(24 // blocks, dtype=torch.float64).expand_as(h)
        torch.testing.assert_close(h @ h.mT, identity, rtol=0, atol=1e-13)
        torch.testing.assert_close(torch.linalg.det(h), torch.full((blocks,), -1.0, dtype=h.dtype))
        per_block = (h - identity).flatten(1).norm(dim=1)
        torch.testing.assert_close(per_block, torch.full((blocks,), 2.0, dtype=h.dtype))
        assert distance_to_identity(h).item() == pytest.approx(2 * blocks**0.5)


def test_ether_plus_stays_within_the_square_root_of_two_per_block_and_side() -> None:
    model = adapt(toy(), "ether_plus", {})
    layer = layer_of(model)
    for side in ("in", "out"):
        start = layer.dense_blocks(side)
        torch.testing.assert_close(start, torch.eye(start.shape[-1], dtype=start.dtype).expand_as(start))
    largest = 0.0
    for size in (0.1, 1.0, 100.0):
        shake(model, size)
        for side in ("in", "out"):
            blocks = layer.dense_blocks(side)
            u = layer.parameters_of("default")[f"ether_plus_u_{side}"]
            v = layer.parameters_of("default")[f"ether_plus_v_{side}"]
            cosine = torch.cosine_similarity(u, v)
            tight = (2 - 2 * cosine**2).sqrt()
            moved = (blocks - torch.eye(blocks.shape[-1], dtype=blocks.dtype)).flatten(1).norm(dim=1)
            torch.testing.assert_close(moved, tight, rtol=1e-6, atol=1e-6)
            largest = max(largest, moved.max().item())
    assert 1.0 < largest <= 2**0.5 + 1e-12


def test_oft_is_a_rotation_even_at_large_parameters() -> None:
    model = adapt(toy(), "oft", {})
    shake(model, 10.0)
    q = layer_of(model).dense_blocks("in")
    torch.testing.assert_close(q @ q.mT, torch.eye(6, dtype=q.dtype).expand_as(q), rtol=0, atol=1e-9)
    torch.testing.assert_close(torch.linalg.det(q), torch.ones(4, dtype=q.dtype))


def test_the_cayley_transform_is_its_definition_and_so_are_its_gradients() -> None:
    r = 3 * torch.randn(4, 5, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    skew, identity = (r - r.mT) / 2, torch.eye(5, dtype=torch.float64)
    torch.testing.assert_close(cayley(r), (identity + skew) @ torch.linalg.inv(identity - skew))
    torch.testing.assert_close(cayley(r) @ cayley(r).mT, identity.expand(4, 5, 5))
    torch.testing.assert_close(torch.vmap(cayley)(r), cayley(r))
    r.requires_grad_()
    assert torch.autograd.gradcheck(cayley, r) and torch.autograd.gradgradcheck(cayley, r)


def test_oft_equals_pefts_oft_with_the_exact_cayley_transform() -> None:
    ours = adapt(toy(), "oft", {"blocks": 4})
    config = methods.config(
        "peft:oft", {"oft_block_size": 6, "use_cayley_neumann": False, "bias": "none"}, ["first"]
    )
    theirs = get_peft_model(toy(), config, autocast_adapter_dtype=False)
    vector = 0.4 * torch.randn(4, 15, dtype=torch.float64)
    theirs.base_model.model.first.oft_R["default"].weight.data = vector
    rows, columns = torch.triu_indices(6, 6, 1)
    r = torch.zeros(4, 6, 6, dtype=torch.float64)
    r[:, rows, columns] = -2 * vector  # their Q is (I - S)(I + S)^-1 with S_ij = vector above the diagonal
    layer_of(ours).cayley_oft_r["default"].data = r
    x = torch.randn(7, 24, dtype=torch.float64)
    expected = theirs.base_model.model.first(x)
    torch.testing.assert_close(layer_of(ours)(x), expected, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("method,options,preserves", [
    ("ether", {}, True), ("oft", {}, True),
    ("naive", {}, False), ("ether_plus", {}, False), ("ether_plus", {"sides": 1}, False),
])  # fmt: skip
def test_what_preserves_hyperspherical_energy(method: str, options: dict, preserves: bool) -> None:
    model = adapt(toy(), method, options)
    shake(model)
    layer = layer_of(model)
    before, _ = hyperspherical_energy(layer.base_layer.weight)
    after, _ = hyperspherical_energy(layer.merged_weight())
    relative = abs(after - before) / before
    assert (relative < 1e-9) == preserves
    assert preserves or relative > 1e-5


@pytest.mark.parametrize("method,options,count", [
    ("ether", {}, 24 + 48), ("ether", {"blocks": 12}, 24 + 48),  # d per layer, whatever n
    ("ether_plus", {}, 4 * (24 + 48)), ("ether_plus", {"blocks": 1, "sides": 1}, 2 * (24 + 48)),
    ("oft", {}, (24 * 24 + 48 * 48) // 4 // 2),  # half of what is trained, by skew-symmetry
    ("naive", {}, (24 * 24 + 48 * 48) // 4),
    ("lora", {"r": 8}, 8 * 2 * (24 + 48)),
])  # fmt: skip
def test_parameters_as_the_paper_counts_them(method: str, options: dict, count: int) -> None:
    packed, _ = pack(toy(torch.float32), methods.config(method, options, ["first", "second"]), [0])
    assert packed.parameter_count == count


def test_the_published_initialisation_and_its_seed() -> None:
    first, again = (adapt(toy(), "ether", {}) for _ in range(2))
    u = layer_of(first).ether_u["default"]
    assert torch.equal(u, layer_of(again).ether_u["default"])
    bound = (24 / 4) ** -0.5
    assert u.abs().max() <= bound and u.abs().max() > 0.7 * bound
    assert u.shape == (4, 6)


def test_names_and_options_are_read_without_importing() -> None:
    assert {"ether", "ether_plus", "oft", "naive", "lora", "hra", "peft:oft"} <= set(methods.names())
    assert {"blocks", "sides", "target_modules"} <= set(methods.options("ether_plus"))
    assert "sides" not in methods.options("ether")
    assert {"r", "lora_alpha", "use_dora"} <= set(methods.options("lora"))


def test_registered_methods_survive_a_second_registration() -> None:
    from peft import PeftType
    from peft.mapping import PEFT_TYPE_TO_CONFIG_MAPPING

    from study.methods.ether import EtherConfig, EtherLayer
    from study.methods.multiplicative import register

    register(EtherConfig, EtherLayer)
    assert PEFT_TYPE_TO_CONFIG_MAPPING[PeftType.ETHER] is EtherConfig
    assert PeftType("ETHER") is PeftType.ETHER and "ETHER" in PeftType.__members__
    assert issubclass(EtherLayer, BaseTunerLayer)
