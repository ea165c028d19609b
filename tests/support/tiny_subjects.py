"""Judges of subjects, and a folder in google/dreambooth's form, that take no time."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image
from transformers import (
    AutoTokenizer,
    CLIPConfig,
    CLIPImageProcessorPil,
    CLIPModel,
    ViTConfig,
    ViTImageProcessorPil,
    ViTModel,
)

from study.tasks import shipped_checkpoint

PICTURES = {"cap": 3, "cat2": 2, "one": 1}
"""Subjects, in the order of their names, and how many pictures each has."""

PROMPTS = """Classes

subject_name,class
cap,hat
cat2,cat
one,hat
gone,hat

Prompts

Object Prompts

prompt_list = [
'a {0} {1} on a blue background'.format(unique_token, class_token),
'a red {0} {1}'.format(unique_token, class_token)
]

Live Subject Prompts

prompt_list = [
'a {0} {1} with a red hat'.format(unique_token, class_token),
'a green {0} {1}'.format(unique_token, class_token)
]
"""


def dino(folder: Path) -> None:
    torch.manual_seed(2)
    config = ViTConfig(
        image_size=16, patch_size=8, hidden_size=16, num_hidden_layers=1, num_attention_heads=2,
        intermediate_size=16,
    )  # fmt: skip
    ViTModel(config, add_pooling_layer=False).save_pretrained(folder)
    ViTImageProcessorPil(size={"height": 16, "width": 16}).save_pretrained(folder)


def clip(folder: Path) -> None:
    torch.manual_seed(3)
    tokenizer = AutoTokenizer.from_pretrained(shipped_checkpoint("portraits") / "tokenizer")
    shape = {
        "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16,
        "projection_dim": 8,
    }  # fmt: skip
    text = shape | {
        "vocab_size": len(tokenizer), "max_position_embeddings": 40, "eos_token_id": tokenizer.eos_token_id,
    }  # fmt: skip
    vision = shape | {"image_size": 16, "patch_size": 8}
    config = CLIPConfig(text_config=text, vision_config=vision, projection_dim=8)
    CLIPModel(config).save_pretrained(folder)
    sizes = {"size": {"shortest_edge": 18}, "crop_size": {"height": 16, "width": 16}}
    CLIPImageProcessorPil(**sizes).save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def subject_folder(folder: Path) -> None:
    """Pictures of different sizes, each subject's about one colour."""
    random = np.random.default_rng(0)
    (folder / "dataset").mkdir(parents=True)
    (folder / "dataset/prompts_and_classes.txt").write_text(PROMPTS)
    for subject, (name, count) in enumerate(PICTURES.items()):
        (folder / "dataset" / name).mkdir()
        for number in range(count):
            pixels = random.integers(0, 100, (36 + 4 * number, 40, 3), dtype=np.uint8)
            pixels[..., subject] += 150
            Image.fromarray(pixels).save(folder / "dataset" / name / f"0{number}.jpg", quality=95)
