"""The judge at the paper's scale: DINO and CLIP of transformers, LPIPS of torchmetrics."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import AutoModel, AutoTokenizer, CLIPModel

from study.errors import UsageError, first_line
from study.settings import TaskSettings
from study.tasks import SPLITS
from study.tasks.diffusion.placed import Placed
from study.tasks.diffusion.segmenter_judge import expanded, mean_and_std
from study.tasks.diffusion.subjects import Judged, mean_but
from study.tasks.diffusion.subjects.folder import SubjectFolder
from study.tasks.loading.pretrained import load_config, load_image_processor, load_pretrained

DINO, CLIP, LPIPS = "task.dino", "task.clip_model", "task.lpips"
BILINEAR = 2
"""Of Pillow's ways to scale a picture; the others are taken as bicubic."""


class Known(NamedTuple):
    """What pictures are compared with.

    Attributes:
        dino, clip: features, of length 1, of the pictures learnt from, (subjects, most of one, width).
        there: which of these a subject has, (subjects, most of one).
        texts: CLIP's of what each example's prompt says, of length 1, (examples, width).
        subjects: each example's, (examples,); 0 where it has none.
    """

    dino: Tensor
    clip: Tensor
    there: Tensor
    texts: Tensor
    subjects: Tensor


class ImageJudge:
    """Subject fidelity is DINO's similarity to the real pictures, prompt fidelity CLIP's to the prompt.

    What a prompt says is given to CLIP without the subject's word. Further scores: CLIP's similarity to the
    real pictures and, if its weights are named, LPIPS to them, which is no measure of quality.
    """

    has_truth = False

    def __init__(self, settings: TaskSettings, data: SubjectFolder, size: int) -> None:
        """Args: size: height and width of the pictures.

        Raises:
            UsageError: if a judge is not named, cannot be loaded, or is of another kind.
        """
        self._data = data
        self._dino, self._prepare_dino = _dino(_named(settings.dino, DINO, "facebook/dino-vits16"))
        clip = _named(settings.clip_model, CLIP, "openai/clip-vit-large-patch14")
        self._clip, self._tokenizer, self._prepare_clip = _clip(clip)
        self._lpips = Placed(_lpips(expanded(settings.lpips))) if settings.lpips else None
        self.further: Sequence[str] = ("clip_image_similarity", *(["lpips"] if self._lpips else []))
        self._known: dict[torch.device, Known] = {}
        self._check(size)

    def _check(self, size: int) -> None:
        pictures = torch.zeros(1, 3, size, size)
        for key, look in ((DINO, self._see_dino), (CLIP, self._see_clip)):
            try:
                with torch.no_grad():
                    look(pictures)
            except Exception as error:  # each network says it in a way of its own
                raise UsageError(
                    f"{key}: takes no pictures as its processor makes them: {first_line(error)}"
                ) from None

    def models(self, device: torch.device) -> list[nn.Module]:
        placed = [self._dino, self._clip, *([self._lpips] if self._lpips else [])]
        return [each.on(device) for each in placed]

    def judge(self, pictures: Tensor, numbers: Tensor, itself: Tensor | None = None) -> Judged:
        known = self._compared_with(pictures.device)
        subjects, texts = known.subjects[numbers], known.texts[numbers]
        dino, clip = self._see_dino(pictures), self._see_clip(pictures)
        there = known.there[subjects]
        alike = [
            mean_but((known_of[subjects] @ features.unsqueeze(2)).squeeze(2), there, itself)
            for known_of, features in ((known.dino, dino), (known.clip, clip))
        ]
        one = torch.ones(len(pictures), device=pictures.device)
        further = [alike[1], *([self._lpips_of(pictures, subjects, itself)] if self._lpips else [])]
        fits = (clip * texts).sum(1)
        return Judged(alike[0], one, fits, one, torch.stack(further, 1), dino)

    @torch.no_grad()
    def _compared_with(self, device: torch.device) -> Known:
        if device not in self._known:
            self._known[device] = self._compute_known(device)
        return self._known[device]

    def _compute_known(self, device: torch.device) -> Known:
        data = self._data
        examples = [example for split in SPLITS for example in data.examples[split]]
        subjects = torch.tensor([example.subject or 0 for example in examples], device=device)
        most = max(map(len, data.trained_on))
        there = torch.tensor([[n < len(of) for n in range(most)] for of in data.trained_on], device=device)
        seen = []
        for look in (self._see_dino, self._see_clip):
            padded = []
            for of in data.trained_on:
                features = look(data.pictures(of).to(device))
                padded.append(F.pad(features, (0, 0, 0, most - len(of))))
            seen.append(torch.stack(padded))
        texts = [text for split in SPLITS for text in data.descriptions[split]]
        return Known(seen[0], seen[1], there, self._read(texts, device), subjects)

    def _see_dino(self, pictures: Tensor) -> Tensor:
        """(rows, width), of length 1."""
        outputs = self._dino.on(pictures.device)(pixel_values=self._prepare_dino(pictures))
        return F.normalize(outputs.last_hidden_state[:, 0], dim=1)

    def _see_clip(self, pictures: Tensor) -> Tensor:
        model = self._clip.on(pictures.device)
        pooled = model.vision_model(pixel_values=self._prepare_clip(pictures)).pooler_output
        return F.normalize(model.visual_projection(pooled), dim=1)

    def _read(self, texts: Sequence[str], device: torch.device) -> Tensor:
        model, different = self._clip.on(device), list(dict.fromkeys(texts))
        found: dict[str, Tensor] = {}
        for start in range(0, len(different), 64):
            some = different[start : start + 64]
            tokens = self._tokenizer(some, padding=True, truncation=True, return_tensors="pt").to(device)
            pooled = model.text_model(**tokens).pooler_output
            found |= dict(zip(some, F.normalize(model.text_projection(pooled), dim=1), strict=True))
        return torch.stack([found[text] for text in texts])

    def _lpips_of(self, pictures: Tensor, subjects: Tensor, itself: Tensor | None) -> Tensor:
        """Mean over the real pictures of each one's subject, (rows,)."""
        if pictures.is_meta:
            return pictures.new_zeros(len(pictures))
        assert self._lpips is not None
        network, found = self._lpips.on(pictures.device), []
        left_out = [-1] * len(pictures) if itself is None else itself.tolist()
        for picture, subject, out in zip(pictures, subjects.tolist(), left_out, strict=True):
            learnt = self._data.trained_on[subject]
            others = [n for place, n in enumerate(learnt) if place != out] or learnt
            real = self._data.pictures(others).to(pictures.device)
            found.append(network(picture.expand_as(real), real).mean())
        return torch.stack(found)


