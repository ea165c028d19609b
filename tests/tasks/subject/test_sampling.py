"""DPM-Solver++ is diffusers' own: its pipeline gives the same latents from the same noise."""

from __future__ import annotations

import pytest
import torch
from diffusers import DPMSolverMultistepScheduler
from support import tiny_diffusion

from study.tasks.diffusion.captioned_unet import CaptionedUNet
from study.tasks.diffusion.sampling import dpm_solver, sample

CAPTIONS = ["a person with short brown hair", "a person with a red hat and a blue shirt", "smiling"]


@pytest.mark.parametrize("guidance", [1.0, 7.5])
@torch.no_grad()
def test_samples_are_those_of_stable_diffusions_pipeline(guidance: float) -> None:
    theirs, ours = tiny_diffusion.stable_diffusion(), tiny_diffusion.stable_diffusion()
    theirs.scheduler = DPMSolverMultistepScheduler.from_config(theirs.scheduler.config)
    noise = torch.randn(len(CAPTIONS), 4, 4, 4, generator=torch.Generator().manual_seed(0))

    def ids(captions: list[str]) -> torch.Tensor:
        return ours.tokenizer(captions, padding="max_length", return_tensors="pt").input_ids

    prompt = ids(CAPTIONS), ids([""]).expand(len(CAPTIONS), -1)
    model = CaptionedUNet(ours.unet, ours.text_encoder)
    sampler = dpm_solver(ours.scheduler)
    assert sampler.config.algorithm_type == "dpmsolver++" and sampler.config.solver_order == 2
    sampled = sample(model, sampler, noise, prompt, 6, guidance)
    expected = theirs(
        CAPTIONS, latents=noise, num_inference_steps=6, guidance_scale=guidance, output_type="latent"
    ).images
    torch.testing.assert_close(sampled, expected, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(sample(model, sampler, noise, prompt, 6, guidance), sampled)  # keeps no state
