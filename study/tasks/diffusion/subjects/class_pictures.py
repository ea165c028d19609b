"""Pictures of a class that the untouched model draws: what it must not forget while it learns a subject.

They are drawn once for all studies of this user, and kept as latents: one file for a model, a prompt, a
number and a way of sampling. Of two workers that draw at the same time, the first to end decides for both. A
file that was torn is drawn again.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Iterable
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from study.paths import cache_folder
from study.tasks.diffusion.captioned_unet import CaptionedUNet
from study.tasks.diffusion.pipeline import Pipeline
from study.tasks.diffusion.sampling import dpm_solver, noise_of, sample
from study.tasks.loading.device import device
from study.tasks.loading.fingerprint import checkpoint_fingerprint

FIRST_NOISE = 2**40
"""Above the numbers of examples, whose noise is another."""


class ClassPictures:
    """Of any class, one picture for each caption of a list, which may hold one more than once."""

    def __init__(self, pipeline: Pipeline, steps: int, guidance: float, at_a_time: int) -> None:
        """Args: at_a_time: pictures that are drawn together."""
        self._pipeline = pipeline
        self._steps, self._guidance, self._at_a_time = steps, guidance, at_a_time
        self._known: dict[tuple[str, ...], Tensor] = {}
        self._made_by = ""

    def of(self, captions: tuple[str, ...]) -> Tensor:
        """Latents, (captions, channels, height, width), float32 on the CPU."""
        if captions not in self._known:
            file = self._file(captions)
            latents = _read(file)
            self._known[captions] = _keep(file, self._drawn(captions)) if latents is None else latents
        return self._known[captions]

    def fingerprint(self, lists: Iterable[tuple[str, ...]]) -> str:
        """`latents-HOW:WHAT`, of how they are drawn and of what came out; `unknown` before they are."""
        files = [self._file(captions) for captions in lists]
        found = [_read(file) for file in files]
        if any(latents is None for latents in found):
            return "unknown"
        how = "".join(file.name for file in files)
        what = "".join(_digest(latents) for latents in found if latents is not None)
        short = [hashlib.sha256(text.encode()).hexdigest()[:16] for text in (how, what)]
        return f"latents-{short[0]}:{short[1]}"

    def _file(self, captions: tuple[str, ...]) -> Path:
        if not self._made_by:
            self._made_by = checkpoint_fingerprint(self._pipeline.path) or self._pipeline.path
        what = [self._made_by, self._steps, self._guidance, *captions]
        name = hashlib.sha256("\n".join(map(str, what)).encode()).hexdigest()[:16]
        return cache_folder() / "class_pictures" / f"{name}.safetensors"

    @torch.no_grad()
    def _drawn(self, captions: tuple[str, ...]) -> Tensor:
        pipeline, where = self._pipeline, device()
        model = CaptionedUNet(pipeline.unet(), pipeline.text_encoder()).to(where)
        side = pipeline.size // pipeline.latents.factor
        shape = (pipeline.latents.channels, side, side)
        sampler, drawn = dpm_solver(pipeline.scheduler), []
        for numbers in torch.arange(len(captions)).split(self._at_a_time):
            noise = torch.stack([noise_of(FIRST_NOISE + number, shape) for number in numbers.tolist()])
            ids = pipeline.token_ids([captions[number] for number in numbers.tolist()]).to(where)
            both = (ids, pipeline.token_ids([""]).to(where).expand_as(ids))
            latents = sample(model, sampler, noise.to(where), both, self._steps, self._guidance)
            drawn.append(pipeline.latents.encode(pipeline.latents.decode(latents.float())).cpu())
        return torch.cat(drawn)


def _read(file: Path) -> Tensor | None:
    """What the file holds; None if it is not there or torn."""
    try:
        with safe_open(file, "pt") as content:
            latents: Tensor = content.get_tensor("latents").clone()  # of its own, not of the file
            return latents if (content.metadata() or {}).get("digest") == _digest(latents) else None
    except (OSError, SafetensorError):
        return None


def _keep(file: Path, made: Tensor) -> Tensor:
    """Writes what was made, and gives what stands in the file then: another worker's, if that was first."""
    made, beside = made.contiguous(), file.with_name(f".{file.name}.{os.getpid()}")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        save_file({"latents": made}, beside, metadata={"digest": _digest(made)})
        if file.exists() and _read(file) is None:
            file.unlink(missing_ok=True)
        with contextlib.suppress(FileExistsError):
            os.link(beside, file)
    except OSError:  # the disk is full or cannot be written: the next worker draws them again
        return made
    finally:
        with contextlib.suppress(OSError):
            beside.unlink()
    first = _read(file)
    return made if first is None else first


def _digest(latents: Tensor) -> str:
    return hashlib.sha256(latents.numpy().tobytes()).hexdigest()
