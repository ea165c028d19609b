"""Controllable generation: a diffusion model learns to follow a map of classes (the paper's S2I, Figs 5-7).

Each run trains, beside its adapter, an encoder of control pictures (diffusers'
ControlNetConditioningEmbedding), whose output is added after the UNet's first input block. Scores are of
sampled pictures.

`mini`: pixel portraits, 16 x 16 pixels composed of sprites, no photographs. A small diffusion model that was
pretrained on upright ones is adapted to the same kind of portraits turned by 90 degrees and inverted, with
the map of their parts as control (`study.tasks.diffusion.portrait_scenes`). Its checkpoint ships.
`paper`: Stable Diffusion 1.5, or any pipeline of its parts, by hub name or folder, on a folder like ADE20K.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from study.errors import UsageError
from study.settings import TaskSettings
from study.tasks import SPLITS, Batch, Task, base_model_path, refuse_unused, shipped_checkpoint
from study.tasks.data_summary import DataSummary, Lengths
from study.tasks.diffusion import map_folder, portrait_scenes, scores
from study.tasks.diffusion.controlled_unet import ControlledUNet, paper_encoder
from study.tasks.diffusion.latent_cache import CachedLatents
from study.tasks.diffusion.latents import VaeLatents
from study.tasks.diffusion.map_scenes import MapScenes
from study.tasks.diffusion.pipeline import load_pipeline
from study.tasks.diffusion.sampling import drawn_noise, even_times, noise_of, noised, sample
from study.tasks.diffusion.scenes import UNLABELLED, Judge, Scenes, class_planes, control_pictures
from study.tasks.diffusion.segmenter_judge import SegmenterJudge
from study.tasks.loading.device import device
from study.tasks.loading.pretrained import builds_skeletons

PORTRAITS = (portrait_scenes.UPRIGHT, portrait_scenes.SHIFTED)
STEPS, GUIDANCE = 50, 9.0
"""Of the paper, where the settings do not say."""


class S2i(Task):
    """Metrics of a split:

    mean_iou: of the segmenter's map of the generated picture and the control map, mean over classes.
    pixel_accuracy, mean_accuracy: share of pixels with the control map's class; mean of that over classes.
    frechet_distance: between generated and real pictures, in features of the miniature's attribute network,
        or of Inception, where it is the FID.
    caption_accuracy: share of what captions say that the miniature's attribute network finds.
    real_mean_iou: of the real pictures in the place of the generated ones: what can be reached.

    Chance is to see the commonest class everywhere. The untouched model knows captions and no control maps.
    """

    metric = "mean_iou"
    lower_is_better = ("frechet_distance",)
    generates = True
    kept_pictures = 8
    finetuned_parts = ("unet",)

    def __init__(self, settings: TaskSettings) -> None:
        super().__init__(settings)
        refuse_unused(settings, ("kind", "subset", "text_column", "label_column", "max_length"), "task s2i")
        self.pipeline = load_pipeline(base_model_path(settings))
        times = self.pipeline.scheduler.config.num_train_timesteps
        if self._sampling_steps > times:
            raise UsageError(
                f"task.sampling_steps={self._sampling_steps}: the model knows {times} times at most"
            )
        self._composed = settings.data in PORTRAITS
        factor = self.pipeline.latents.factor
        self.encoder = portrait_scenes.ENCODER if self._composed else paper_encoder(factor)
        self.head_modules = self.encoder.layers
        self.splits: dict[str, Scenes]
        self.judge: Judge
        self.looks: dict[str, Tensor] = {}
        self.notes: tuple[str, ...] = ()
        self._cached: CachedLatents | None = None
        if self._composed:
            refuse_unused(settings, ("segmenter", "inception"), f"the miniature's data, {settings.data}")
            scenes = portrait_scenes.portrait_scenes(settings.data)
            self.looks = {split: part.looks for split, part in scenes.items()}
            self.splits = dict(scenes)
            self.judge = portrait_scenes.PortraitJudge(shipped_checkpoint(settings.name), settings.data)
        elif settings.model == "shipped":
            raise UsageError(
                f"task.model=shipped: it knows portraits of 16x16 pixels, not task.data={settings.data};"
                " give task.model=PATH, a pipeline such as Stable Diffusion's"
            )
        else:
            self.judge = judge = SegmenterJudge(settings, self.pipeline.size)
            folder = map_folder.load(settings.data, self.pipeline.size, judge.numbering)
            self.splits, self.notes = dict(folder.splits), folder.notes
            if isinstance(latents := self.pipeline.latents, VaeLatents):
                self._cached = CachedLatents(
                    latents, list(folder.splits.values()), self.pipeline.size, settings
                )
                self.notes = (*self.notes, self._cached.note)
        self._token_ids = {s: self.pipeline.token_ids(list(part.captions)) for s, part in self.splits.items()}
        self._empty = self.pipeline.token_ids([""])
        first = [0, self.size("train"), self.size("train") + self.size("valid")]
        self._first = dict(zip(SPLITS, first, strict=True))
        self._latents: dict[int, Tensor] = {}
        self._real: dict[int, Tensor] = {}
        self.chance = self._commonest_class_everywhere()

    @property
    def _sampling_steps(self) -> int:
        return self.settings.sampling_steps or STEPS

    def _commonest_class_everywhere(self) -> float:
        maps = self.splits["test"].maps(range(min(self.size("test"), 100)))
        counts = maps[maps != UNLABELLED].long().bincount(minlength=self.judge.classes)
        if not counts.sum():
            raise UsageError(f"task.data={self.settings.data}: no pixel of the test maps has a class")
        return (counts.max() / counts.sum() / (counts > 0).sum()).item()

    def model(self) -> nn.Module:
        pipeline = self.pipeline
        return ControlledUNet(pipeline.unet(), pipeline.text_encoder(), self.encoder)

    def models_beside(self, device: torch.device) -> Sequence[nn.Module]:
        return [*self.pipeline.latents.models(device), *self.judge.models(device)]

    def size(self, split: str) -> int:
        return len(self.splits[split])

    def data_summary(self) -> DataSummary:
        limit = self.pipeline.tokenizer.model_max_length
        lengths = [
            len(ids)
            for part in self.splits.values()
            for ids in self.pipeline.tokenizer(list(part.captions)).input_ids
        ]
        return replace(
            super().data_summary(),
            kind="controllable generation",
            lengths=Lengths("tokens", max(lengths), limit, sum(length > limit for length in lengths)),
            notes=self.notes,
        )

    def examples(self, split: str, indices: Tensor) -> Batch:
        """Examples with noise of their own: the same in every run, at times spread evenly over the split."""
        rows = indices.tolist()
        latents = self._latents_of(split, rows)
        numbers = [self._first[split] + row for row in rows]
        noise = torch.stack([noise_of(number, latents.shape[1:]) for number in numbers])
        return self._batch(split, indices, latents, noise, even_times(self.pipeline.scheduler, indices))

    def batch(self, seed: int, step: int) -> Batch:
        """As of any task, with noise and times that the seed and the step draw."""
        made = super().batch(seed, step)
        return made | vars(drawn_noise(self.pipeline.scheduler, made["latents"], seed, step))

    def _batch(self, split: str, indices: Tensor, latents: Tensor, noise: Tensor, times: Tensor) -> Batch:
        made = {
            "latents": latents,
            "maps": self.splits[split].maps(indices.tolist()),
            "token_ids": self._token_ids[split][indices],
            "number": self._first[split] + indices,
            **self._noised(latents, noise, times),
        }
        return made | ({"looks": self.looks[split][indices]} if self.looks else {})

    def _noised(self, latents: Tensor, noise: Tensor, times: Tensor) -> Batch:
        return vars(noised(self.pipeline.scheduler, latents, noise, times))

    def _latents_of(self, split: str, rows: Sequence[int]) -> Tensor:
        """Each picture is encoded once: by a VAE for all studies of this machine, else for this process."""
        scenes, first, latents = self.splits[split], self._first[split], self.pipeline.latents
        if builds_skeletons():  # only shapes matter
            side = self.pipeline.size // latents.factor
            return torch.zeros(len(rows), latents.channels, side, side)
        if self._cached is not None:
            assert isinstance(scenes, MapScenes)
            return torch.stack([self._cached.of(scenes, row) for row in rows])
        for row in rows:
            if first + row not in self._latents:
                self._latents[first + row] = latents.encode(scenes.pictures([row]))[0]
        return torch.stack([self._latents[first + row] for row in rows])

    def _control(self, maps: Tensor) -> Tensor:
        """What the encoder is given of maps: (rows, channels, height, width) in [0, 1]."""
        return class_planes(maps, self.encoder.channels) if self._composed else control_pictures(maps)

    def forward(self, model: nn.Module, batch: Batch) -> Tensor:
        """What the UNet predicts, (rows, channels, height, width)."""
        assert isinstance(model, ControlledUNet)
        states = model.encode_text(batch["token_ids"])
        signal = model.control_encoder(self._control(batch["maps"]))
        return model(batch["noisy"], batch["times"], states, signal)

    def losses(self, outputs: Tensor, batch: Batch) -> Tensor:
        return F.mse_loss(outputs.float(), batch["target"], reduction="none").flatten(1).mean(1)

    def sample(self, model: nn.Module, batch: Batch) -> Tensor:
        """Latents, (rows, channels, height, width)."""
        assert isinstance(model, ControlledUNet)
        ids = batch["token_ids"]
        return sample(
            model,
            self.pipeline.scheduler,
            batch["noise"],
            (ids, self._empty.to(ids.device).expand_as(ids)),
            2 if builds_skeletons() else self._sampling_steps,  # where memory is counted, more take no more
            GUIDANCE if self.settings.guidance is None else self.settings.guidance,
            model.control_encoder(self._control(batch["maps"])),
        )

    def predictions(self, outputs: Tensor, batch: Batch) -> Tensor:
        """A judgement per row: see `study.tasks.diffusion.scores`."""
        judgements = []
        for start in range(0, len(outputs), self.settings.eval_batch_size):
            rows = slice(start, start + self.settings.eval_batch_size)
            pictures = self._decoded(outputs[rows])
            looks = batch["looks"][rows] if "looks" in batch else None
            judgements.append(scores.judgement(self.judge, pictures, batch["maps"][rows], looks))
        return torch.cat(judgements)

    def _decoded(self, latents: Tensor) -> Tensor:
        return self.pipeline.latents.decode(latents.float())

    def metrics(self, predictions: Tensor, references: Batch) -> dict[str, float]:
        classes, real = self.judge.classes, self._real_judgements(references)
        metrics = scores.layout_scores(predictions, classes)
        if self.judge.features:
            metrics["frechet_distance"] = scores.frechet_distance(predictions, real, classes)
        if self.looks:
            metrics["caption_accuracy"] = scores.caption_accuracy(predictions, classes)
        return metrics | {"real_mean_iou": scores.layout_scores(real, classes)["mean_iou"]}

    @torch.no_grad()
    def _real_judgements(self, references: Batch) -> Tensor:
        """Of the real pictures of the rows; each is judged once."""
        numbers = references["number"].tolist()
        for place, number in enumerate(numbers):
            if number not in self._real:
                split = max((s for s in SPLITS if self._first[s] <= number), key=SPLITS.index)
                picture = self.splits[split].pictures([number - self._first[split]]).to(device())
                maps = references["maps"][place : place + 1].to(device())
                self._real[number] = scores.judgement(self.judge, picture, maps, None)[0].cpu()
        return torch.stack([self._real[number] for number in numbers])

    def pictures(self, outputs: Tensor, batch: Batch) -> dict[str, Tensor]:
        return {
            "control": _in_bytes(control_pictures(batch["maps"])),
            "real": _in_bytes(self._decoded(batch["latents"]) / 2 + 0.5),
            "generated": _in_bytes(self._decoded(outputs) / 2 + 0.5),
        }


def _in_bytes(pictures: Tensor) -> Tensor:
    """From [0, 1] to uint8; black where not finite."""
    return (pictures.nan_to_num() * 255).round().clamp(0, 255).to(torch.uint8)
