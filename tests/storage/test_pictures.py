"""The pictures that runs keep come back as they were, or not at all."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from study.errors import UsageError
from study.storage import pictures


def made() -> dict[str, np.ndarray]:
    random = np.random.default_rng(0)
    return {kind: random.integers(0, 256, (3, 3, 4, 5), dtype=np.uint8) for kind in ("control", "generated")}


def test_what_was_written_is_read_bit_for_bit(tmp_path: Path) -> None:
    kept = made()
    digest = pictures.write(tmp_path, "abc", kept)
    back = pictures.read(tmp_path, "abc", digest)
    assert list(back) == list(kept)
    for kind, values in kept.items():
        np.testing.assert_array_equal(back[kind], values)


def test_the_sheet_has_a_row_per_kind_and_a_column_per_example(tmp_path: Path) -> None:
    from PIL import Image

    kept = made()
    pictures.write(tmp_path, "abc", kept)
    sheet = np.asarray(Image.open(tmp_path / "samples" / "abc.png"))
    assert sheet.shape == (2 * 4, 3 * 5, 3)
    np.testing.assert_array_equal(sheet[4:, 5:10], kept["generated"][1].transpose(1, 2, 0))


@pytest.mark.parametrize("damage", ["a bit", "another run's", "gone"])
def test_what_is_not_what_the_run_wrote_is_refused(damage: str, tmp_path: Path) -> None:
    digest = pictures.write(tmp_path, "abc", made())
    file = pictures.path_of(tmp_path, "abc")
    if damage == "a bit":
        content = bytearray(file.read_bytes())
        content[len(content) // 2] ^= 1
        file.write_bytes(content)
    elif damage == "gone":
        file.unlink()
    else:
        pictures.write(tmp_path, "abc", {kind: 255 - values for kind, values in made().items()})
    with pytest.raises(UsageError, match=r"abc\.png"):
        pictures.read(tmp_path, "abc", digest)
