"""Every tuner of the installed `peft` on the miniature task: does it pack, train one by one, or not at all?

What `docs/tuners.md` says is `page()` of this file, and every line of it is tried out here. After a change:
`python tests/methods/test_tuners.py` writes the page anew.
"""

from __future__ import annotations

import copy
import functools
import math
from dataclasses import dataclass, field
from typing import Any

import pytest
import torch
from peft import get_peft_model
from peft.mapping import PEFT_TYPE_TO_CONFIG_MAPPING
from support.paths import ROOT
from torch import nn

from study import methods, tasks
from study.config.compose import load
from study.errors import UsageError
from study.planning.profile import RunMapping
from study.tasks import Batch, Task
from study.training.hyperparameters import Hyperparameters
from study.training.packing.packed_model import adapted_layers_noted
from study.training.packing.slots import find_owners
from study.training.probe import find_mapping, why_unpackable
from study.training.randomness import RunStreams
from study.training.schedule import learning_rate_share
from study.training.train import Training

pytestmark = pytest.mark.slow  # all together

PAGE = ROOT / "docs" / "tuners.md"
STEPS = 3
RUNS = [Hyperparameters(1e-3, 0), Hyperparameters(1e-2, 1)]
PACKS, LOOPS, NOT = "in packs", "in packs, in loops", "no"

SYMPTOMS = {
    "autograd.Function": "setup_context",
    "in place": "index_put_",
    "sparse": "Sparse",
    "if": "data-dependent control flow",
}
"""A word of the reason that the page gives -> what the probe says."""


@dataclass(frozen=True)
class Tuner:
    """One line of the page; of one that is refused, the reason is what the error says."""

    method: str
    trains: str
    reason: str = ""
    options: dict[str, Any] = field(default_factory=dict)
    tolerance: float = 1e-4  # relative, of a loss in float32

    def __str__(self) -> str:
        return " ".join([self.method, *(f"{option}={value}" for option, value in self.options.items())])

    def line(self) -> str:
        """As on the command line: `method.lora.use_dora=true`."""
        words = [f"`method.{self.method}.{o}={written(value)}`" for o, value in self.options.items()]
        return f"| `{self.method}` | {' '.join(words)} | {self.trains} | {self.reason} |"


