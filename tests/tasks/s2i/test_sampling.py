"""Sampling is diffusers' own: its pipelines give the same pictures from the same noise."""

from __future__ import annotations

import pytest
import torch
from support import tiny_diffusion

from study.tasks import shipped_checkpoint
from study.tasks.diffusion.controlled_unet import ControlledUNet, paper_encoder
from study.tasks.diffusion.pipeline import load_pipeline
from study.tasks.diffusion.sampling import noised, sample
from study.tasks.miniature.portraits.pipeline import PortraitPipeline

CAPTIONS = ["a person with short brown hair", "a person with a red hat and a blue shirt", "smiling"]


def started(channels: int, size: int) -> torch.Tensor:
    return torch.randn(len(CAPTIONS), channels, size, size, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("guidance", [1.0, 9.0])
@torch.no_grad()
def test_samples_are_those_of_stable_diffusions_pipeline(guidance: float) -> None:
    """With a signal too: there the pipeline's UNet has it added by a hook after its first convolution."""
    theirs = tiny_diffusion.stable_diffusion()
    ours = tiny_diffusion.stable_diffusion()
    model = ControlledUNet(ours.unet, ours.text_encoder, paper_encoder(8))
    torch.nn.init.normal_(model.control_encoder.conv_out.weight, std=0.5)
    control = torch.rand(len(CAPTIONS), 3, 32, 32, generator=torch.Generator().manual_seed(1))
    noise = started(4, 4)

    def ids(captions: list[str]) -> torch.Tensor:
        return ours.tokenizer(captions, padding="max_length", return_tensors="pt").input_ids

    prompt = ids(CAPTIONS), ids([""]).expand(len(CAPTIONS), -1)
    signal = model.control_encoder(control)
    sampled = sample(model, ours.scheduler, noise, prompt, 5, guidance, signal)
    assert signal.abs().mean() > 0.01
    copies = 2 if guidance > 1 else 1
    theirs.unet.conv_in.register_forward_hook(lambda module, x, y: y + torch.cat([signal] * copies))
    expected = theirs(
        CAPTIONS, latents=noise, num_inference_steps=5, guidance_scale=guidance, output_type="latent"
    ).images
    torch.testing.assert_close(sampled, expected, rtol=1e-4, atol=1e-4)


@torch.no_grad()
def test_samples_of_the_shipped_model_are_those_of_its_pipeline() -> None:
    folder = shipped_checkpoint("portraits")
    pipeline = load_pipeline(str(folder))
    model = ControlledUNet(pipeline.unet(), pipeline.text_encoder(), paper_encoder(pipeline.latents.factor))
    noise = started(12, 8)
    prompt = pipeline.token_ids(CAPTIONS), pipeline.token_ids([""]).expand(len(CAPTIONS), -1)
    signal = model.control_encoder(torch.rand(len(CAPTIONS), 3, 16, 16))
    sampled = sample(model, pipeline.scheduler, noise, prompt, 4, 2.0, signal)
    theirs = PortraitPipeline.from_pretrained(folder).to(torch.float32)
    expected = theirs(CAPTIONS, noise, steps=4, guidance=2.0)
    torch.testing.assert_close(pipeline.latents.decode(sampled), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("kind", ["epsilon", "v_prediction"])
def test_what_the_unet_should_predict_takes_the_noise_away(kind: str) -> None:
    """By the formulas of DDPM and of progressive distillation (Salimans and Ho 2022)."""
    scheduler = tiny_diffusion.stable_diffusion().scheduler
    scheduler.register_to_config(prediction_type=kind)
    clean, noise = started(4, 4), started(4, 4).flip(0)
    times = torch.tensor([0, 400, 999])
    made = noised(scheduler, clean, noise, times)
    share = scheduler.alphas_cumprod[times].view(-1, 1, 1, 1)
    torch.testing.assert_close(made.noisy, share.sqrt() * clean + (1 - share).sqrt() * noise)
    if kind == "epsilon":
        torch.testing.assert_close(made.target, noise)
    else:
        back = share.sqrt() * made.noisy - (1 - share).sqrt() * made.target
        torch.testing.assert_close(back, clean, rtol=1e-4, atol=1e-5)
