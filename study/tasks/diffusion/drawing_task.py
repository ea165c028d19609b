"""What the tasks share in which a diffusion model draws pictures that are judged."""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from study.errors import UsageError
from study.naming import is_shipped
from study.settings import TaskSettings
from study.tasks import SPLITS, Batch, Task, base_model_path
from study.tasks.diffusion.captioned_unet import CaptionedUNet
from study.tasks.diffusion.pipeline import load_pipeline
from study.tasks.diffusion.sampling import Sampler, sample
from study.tasks.loading.pretrained import builds_skeletons


class DrawingTask(Task):
    """A pipeline, the loss of its UNet, sampling with guidance, and rows that have a number over all splits.

    Attributes:
        paper_steps, paper_guidance: of sampling, where the settings do not say.
    """

    generates = True
    finetuned_parts = ("unet",)
    paper_steps: ClassVar[int]
    paper_guidance: ClassVar[float]

    def __init__(self, settings: TaskSettings) -> None:
        super().__init__(settings)
        self.pipeline = load_pipeline(base_model_path(settings))
        times = self.pipeline.scheduler.config.num_train_timesteps
        if self.sampling_steps > times:
            raise UsageError(
                f"task.sampling_steps={self.sampling_steps}: the model knows {times} times at most"
            )
        self._empty = self.pipeline.token_ids([""])

    @property
    def sampling_steps(self) -> int:
        return self.settings.sampling_steps or self.paper_steps

    @property
    def guidance(self) -> float:
        return self.paper_guidance if self.settings.guidance is None else self.settings.guidance

    def refuse_shipped_model(self) -> None:
        """Raises UsageError if the data is not the miniature's, but the model is."""
        if is_shipped(self.settings.model):
            raise UsageError(
                f"task.model=shipped: it knows portraits of 16x16 pixels, not task.data={self.settings.data};"
                " give task.model=PATH, a pipeline such as Stable Diffusion's"
            )

    def number_rows(self) -> None:
        """Gives the rows of all splits one count, from the sizes of the splits."""
        first = [0, self.size("train"), self.size("train") + self.size("valid")]
        self.first_number = dict(zip(SPLITS, first, strict=True))

    def place_of(self, number: int) -> tuple[str, int]:
        """The split of a row, and its place there."""
        split = max((s for s in SPLITS if self.first_number[s] <= number), key=SPLITS.index)
        return split, number - self.first_number[split]

    def latents_of_skeletons(self, rows: int) -> Tensor | None:
        """Latents of so many pictures where only shapes matter; elsewhere None."""
        if not builds_skeletons():
            return None
        side = self.pipeline.size // self.pipeline.latents.factor
        return torch.zeros(rows, self.pipeline.latents.channels, side, side)

    def losses(self, outputs: Tensor, batch: Batch) -> Tensor:
        return F.mse_loss(outputs.float(), batch["target"], reduction="none").flatten(1).mean(1)

    def draw(
        self, model: nn.Module, sampler: Sampler, noise: Tensor, token_ids: Tensor, *beside: Tensor
    ) -> Tensor:
        """Latents, (rows, channels, height, width); arguments as of `sampling.sample`."""
        assert isinstance(model, CaptionedUNet)
        prompt = (token_ids, self._empty.to(token_ids.device).expand_as(token_ids))
        steps = 2 if builds_skeletons() else self.sampling_steps  # where memory is counted, more take no more
        return sample(model, sampler, noise, prompt, steps, self.guidance, *beside)

    def decoded(self, latents: Tensor) -> Tensor:
        """Pictures, (rows, 3, size, size) in [-1, 1]."""
        return self.pipeline.latents.decode(latents.float())

    def predictions(self, outputs: Tensor, batch: Batch) -> Tensor:
        """A judgement per row, `eval_batch_size` pictures at a time."""
        judgements = []
        for start in range(0, len(outputs), self.settings.eval_batch_size):
            rows = slice(start, start + self.settings.eval_batch_size)
            of_rows = {name: value[rows] for name, value in batch.items()}
            judgements.append(self.judgement(self.decoded(outputs[rows]), of_rows))
        return torch.cat(judgements)

    @abstractmethod
    def judgement(self, pictures: Tensor, batch: Batch) -> Tensor:
        """Of generated pictures, (rows, 3, size, size): (rows, ...)."""


def in_bytes(pictures: Tensor) -> Tensor:
    """From [0, 1] to uint8; black where not finite."""
    return (pictures.nan_to_num() * 255).round().clamp(0, 255).to(torch.uint8)