def written(value: Any) -> str:
    """A value in Hydra's grammar."""
    if isinstance(value, dict):
        return "{" + ",".join(f"{name}:{written(part)}" for name, part in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ",".join(written(part) for part in value) + "]"
    return str(value).lower() if isinstance(value, bool) else str(value)


PROMPT = "it learns a prompt, and adapts no linear layers"
FUNCTION = "Computes in an `autograd.Function` of its own, without the `setup_context` that vmap needs"
IN_PLACE = "Writes its numbers in place into a matrix of zeros, which vmap refuses (`index_put_`)"
SPARSE = "Computes with sparse tensors, for which vmap has no rules"
RANDOM_IF = "`if torch.rand(1) > module_dropout` in every training pass, even without dropout"

TUNERS = [
    Tuner("lora", PACKS),
    Tuner("adalora", NOT, "its ranks are reallocated by calls that a training loop of its own must make"),
    Tuner("adamss", PACKS, "Without `use_asa`, which needs calls that a training loop of its own must make"),
    Tuner("adaption_prompt", NOT, "it adds prompt tokens to the attention of Llama-like models"),
    Tuner("beft", PACKS, "Trains what is added to the output: weight distances are 0"),
    Tuner("boft", PACKS),
    Tuner("c3a", LOOPS, FUNCTION, {"block_size": 64}),
    Tuner("cartridge", NOT, PROMPT),
    Tuner("cpt", NOT, PROMPT),
    # Made to compute in float64 throughout, its losses agree to 1e-11.
    Tuner("deft", PACKS, "First gradients nearly cancel; Adam amplifies their rounding", tolerance=5e-3),
    Tuner("delora", PACKS),
    Tuner("fourierft", LOOPS, IN_PLACE),
    Tuner("frod", LOOPS, SPARSE),
    Tuner("glora", PACKS),
    Tuner("gralora", PACKS),
    Tuner("hira", PACKS),
    Tuner("hra", PACKS),
    Tuner("ia3", PACKS, "Scales outputs; inputs of the layers in `method.ia3.feedforward_modules=[fc2]`"),
    Tuner("lily", PACKS, "Not linear in its input: distances are those of its image of the identity"),
    Tuner("ln_tuning", PACKS, "Trains whatever it is pointed at in full: here whole linear layers"),
    Tuner("loha", LOOPS, RANDOM_IF + "; and an `autograd.Function` without `setup_context`"),
    Tuner("lokr", LOOPS, RANDOM_IF),
    Tuner("miss", PACKS),
    Tuner("multitask_prompt_tuning", NOT, PROMPT),
    Tuner("peft:oft", LOOPS, IN_PLACE),
    Tuner("osf", PACKS, "Its hooks on gradients are applied to each run's"),
    Tuner("p_tuning", NOT, PROMPT),
    Tuner("peanut", PACKS),
    Tuner("poly", NOT, "it needs the number of each example's task (task_ids) as an input of the model"),
    Tuner("prefix_tuning", NOT, PROMPT),
    Tuner("prompt_tuning", NOT, PROMPT),
    Tuner("psoft", PACKS),
    Tuner("pvera", PACKS, "Draws at random in every training pass"),
    Tuner("randlora", LOOPS, FUNCTION),
    Tuner("road", PACKS),
    Tuner("shadow", NOT, "it runs a second network beside the blocks of a decoder"),
    Tuner("shira", LOOPS, SPARSE),
    Tuner("supertuning", PACKS),
    Tuner("tinylora", PACKS),
    Tuner("trainable_tokens", NOT, "it trains rows of an embedding, not linear layers"),
    Tuner("unilora", PACKS, "One vector, shared by all layers, is trained"),
    Tuner("vblora", LOOPS, "`if` its logits are infinite, in every training pass", {"vector_length": 64}),
    Tuner("vera", PACKS),
    Tuner("waveft", LOOPS, IN_PLACE),
    Tuner("xlora", NOT, "it mixes LoRA adapters that were trained before"),
]

VARIANTS = [
    Tuner("lora", PACKS, "DoRA", {"use_dora": True}),
    Tuner("lora", PACKS, "rsLoRA", {"use_rslora": True}),
    Tuner("lora", NOT, "QALoRA: it acts on GPTQ-quantised layers", {"use_qalora": True}),
    Tuner("lora", LOOPS, "VeLoRA: `if` a norm is zero", {"velora_config": {}}),
    Tuner("lora", PACKS, "PiSSA: the base layer keeps the rest", {"init_lora_weights": "pissa"}),
    Tuner("lora", PACKS, "Each seed has a rest of its own", {"init_lora_weights": "pissa_niter_4"}),
    Tuner("lora", PACKS, "OLoRA: the base layer keeps the rest", {"init_lora_weights": "olora"}),
    Tuner("lora", PACKS, "MiCA", {"init_lora_weights": "mica"}),
    Tuner("lora", PACKS, "", {"init_lora_weights": "gaussian"}),
    Tuner("lora", PACKS, "", {"init_lora_weights": "orthogonal"}),
    Tuner("lora", NOT, "it needs data before training", {"init_lora_weights": "corda"}),
    Tuner("lora", NOT, "needs data before training, and is plain LoRA without", {"init_lora_weights": "eva"}),
    Tuner("lora", NOT, "needs gradients before training", {"init_lora_weights": "lora_ga"}),
    Tuner("lora", NOT, "`loftq_config` must be specified", {"init_lora_weights": "loftq"}),
    Tuner("lora", PACKS, "", {"lora_bias": True}),
    Tuner("lora", PACKS, "The layers' own biases train too", {"bias": "lora_only"}),
    Tuner("lora", NOT, "trains tensors outside the modules that it adapts", {"bias": "all"}),
    Tuner("lora", PACKS, "Draws in every training pass, as any dropout does", {"lora_dropout": 0.1}),
    Tuner("lora", NOT, "KaSA: it needs a loss of its own", {"kasa_config": {}}),
    Tuner("lora", NOT, "MonteCLoRA: it needs a loss of its own", {"monteclora_config": {}}),
    Tuner("lora", NOT, "it mixes LoRA adapters that were trained before", {"arrow_config": {}}),
    Tuner("lora", NOT, "it starts at tokens of a language model", {"alora_invocation_tokens": [1]}),
    Tuner("adamss", NOT, "it needs calls that a training loop of its own must make", {"use_asa": True}),
    Tuner("glora", PACKS, "", {"config_A_B": "vector"}),
    Tuner("ia3", PACKS, "As in the paper", {"feedforward_modules": ["fc2"]}),
    Tuner("ln_tuning", PACKS, "The layer norms", {"target_modules": ["layernorm_before", "layernorm_after"]}),
    Tuner("tinylora", PACKS, "One vector, shared by all layers", {"weight_tying": 1.0}),
]

TEXT = """\
# The tuners of peft

Every tuner of `peft` 0.21.2, tried on the miniature task (a ViT of width 64, adapted in 18 linear layers).
`tests/methods/test_tuners.py` tries every line again, and writes this page. A name is what stands behind
`method=`.

*In packs*: many runs at once. *In packs, in loops*: too, over one forward of the base model, but the adapted
layers are computed for one run after the other, for the reason given; the probe finds out, and there is
nothing to set. Both give the losses of an ordinary loop over `get_peft_model`. *No*: the sweep says so in one
line before anything is trained. An option is in the table where the default does not fit these layers, whose
widths are 64 and 256.

| method | options here | trains | |
|---|---|---|---|
{tuners}

Variants and options that decide about it:

| method | option | trains | |
|---|---|---|---|
{variants}

Weight distances and hyperspherical energy are those of a layer's image of the identity, without dropout:
right for every method that is linear in its input, which is all but `lily`. A tensor that several layers
share (`lily`, `tinylora`, `unilora`, `vblora`) is one trained tensor, and counts once.
"""


def page() -> str:
    tables = {"tuners": TUNERS, "variants": VARIANTS}
    lines = {name: "\n".join(tuner.line() for tuner in table) for name, table in tables.items()}
    return TEXT.format(**lines)


def names_in_peft() -> list[str]:
    """The tuners of the installed `peft`, without those registered here, as `method=` takes them."""
    types = [t for t, c in PEFT_TYPE_TO_CONFIG_MAPPING.items() if c.__module__.startswith("peft.")]
    keys = [str(getattr(t, "value", t)).lower() for t in types]
    return [f"peft:{key}" if key in methods.own_names() else key for key in keys]


@pytest.fixture(scope="module")
def task() -> Task:
    return tasks.load(load("lr_grid", ["task.steps=6", "task.warmup_steps=2"]).task)


@pytest.fixture(scope="module")
def base(task: Task) -> nn.Module:
    return task.model()


def config_of(tuner: Tuner, task: Task) -> Any:
    return methods.config(tuner.method, tuner.options, task.settings.target_modules)


def plain_losses(tuner: Tuner, task: Task, base: nn.Module, run: Hyperparameters) -> tuple[list[float], int]:
    """The same run by an ordinary loop that knows nothing of packs; and how many numbers it trains."""
    torch.manual_seed(run.seed)
    model = get_peft_model(copy.deepcopy(base), config_of(tuner, task))
    owners, streams = list(find_owners(model).values()), RunStreams([run.seed], torch.device("cpu"))

    def losses_of(batch: Batch) -> torch.Tensor:
        with adapted_layers_noted(owners):
            return task.losses(task.forward(model.base_model.model, batch), batch)

    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trained, weight_decay=run.settings.weight_decay)
    model.train()
    losses = []
    for step in range(STEPS):
        share = learning_rate_share(step, task.settings.steps, task.settings.warmup_steps)
        optimizer.param_groups[0]["lr"] = run.lr * share
        batch = task.batch(run.seed, step)
        loss = streams.call("training", [step, 0], functools.partial(losses_of, batch)).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses, sum(p.numel() for p in trained)


