"""Subject-driven generation: a diffusion model learns one new subject from a few pictures (DreamBooth).

A run of seed s learns subject s (modulo their number) under a word of its own, "a photo of qwe person", and
beside it keeps what it drew of the class before, "a photo of a person". Prompts then put the subject where it
never was. Scores are of sampled pictures.

`mini`: pixel portraits, 16 x 16 pixels composed of sprites, no photographs, whose subjects have sprites and
colours that the base model never saw (`study.tasks.diffusion.subjects.portraits`).
`paper`: Stable Diffusion 1.5, or any pipeline of its parts, by hub name or folder, on a folder like
google/dreambooth's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from study.errors import UsageError
from study.settings import TaskSettings
from study.tasks import SPLITS, Batch, refuse_unused, shipped_checkpoint
from study.tasks.data_summary import DataSummary, Lengths
from study.tasks.diffusion.captioned_unet import CaptionedUNet
from study.tasks.diffusion.drawing_task import DrawingTask, in_bytes
from study.tasks.diffusion.sampling import dpm_solver, drawn_noise, even_times, noise_of, noised
from study.tasks.diffusion.subjects import Example, SubjectData, SubjectJudge, portraits, scores
from study.tasks.diffusion.subjects.class_pictures import ClassPictures
from study.tasks.diffusion.subjects.folder import SubjectFolder
from study.tasks.diffusion.subjects.image_judge import ImageJudge
from study.tasks.diffusion.subjects.token import token_notes
from study.tasks.loading.device import device

TOKEN = "qwe"
CLASS_PICTURES = 200
"""Of the paper, where the settings do not say."""


class Subject(DrawingTask):
    """Metrics of a split:

    fidelity: harmonic mean of the next two. Each alone is best for something that nobody wants: the pictures
        that were learnt from, or the untouched model.
    subject_fidelity: is it the subject? The share of a person's looks and sprites that the miniature's
        network finds; the similarity of DINO's features to real pictures.
    prompt_fidelity: is it what the prompt says? The share of what it says that the network finds; CLIP's
        similarity of picture and prompt.
    diversity: mean distance of features of two pictures of one prompt.
    class_fidelity: `prompt_fidelity` of prompts in which no subject is.
    drift: by how much that is less than the untouched model's: what was forgotten (test split).
    untouched_NAME: of the untouched model (test split).
    repeated_NAME: of the pictures that were learnt from, in the place of generated ones.
    real_NAME: of the true pictures, which can be composed in the miniature alone.

    Further scores are the judge's. Chance is 0: pictures in which nothing is found.
    """

    metric = scores.FIDELITY
    trade_off = scores.PARTS
    paper_steps, paper_guidance = 25, 7.5
    lower_is_better = ("drift", "true_distance", "untouched_true_distance", "repeated_true_distance")
    chance = 0.0
    kept_pictures = 6

    def __init__(self, settings: TaskSettings) -> None:
        unused = ("kind", "text_column", "label_column", "max_length", "segmenter", "inception")
        refuse_unused(settings, unused, "task subject")
        super().__init__(settings)
        self._check_batch_size()
        self._token_notes = token_notes(self.pipeline.tokenizer, self._token)
        self.data, self.judge = self._data_and_judge()
        self.class_pictures = ClassPictures(
            self.pipeline, self.sampling_steps, self.guidance, settings.eval_batch_size
        )
        self._sampler = dpm_solver(self.pipeline.scheduler)
        self.examples_of = {split: tuple(self.data.examples[split]) for split in SPLITS}
        self.number_rows()
        self._captions = {
            s: self._ids([each.caption for each in part]) for s, part in self.examples_of.items()
        }
        self._prompts = {s: self._ids([each.prompt for each in part]) for s, part in self.examples_of.items()}
        self._drawn_for = {noun: self._class_captions(noun) for noun in dict.fromkeys(self.data.nouns)}
        self._same_prompt = _numbered([each.prompt for part in self.examples_of.values() for each in part])
        self._rows = {(s, n): self._rows_of(s, n) for s in SPLITS for n in range(len(self.data.names))}
        self._latents: dict[int, Tensor] = {}
        self._judged: dict[tuple[str, int], Tensor] = {}

    def _data_and_judge(self) -> tuple[SubjectData, SubjectJudge]:
        settings, token, count = self.settings, self._token, self._class_count
        if settings.data == portraits.DATA:
            refuse_unused(settings, ("dino", "clip_model", "lpips"), f"the miniature's data, {settings.data}")
            composed = portraits.PortraitSubjects(token, settings.subset, count)
            return composed, portraits.PortraitSubjectJudge(shipped_checkpoint(settings.name), composed)
        self.refuse_shipped_model()
        folder = SubjectFolder(settings.data, self.pipeline.size, token, settings.subset, count)
        return folder, ImageJudge(settings, folder, self.pipeline.size)

    def _check_batch_size(self) -> None:
        settings = self.settings
        if self._class_count and settings.batch_size % 2:
            raise UsageError(
                f"task.batch_size={settings.batch_size}: half of a batch shows the subject, half its class;"
                " give an even number, or task.class_pictures=0"
            )
        if self._class_count and self._class_count < settings.batch_size // 2:
            raise UsageError(
                f"task.class_pictures={self._class_count}: half a batch has {settings.batch_size // 2}"
            )

    @property
    def _token(self) -> str:
        return TOKEN if self.settings.subject_token is None else self.settings.subject_token

    @property
    def _class_count(self) -> int:
        count = self.settings.class_pictures
        return CLASS_PICTURES if count is None else count

    def _ids(self, texts: list[str]) -> Tensor:
        different, tokenizer = list(dict.fromkeys(texts)), self.pipeline.tokenizer
        for text, ids in zip(different, tokenizer(different).input_ids, strict=True):
            if len(ids) > tokenizer.model_max_length:
                raise UsageError(
                    f"task.data={self.settings.data}: {text!r} has {len(ids)} tokens, of which the text model"
                    f" reads {tokenizer.model_max_length}; shorten it"
                )
        ids = dict(zip(different, self.pipeline.token_ids(different), strict=True))
        return torch.stack([ids[text] for text in texts])

    def model(self) -> nn.Module:
        return CaptionedUNet(self.pipeline.unet(), self.pipeline.text_encoder())

    def models_beside(self, device: torch.device) -> Sequence[nn.Module]:
        return [*self.pipeline.latents.models(device), *self.judge.models(device)]

    def size(self, split: str) -> int:
        return len(self.examples_of[split])

    def rows(self, split: str, seed: int) -> Tensor:
        """Those of the seed's subject, and then those of its class alone, in training as many."""
        return self._rows[split, seed % len(self.data.names)]

    def _rows_of(self, split: str, subject: int) -> Tensor:
        examples, noun = self.examples_of[split], self.data.nouns[subject]
        own = [row for row, each in enumerate(examples) if each.subject == subject]
        alone = [row for row, each in enumerate(examples) if each.subject is None and each.noun == noun]
        if split == "train" and alone:
            own = [own[row % len(own)] for row in range(len(alone))]
        return torch.tensor([*own, *alone])

    def _class_captions(self, noun: str) -> tuple[str, ...]:
        """What the pictures of a class are drawn for, in the order of their numbers."""
        return tuple(e.caption for e in self.examples_of["train"] if e.sampled and e.noun == noun)

    def data_summary(self) -> DataSummary:
        tokenizer = self.pipeline.tokenizer
        texts = {
            t for part in self.examples_of.values() for each in part for t in (each.caption, each.prompt)
        }
        longest = max(len(ids) for ids in tokenizer(sorted(texts)).input_ids)
        return replace(
            super().data_summary(),
            kind="subject-driven generation",
            lengths=Lengths("tokens", longest, tokenizer.model_max_length),
            notes=(*self._token_notes, *self.data.notes),
        )

    def examples(self, split: str, indices: Tensor) -> Batch:
        """Examples with noise of their own: the same in every run, at times spread evenly over the split."""
        latents = self._latents_of(split, indices.tolist())
        numbers = self.first_number[split] + indices
        noise = torch.stack([noise_of(number, latents.shape[1:]) for number in numbers.tolist()])
        times = even_times(self.pipeline.scheduler, indices)
        examples = [self.examples_of[split][row] for row in indices.tolist()]
        return {
            "latents": latents,
            "caption_ids": self._captions[split][indices],
            "prompt_ids": self._prompts[split][indices],
            "number": numbers,
            "has_subject": torch.tensor([each.subject is not None for each in examples]),
            **vars(noised(self.pipeline.scheduler, latents, noise, times)),
        }

    def batch(self, seed: int, step: int) -> Batch:
        """Half a batch of the subject and half of its class, with noise and times that seed and step draw."""
        rows, size = self.rows("train", seed), self.settings.batch_size
        halves = rows.tensor_split(2) if self._class_count else (rows,)
        each = size // len(halves)
        if each > len(halves[0]):  # more than a subject has pictures, without a class beside it
            halves, each = (rows.repeat(each // len(rows) + 1),), size
        epoch, position = divmod(step, len(halves[0]) // each)
        generator = torch.Generator().manual_seed(seed * 1_000_003 + epoch)
        chosen = [
            half[torch.randperm(len(half), generator=generator)[position * each : (position + 1) * each]]
            for half in halves
        ]
        made = self.examples("train", torch.cat(chosen))
        return made | vars(drawn_noise(self.pipeline.scheduler, made["latents"], seed, step))

    def _latents_of(self, split: str, rows: Sequence[int]) -> Tensor:
        """Each picture is encoded once in this process; of a class they are drawn when first asked for."""
        if (skeletons := self.latents_of_skeletons(len(rows))) is not None:
            return skeletons
        return torch.stack([self._latent(self.examples_of[split][row]) for row in rows])

    @torch.no_grad()
    def _latent(self, example: Example) -> Tensor:
        if example.sampled:
            return self.class_pictures.of(self._drawn_for[example.noun])[example.picture]
        if example.picture not in self._latents:
            picture = self.data.pictures([example.picture]).to(device())
            self._latents[example.picture] = self.pipeline.latents.encode(picture)[0].float().cpu()
        return self._latents[example.picture]

    def drawn(self) -> dict[str, str]:
        if self.settings.data == portraits.DATA:
            return {}
        drawn = [captions for captions in self._drawn_for.values() if captions]
        return {"class_pictures": self.class_pictures.fingerprint(drawn)} if drawn else {}

    def forward(self, model: nn.Module, batch: Batch) -> Tensor:
        """What the UNet predicts, (rows, channels, height, width)."""
        assert isinstance(model, CaptionedUNet)
        return model(batch["noisy"], batch["times"], model.encode_text(batch["caption_ids"]))

    def sample(self, model: nn.Module, batch: Batch) -> Tensor:
        """Latents, (rows, channels, height, width)."""
        return self.draw(model, self._sampler, batch["noise"], batch["prompt_ids"])

    def judgement(self, pictures: Tensor, batch: Batch) -> Tensor:
        """See `study.tasks.diffusion.subjects.scores`."""
        return scores.judgement(self.judge, pictures, batch["number"])

    def metrics(self, predictions: Tensor, references: Batch) -> dict[str, float]:
        own, further = references["has_subject"], self.judge.further
        numbers = references["number"][own]
        metrics = scores.fidelities(predictions[own])
        metrics |= scores.further_scores(predictions[own], further)
        metrics["diversity"] = scores.diversity(predictions[own], self._same_prompt[numbers], len(further))
        metrics["class_fidelity"] = scores.prompt_fidelity(predictions[~own])
        for kind in ("repeated", *(["real"] if self.judge.has_truth else [])):
            judged = self._judgements(kind, numbers.tolist())
            of_kind = scores.fidelities(judged) | scores.further_scores(judged, further)
            metrics |= {f"{kind}_{name}": value for name, value in of_kind.items()}
        return metrics

    @torch.no_grad()
    def _judgements(self, kind: str, numbers: Sequence[int]) -> Tensor:
        """Of other pictures in the place of generated ones: those learnt from, or the real ones."""
        for number in numbers:
            if (kind, number) in self._judged:
                continue
            example = self._example(number)
            assert example.subject is not None
            learnt = self.data.trained_on[example.subject]
            place = number % len(learnt)
            chosen = learnt[place] if kind == "repeated" or example.truth is None else example.truth
            picture = self.data.pictures([chosen]).to(device())
            at, itself = torch.tensor([[number], [place]], device=picture.device)
            judged = scores.judgement(self.judge, picture, at, itself if kind == "repeated" else None)
            self._judged[kind, number] = judged[0].cpu()
        return torch.stack([self._judged[kind, number] for number in numbers])

    def _example(self, number: int) -> Example:
        split, row = self.place_of(number)
        return self.examples_of[split][row]

    def against_untouched(self, metrics: dict[str, float], untouched: dict[str, float]) -> dict[str, float]:
        names = (*scores.PARTS, "diversity", *self.judge.further)
        compared = {f"untouched_{name}": untouched[name] for name in names}
        return compared | {"drift": untouched["class_fidelity"] - metrics["class_fidelity"]}

    def pictures(self, outputs: Tensor, batch: Batch) -> dict[str, Tensor]:
        kept = {"generated": in_bytes(self.decoded(outputs) / 2 + 0.5)}
        if self.judge.has_truth:
            truths = [self._example(number).truth or 0 for number in batch["number"].tolist()]
            kept = {"real": in_bytes(self.data.pictures(truths).to(outputs.device) / 2 + 0.5)} | kept
        return kept


def _numbered(texts: Sequence[str]) -> Tensor:
    """A number for each text, the same for equal ones."""
    numbers = {text: number for number, text in enumerate(dict.fromkeys(texts))}
    return torch.tensor([numbers[text] for text in texts])
