"""What the pretraining scripts share: their command line, the learning rate, and what they leave behind."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path

from torch.optim import Optimizer
from torch.optim.lr_scheduler import OneCycleLR

QUALITY = "quality.json"
"""Beside a checkpoint: what it is good for, written by the command that made it."""


def run(
    pretrain: Callable[..., None],
    quality: Callable[[Path], dict[str, float]],
    description: str,
    steps: int,
    width: int | None = None,
) -> None:
    """Pretrains as the command line says, then measures the checkpoint and writes the result beside it.

    Args:
        pretrain: of (folder, steps, seed) and, if there is one, width; leaves a checkpoint in the folder.
        quality: of a checkpoint's folder.
        description: for `--help`.
        steps: how many the shipped checkpoint took.
        width: of the shipped checkpoint, where others can be made.
    """
    arguments = _parse(description, steps, width)
    folder: Path = arguments.out
    folder.mkdir(parents=True, exist_ok=True)
    pretrain(folder, arguments.steps, arguments.seed, *([arguments.width] if width else []))
    text = json.dumps(quality(folder), indent=2)
    (folder / QUALITY).write_text(text + "\n")
    print(text)


def _parse(description: str, steps: int, width: int | None) -> argparse.Namespace:
    file = Path(sys.argv[0])
    name = file.parent.name if file.stem == "__main__" else file.stem
    parser = argparse.ArgumentParser(
        prog=f"python -m study.pretraining.{name}",
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--out", type=Path, required=True, metavar="FOLDER",
        help="where the checkpoint goes; one that is there is replaced",
    )  # fmt: skip
    parser.add_argument("--steps", type=int, default=steps, help="training steps (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of weights and data (default: %(default)s)")
    if width:
        parser.add_argument("--width", type=int, default=width, help="channels (default: %(default)s)")
    arguments = parser.parse_args()
    if arguments.steps < 1:
        parser.error(f"--steps must be 1 or more, got {arguments.steps}")
    if arguments.out.exists() and not arguments.out.is_dir():
        parser.error(f"--out={arguments.out} is a file; give a folder")
    return arguments


def one_cycle(optimizer: Optimizer, peak: float, steps: int, warmup: float = 0.3) -> OneCycleLR:
    """Up to the peak in this share of the steps, then down to nearly zero."""
    if warmup * steps == 1:
        warmup = 0.0  # OneCycleLR divides by the length of a warm-up of one step, zero
    return OneCycleLR(optimizer, peak, total_steps=steps, pct_start=warmup)


def report(step: int, steps: int, loss: str, every: int) -> None:
    """Prints the loss now and then."""
    if step % every == 0:
        print(f"step {step} of {steps}: loss {loss}", flush=True)