def harness_losses(
    tuner: Tuner, task: Task, model: nn.Module, runs: list[Hyperparameters], mapping: RunMapping
) -> tuple[torch.Tensor, int]:
    """(steps, runs), and how many numbers a run trains; distances are measured too, and must be finite."""
    training = Training(task, model, config_of(tuner, task), runs, mapping)
    losses = [training.train_step().double() for _ in range(STEPS)]
    for row in training.geometry.measure(training.flat()):
        assert all(math.isfinite(layer.weight_distance) for layer in row)
    trained = training.packed.parameter_count
    training.close()
    return torch.stack(losses), trained


def check(tuner: Tuner, task: Task, base: nn.Module) -> None:
    model = copy.deepcopy(base)
    if tuner.trains == NOT:
        with pytest.raises((UsageError, ValueError)) as error:
            Training(task, model, config_of(tuner, task), RUNS[:1]).train_step()
        assert tuner.reason.split(": ")[-1] in str(error.value) and "\n" not in str(error.value)
        return
    by_layers = why_unpackable(task, model, config_of(tuner, task))
    mapping = RunMapping.LAYERS
    if tuner.trains == PACKS:
        assert by_layers == ""
    else:
        assert any(symptom in by_layers and word in tuner.reason for word, symptom in SYMPTOMS.items())
        mapping = RunMapping.LOOPS
        assert find_mapping(task, model, config_of(tuner, task)) == (mapping, "")
    losses, trained = harness_losses(tuner, task, model, RUNS, mapping)
    for index, run in enumerate(RUNS):
        expected, numbers = plain_losses(tuner, task, base, run)
        got = losses[:, index]
        assert torch.isfinite(got).all() and trained == numbers
        torch.testing.assert_close(got, torch.tensor(expected).double(), rtol=tuner.tolerance, atol=1e-5)
    before, after = base.state_dict(), model.state_dict()
    assert before.keys() == after.keys() and all(torch.equal(before[name], after[name]) for name in before)


