"""Pretrains what the pixel portraits need: the base model that draws them from captions, and its judges.

Leaves a folder that diffusers loads (`PortraitPipeline.from_pretrained`), with the judges' networks in it,
and a page of samples to look at. Portraits are composed sprites, not photographs.
"""

from __future__ import annotations

import sys
from pathlib import Path

from study.pretraining import script

try:
    from study.pretraining.portraits import base, judges, quality
except ModuleNotFoundError as error:
    sys.exit(f"{error.name} is not installed: pip install 'ether-study[images]'")

JUDGES = {
    "segmenter": judges.pretrain_segmenter,
    "attributes": judges.pretrain_attributes,
    "second opinion": judges.pretrain_second_opinion,
}


def pretrain(folder: Path, steps: int = base.STEPS, seed: int = 0) -> None:
    """The base model in `steps` steps, and the judges in their share of them."""
    base.pretrain(folder, steps, seed)
    for name, judge in JUDGES.items():
        own = max(1, round(judges.STEPS[name] * steps / base.STEPS))
        judge(folder / name.replace(" ", "_"), own, seed)


if __name__ == "__main__":
    script.run(pretrain, quality.quality, __doc__ or "", base.STEPS)