def _named(value: str | None, key: str, such_as: str) -> str:
    if not value:
        raise UsageError(f"{key}: name one, of transformers' hub or a folder, such as {such_as}")
    return expanded(value)


class _Preparation:
    """Pictures in [-1, 1] as a network takes them, by its image processor."""

    def __init__(self, processor: Any, sides: int) -> None:
        """Args: sides: what the network takes where the processor does not say."""
        given = dict(processor.size or {})
        cuts = getattr(processor, "do_center_crop", False) and getattr(processor, "crop_size", None)
        self._scaled: int = given.get("shortest_edge") or given.get("height") or sides
        self._cut: int = (dict(cuts) if cuts else {}).get("height") or self._scaled
        self._how = "bilinear" if getattr(processor, "resample", None) == BILINEAR else "bicubic"
        self._mean, self._std = mean_and_std(processor)

    def __call__(self, pictures: Tensor) -> Tensor:
        shares = pictures / 2 + 0.5
        size = (self._scaled, self._scaled)
        scaled = F.interpolate(shares, size, mode=self._how, antialias=True).clamp(0, 1)
        edge = max(0, (self._scaled - self._cut) // 2)
        cut = scaled[:, :, edge : edge + self._cut, edge : edge + self._cut]
        return (cut - self._mean.to(pictures)) / self._std.to(pictures)


def _dino(path: str) -> tuple[Placed, _Preparation]:
    config = load_config(path, DINO)
    processor = load_image_processor(path, DINO)
    model = load_pretrained(AutoModel, path, ["pooler"], DINO).eval()
    return Placed(model), _Preparation(processor, getattr(config, "image_size", 224))


def _clip(path: str) -> tuple[Placed, Any, _Preparation]:
    config = load_config(path, CLIP)
    if config.model_type != "clip":
        raise UsageError(f"{CLIP}={path}: a {config.model_type}; give a CLIP model")
    processor = load_image_processor(path, CLIP)
    try:
        tokenizer = AutoTokenizer.from_pretrained(path)
    except Exception as error:
        raise UsageError(f"{CLIP}={path}: its tokenizer cannot be loaded: {first_line(error)}") from None
    model = load_pretrained(CLIPModel, path, [], CLIP).eval()
    return Placed(model), tokenizer, _Preparation(processor, config.vision_config.image_size)


def _lpips(file: str) -> nn.Module:
    """torchmetrics' LPIPS with AlexNet, whose weights are torchvision's file."""
    name = "alexnet-owt-7be5be79.pth"
    if not Path(file).is_file():
        raise UsageError(f"{LPIPS}={file}: no such file; give torchvision's {name} (docs/tasks.md)")
    from torchmetrics.functional.image.lpips import _LPIPS

    try:
        network = _LPIPS(net="alex", pnet_rand=True)  # the weights of its own layers come with torchmetrics
        weights: Mapping[str, Tensor] = torch.load(file, map_location="cpu", weights_only=True)
        layers = {name: layer for part in network.net.children() for name, layer in part.named_children()}
        for number, layer in layers.items():
            of_layer = {n: weights[f"features.{number}.{n}"] for n in layer.state_dict()}
            layer.load_state_dict(of_layer)
    except ModuleNotFoundError:
        raise UsageError(f"{LPIPS} needs torchvision: pip install torchvision") from None
    except Exception as error:
        raise UsageError(
            f"{LPIPS}={file} holds no weights of AlexNet ({name}): {first_line(error)}"
        ) from None
    return network.eval().requires_grad_(False)