@pytest.mark.parametrize("method", sorted({*names_in_peft(), *(tuner.method for tuner in TUNERS)}))
def test_every_tuner_does_what_the_page_says(method: str, task: Task, base: nn.Module) -> None:
    assert method in names_in_peft(), "not in the installed peft: take it off the table"
    lines = [tuner for tuner in TUNERS if tuner.method == method]
    assert len(lines) == 1, "new in peft: try it out, add its line to TUNERS, write the page anew"
    check(lines[0], task, base)


@pytest.mark.parametrize("tuner", VARIANTS, ids=str)
def test_every_variant_does_what_the_page_says(tuner: Tuner, task: Task, base: nn.Module) -> None:
    check(tuner, task, base)


def test_the_page_is_this_table_and_its_options_can_be_given() -> None:
    assert PAGE.read_text() == page()
    given = {(t.method, option): value for t in (*TUNERS, *VARIANTS) for option, value in t.options.items()}
    texts = [f"method.{method}.{option}={written(value)}" for (method, option), value in given.items()]
    assert all(f"`{text}`" in page() for text in texts)
    train = [t for t in (*TUNERS, *VARIANTS) if t.trains != NOT]
    for tuner in train:
        texts = [
            f"method.{tuner.method}.{option}={written(value)}" for option, value in tuner.options.items()
        ]
        settings = load("lr_grid", [f"method={tuner.method}", *texts])
        assert tuner.options.items() <= settings.method.get(tuner.method, {}).items()


@pytest.mark.parametrize("init", ["pissa", "pissa_niter_4", "olora"])
def test_distances_are_from_the_weights_as_they_were(init: str, task: Task, base: nn.Module) -> None:
    """These initialisations move a part of the base weights into the adapter: nothing has changed yet."""
    config = methods.config("lora", {"init_lora_weights": init, "r": 4}, task.settings.target_modules)
    training = Training(task, copy.deepcopy(base), config, RUNS)
    layers = [layer for of_run in training.measure().layers for layer in of_run]
    training.close()
    assert len(layers) == 36 and max(layer.relative_distance for layer in layers) < 1e-5


if __name__ == "__main__":
    PAGE.write_text(page())
