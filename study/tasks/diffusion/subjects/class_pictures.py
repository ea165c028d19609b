"""Pictures of a class that the untouched model draws: what it must not forget while it learns a subject.

They are drawn once for all studies of this user on this machine, and kept as latents: one file for a model, a
prompt, a number and a way of sampling. A file that was torn is drawn again.
"""

from __future__ import annotations

import hashlib
import os
import platform
from collections.abc import Callable
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

FIRST_NOISE = 2**40
"""Above the numbers of examples, whose noise is another."""


class ClassPictures:
    """Of any class, by its prompt.

    Attributes:
        count: how many of a class.
    """

    def __init__(self, pipeline: Pipeline, count: int, steps: int, guidance: float, at_a_time: int) -> None:
        self._pipeline, self.count = pipeline, count
        self._steps, self._guidance, self._at_a_time = steps, guidance, at_a_time
        self._known: dict[str, Tensor] = {}
        self._made_by = ""

    def of(self, prompt: str) -> Tensor:
        """Latents, (count, channels, height, width), float32 on the CPU."""
        if prompt not in self._known:
            self._known[prompt] = self._kept(prompt)
        return self._known[prompt]

    def _kept(self, prompt: str) -> Tensor:
        model = CaptionedUNet(self._pipeline.unet(), self._pipeline.text_encoder())
        if not self._made_by:
            self._made_by = _digest_of_weights(model)
        what = [self._made_by, prompt, self.count, self._steps, self._guidance, torch.__version__, _machine()]
        name = hashlib.sha256("\n".join(map(str, what)).encode()).hexdigest()[:16]
        file = cache_folder() / "class_pictures" / f"{name}.safetensors"
        return _cached(file, lambda: self._drawn(model, prompt))

    @torch.no_grad()
    def _drawn(self, model: CaptionedUNet, prompt: str) -> Tensor:
        pipeline, where = self._pipeline, device()
        model.to(where)
        side = pipeline.size // pipeline.latents.factor
        ids = pipeline.token_ids([prompt, ""]).to(where)
        drawn = []
        for numbers in torch.arange(self.count).split(self._at_a_time):
            shape = (pipeline.latents.channels, side, side)
            noise = torch.stack([noise_of(FIRST_NOISE + number, shape) for number in numbers.tolist()]).to(
                where
            )
            both = (ids[:1].expand(len(noise), -1), ids[1:].expand(len(noise), -1))
            latents = sample(model, dpm_solver(pipeline.scheduler), noise, both, self._steps, self._guidance)
            drawn.append(pipeline.latents.encode(pipeline.latents.decode(latents.float())).cpu())
        return torch.cat(drawn)


def _cached(file: Path, make: Callable[[], Tensor]) -> Tensor:
    """What the file holds; if it is not there or torn, what is made now, which is written for the next."""
    try:
        with safe_open(file, "pt") as content:
            latents = content.get_tensor("latents")
            if (content.metadata() or {}).get("digest") == _digest(latents):
                return latents
    except (OSError, SafetensorError):
        pass
    made = make().contiguous()
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        beside = file.with_name(f".{file.name}.{os.getpid()}")
        save_file({"latents": made}, beside, metadata={"digest": _digest(made)})
        os.replace(beside, file)
    except OSError:  # the disk is full or cannot be written: the next worker draws them again
        pass
    return made


def _digest(latents: Tensor) -> str:
    return hashlib.sha256(latents.numpy().tobytes()).hexdigest()


def _digest_of_weights(model: torch.nn.Module) -> str:
    hashed = hashlib.sha256()
    for name, weight in model.state_dict().items():
        hashed.update(name.encode())
        hashed.update(weight.contiguous().numpy())
    return hashed.hexdigest()


def _machine() -> str:
    """What decides the last bits of what is drawn here."""
    if device().type == "cuda":
        return torch.cuda.get_device_name()
    return f"{platform.machine()} {torch.backends.cpu.get_cpu_capability()}"
