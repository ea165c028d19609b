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
from torch import Tensor, nn

from study.errors import UsageError
from study.settings import TaskSettings
from study.tasks import Batch, refuse_unused, shipped_checkpoint
from study.tasks.data_summary import DataSummary, Lengths
from study.tasks.diffusion import map_folder, portrait_scenes, scores
from study.tasks.diffusion.controlled_unet import ControlledUNet, paper_encoder
from study.tasks.diffusion.drawing_task import DrawingTask, in_bytes
from study.tasks.diffusion.latent_cache import CachedLatents
from study.tasks.diffusion.latents import VaeLatents
from study.tasks.diffusion.map_scenes import MapScenes
from study.tasks.diffusion.sampling import drawn_noise, even_times, noise_of, noised
from study.tasks.diffusion.scenes import UNLABELLED, Judge, Scenes, class_planes, control_pictures
from study.tasks.diffusion.segmenter_judge import SegmenterJudge
from study.tasks.loading.device import device

PORTRAITS = (portrait_scenes.UPRIGHT, portrait_scenes.SHIFTED)


class S2i(DrawingTask):
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
    kept_pictures = 8
    paper_steps, paper_guidance = 50, 9.0

    def __init__(self, settings: TaskSettings) -> None:
        refuse_unused(settings, ("kind", "subset", "text_column", "label_column", "max_length"), "task s2i")
        super().__init__(settings)
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
        else:
            self.refuse_shipped_model()
            self.judge = judge = SegmenterJudge(settings, self.pipeline.size)
            folder = map_folder.load(settings.data, self.pipeline.size, judge.numbering)
            self.splits, self.notes = dict(folder.splits), folder.notes
            if isinstance(latents := self.pipeline.latents, VaeLatents):
                self._cached = CachedLatents(
                    latents, list(folder.splits.values()), self.pipeline.size, settings
                )
                self.notes = (*self.notes, self._cached.note)
        self._token_ids = {s: self.pipeline.token_ids(list(part.captions)) for s, part in self.splits.items()}
        self.number_rows()
        self._latents: dict[int, Tensor] = {}
        self._real: dict[int, Tensor] = {}
        self.chance = self._commonest_class_everywhere()

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
        numbers = [self.first_number[split] + row for row in rows]
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
            "number": self.first_number[split] + indices,
            **self._noised(latents, noise, times),
        }
        return made | ({"looks": self.looks[split][indices]} if self.looks else {})

    def _noised(self, latents: Tensor, noise: Tensor, times: Tensor) -> Batch:
        return vars(noised(self.pipeline.scheduler, latents, noise, times))

    def _latents_of(self, split: str, rows: Sequence[int]) -> Tensor:
        """Each picture is encoded once: by a VAE for all studies of this machine, else for this process."""
        scenes, first, latents = self.splits[split], self.first_number[split], self.pipeline.latents
        if (skeletons := self.latents_of_skeletons(len(rows))) is not None:
            return skeletons
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

    def sample(self, model: nn.Module, batch: Batch) -> Tensor:
        """Latents, (rows, channels, height, width)."""
        assert isinstance(model, ControlledUNet)
        signal = model.control_encoder(self._control(batch["maps"]))
        return self.draw(model, self.pipeline.scheduler, batch["noise"], batch["token_ids"], signal)

    def judgement(self, pictures: Tensor, batch: Batch) -> Tensor:
        """See `study.tasks.diffusion.scores`."""
        return scores.judgement(self.judge, pictures, batch["maps"], batch.get("looks"))

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
                split, row = self.place_of(number)
                picture = self.splits[split].pictures([row]).to(device())
                maps = references["maps"][place : place + 1].to(device())
                self._real[number] = scores.judgement(self.judge, picture, maps, None)[0].cpu()
        return torch.stack([self._real[number] for number in numbers])

    def pictures(self, outputs: Tensor, batch: Batch) -> dict[str, Tensor]:
        return {
            "control": in_bytes(control_pictures(batch["maps"])),
            "real": in_bytes(self.decoded(batch["latents"]) / 2 + 0.5),
            "generated": in_bytes(self.decoded(outputs) / 2 + 0.5),
        }
