"""Networks that judge portraits: which part each pixel shows, how a person looks, and who it is.

They play UperNet, CLIP and DINO of the paper's benchmarks. They were trained on composed portraits of
everything that there is, new sprites and colours too, upright.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple, TypeVar

import torch
import torch.nn.functional as F
from diffusers import ConfigMixin, ModelMixin
from diffusers.configuration_utils import register_to_config
from torch import Tensor, nn

from study.tasks.miniature.portraits import HIDDEN, LOOKS, PARTS, Portraits
from study.tasks.miniature.portraits.attributes import NONE
from study.tasks.miniature.portraits.looks import sprite_names

STYLES = {"hair style": ("none", *sprite_names("hair")), "clothing": sprite_names("clothing")}
"""What an identity has beside its looks: its sprites."""

IDENTITY = ("skin", "hair style", "hair color", "clothing", "shirt color", "beard")
"""What stays when a person gets another expression, glasses, hat or background."""

CLASSES = {**LOOKS, **STYLES}

Kind = TypeVar("Kind", bound=ModelMixin)


class Segmenter(ModelMixin, ConfigMixin):
    """Pictures, (rows, 3, 16, 16), to logits of PARTS, (rows, parts, 16, 16)."""

    @register_to_config
    def __init__(self, width: int = 24) -> None:
        super().__init__()
        wide, wider = 2 * width, 3 * width
        self.fine = nn.Sequential(_convolution(3, width), _convolution(width, width))
        self.coarse = nn.Sequential(_convolution(width, wide, stride=2), _convolution(wide, wide))
        self.coarsest = nn.Sequential(
            _convolution(wide, wider, stride=2), _convolution(wider, wider), _convolution(wider, wider)
        )
        self.to_coarse = _convolution(wider + wide, wide)
        self.to_fine = nn.Sequential(_convolution(wide + width, wide), _convolution(wide, width))
        self.logits = nn.Conv2d(width, len(PARTS), 1)

    def forward(self, pictures: Tensor) -> Tensor:
        fine = self.fine(pictures)
        coarse = self.coarse(fine)
        coarsest = F.interpolate(self.coarsest(coarse), scale_factor=2.0)
        coarse = F.interpolate(self.to_coarse(torch.cat([coarsest, coarse], dim=1)), scale_factor=2.0)
        return self.logits(self.to_fine(torch.cat([coarse, fine], dim=1)))


class Judgement(NamedTuple):
    """What the attribute network says.

    Attributes:
        features: (rows, 96), for Frechet distances.
        identity: (rows, 64), for the similarity of persons.
        logits: of each of CLASSES, (rows, its values).
    """

    features: Tensor
    identity: Tensor
    logits: dict[str, Tensor]


class AttributeNetwork(ModelMixin, ConfigMixin):
    """Pictures, (rows, 3, 16, 16), to a Judgement."""

    @register_to_config
    def __init__(self, width: int = 32, features: int = 96, identity: int = 64) -> None:
        super().__init__()
        self.body = nn.Sequential(
            _convolution(3, width), _convolution(width, width), _convolution(width, 2 * width, stride=2),
            _convolution(2 * width, 2 * width), _convolution(2 * width, 2 * width, stride=2), nn.Flatten(),
            nn.Linear(2 * width * 16, features), nn.SiLU(),
        )  # fmt: skip
        self.to_identity = nn.Linear(features, identity)
        self.heads = nn.ModuleDict(
            {
                name.replace(" ", "_"): nn.Linear(identity if name in IDENTITY else features, len(values))
                for name, values in CLASSES.items()
            }
        )

    def forward(self, pictures: Tensor) -> Judgement:
        features = self.body(pictures)
        identity = self.to_identity(features)
        logits = {
            name: self.heads[name.replace(" ", "_")](identity if name in IDENTITY else features)
            for name in CLASSES
        }
        return Judgement(features, identity, logits)


def frozen(kind: type[Kind], folder: Path) -> Kind:
    """A network of a folder, in float32, for judging alone."""
    return kind.from_pretrained(folder, dtype=torch.float32).eval().requires_grad_(False)


def segmenter(checkpoint: Path) -> Segmenter:
    """The frozen segmenter of a base model's folder, in float32."""
    return frozen(Segmenter, checkpoint / "segmenter")


def attribute_network(checkpoint: Path) -> AttributeNetwork:
    """The frozen attribute and identity network of a base model's folder, in float32."""
    return frozen(AttributeNetwork, checkpoint / "attributes")


def targets(portraits: Portraits) -> dict[str, Tensor]:
    """The right class of each of CLASSES, or HIDDEN, (rows,) each."""
    looks = dict(zip(LOOKS, portraits.looks.unbind(1), strict=True))
    style = torch.from_numpy(portraits.attributes.hair) - NONE
    return {
        **looks,
        "hair style": style.where(looks["hair"] != HIDDEN, torch.tensor(HIDDEN)),
        "clothing": torch.from_numpy(portraits.attributes.clothing),
    }


def right(logits: dict[str, Tensor], portraits: Portraits) -> dict[str, float]:
    """Of each class in `logits`, the share of the portraits that show it whose value is found."""
    shares = {}
    for name, target in targets(portraits).items():
        if name in logits:
            shown = target != HIDDEN
            shares[name] = (logits[name].argmax(1) == target)[shown].double().mean().item()
    return shares


def _convolution(before: int, after: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(before, after, 3, stride=stride, padding=1), nn.GroupNorm(8, after), nn.SiLU()
    )
