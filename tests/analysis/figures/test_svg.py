"""Shortened SVG files show what matplotlib's own do."""

from __future__ import annotations

import io
import re
import shutil
import subprocess
import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from analysis.figures.svg import shorter

BROWSER = shutil.which("chromium") or shutil.which("google-chrome")


@pytest.fixture(scope="module")
def drawn() -> str:
    """A figure with what ours have: curves, bands, markers, powers, turned and special text, pictures."""
    figure = Figure(figsize=(6, 4))
    axes, pictures = figure.subplots(1, 2)
    x = np.logspace(-4, 0, 9)
    axes.plot(x, np.sin(x * 9), "o-", label="|T - I| <= 2 & more")
    axes.plot(x, np.cos(x * 9), "^--", label="ETHER+ 'half'")
    axes.fill_between(x, np.cos(x * 9) - 0.1, np.cos(x * 9) + 0.1, alpha=0.3, hatch="//")
    axes.set(xscale="log", xlabel="learning rate", ylabel="test score, 95 %", title="$10^{-4}$ to 1")
    axes.legend()
    pictures.imshow(np.arange(48).reshape(4, 4, 3) * 5)
    text = io.StringIO()
    figure.savefig(text, format="svg")
    return text.getvalue()


def test_it_is_shorter_and_refers_to_nothing_that_is_not_there(drawn: str) -> None:
    short = shorter(drawn)
    assert len(short) < 0.7 * len(drawn)
    names, used = set(), set()
    for element in ET.fromstring(short).iter():
        names.add(element.get("id"))
        used.add(element.get("href", "#").removeprefix("#"))
    used |= set(re.findall(r"url\(#(.*?)\)", short))
    assert len(used) > 20 and {name for name in used if not name.startswith("data:")} - {""} <= names


@pytest.mark.skipif(BROWSER is None, reason="no Chromium on this machine (apt-get install chromium)")
def test_a_browser_shows_the_same(drawn: str, tmp_path: Path) -> None:
    """To a hundredth of a point, so that edges may be a shade lighter or darker."""
    shown = []
    for name, svg in (("whole", drawn), ("short", shorter(drawn))):
        (tmp_path / f"{name}.svg").write_text(svg, encoding="utf-8")
        command = [BROWSER, "--headless", "--no-sandbox", "--disable-gpu", "--window-size=600,400"]
        command += [f"--user-data-dir={tmp_path / 'profile'}", f"--screenshot={tmp_path / name}.png"]
        subprocess.run(
            [*command, f"file://{tmp_path / name}.svg"], check=True, capture_output=True, timeout=120
        )
        shown.append(np.asarray(Image.open(tmp_path / f"{name}.png").convert("RGB"), dtype=int))
    whole, short = shown
    assert whole.std() > 20  # something is shown
    assert np.abs(whole - short).mean() < 0.2 and (np.abs(whole - short) > 64).mean() < 1e-3
