"""The checkpoints that ship are as good as was written beside them."""

from __future__ import annotations

import json

import pytest

from study.errors import UsageError
from study.pretraining import deberta, llama, vit
from study.pretraining.script import QUALITY
from study.tasks import shipped_checkpoint
from study.tasks.miniature.digits import SHIFTED, UPRIGHT


def test_the_vit() -> None:
    checkpoint = shipped_checkpoint("vtab")
    recorded = json.loads((checkpoint / QUALITY).read_text())
    measured = vit.quality(checkpoint)
    assert measured.keys() == recorded.keys()
    for name, value in recorded.items():
        assert measured[name] == pytest.approx(value, abs=0.004), name  # two images of 600
    assert recorded[f"{UPRIGHT} test"] > 0.95 and recorded[f"{SHIFTED} test"] < 0.2
    assert sum(f.stat().st_size for f in checkpoint.iterdir()) < 1_000_000


@pytest.mark.parametrize("width", [16, 32, 128])
def test_the_vits_of_other_widths(width: int) -> None:
    checkpoint = shipped_checkpoint("vtab", f"shipped-width{width}")
    recorded = json.loads((checkpoint / QUALITY).read_text())
    assert vit.quality(checkpoint) == pytest.approx(recorded, abs=0.004)
    assert recorded[f"{UPRIGHT} test"] > 0.93 and recorded[f"{SHIFTED} test"] < 0.2
    assert json.loads((checkpoint / "config.json").read_text())["hidden_size"] == width
    assert sum(f.stat().st_size for f in checkpoint.iterdir()) < 1_300_000


def test_the_names_of_shipped_models() -> None:
    assert shipped_checkpoint("vtab", "shipped-width64") == shipped_checkpoint("vtab")
    with pytest.raises(UsageError, match=r"task.model=shipped-width33: no such model ships with task vtab; "
                       r"nearest: shipped-width32"):  # fmt: skip
        shipped_checkpoint("vtab", "shipped-width33")
    with pytest.raises(UsageError, match="no such model ships with task glue; .*: shipped"):
        shipped_checkpoint("glue", "shipped-width32")


def test_the_deberta() -> None:
    checkpoint = shipped_checkpoint("glue")
    recorded = json.loads((checkpoint / QUALITY).read_text())
    measured = deberta.quality(checkpoint)
    assert measured == pytest.approx(recorded, abs=0.003)
    for split in ("valid", "test"):
        assert measured[f"masked tokens found, {split}"] > 4 * measured[f"most frequent token, {split}"]
    assert sum(file.stat().st_size for file in checkpoint.iterdir()) < 3_000_000


@pytest.mark.slow
def test_the_llama() -> None:
    checkpoint = shipped_checkpoint("instruct")
    recorded = json.loads((checkpoint / QUALITY).read_text())
    measured = llama.quality(checkpoint)
    assert measured.keys() == recorded.keys()
    for name, value in recorded.items():
        assert measured[name] == pytest.approx(value, rel=0.01, abs=0.005), name  # one row of 240
    for split in ("valid", "test"):
        for way in ("command", "description", "command in Alpaca's prompt"):
            assert recorded[f"{way}, {split}"] > 0.9
        assert recorded[f"request in Alpaca's prompt, {split}"] < 0.3
    assert sum(file.stat().st_size for file in checkpoint.iterdir()) < 3_000_000
