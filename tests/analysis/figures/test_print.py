"""Figures for print: TrueType fonts, the width that was asked for, text of 8 pt, words on axes, bands."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text
from support.records import generated, synthetic
from support.records.synthetic import LRS, hill

from analysis.data.metrics import range_of
from analysis.data.studies import split
from analysis.data.table import Study
from analysis.figures import style
from analysis.figures.catalogue import STUDY_FIGURES
from analysis.figures.look import POINTS, WIDTHS, Look, looking, ordered
from analysis.figures.robustness import draw_robustness
from analysis.figures.two_axes import draw_two_axes
from analysis.report import draw, main
from study.errors import UsageError

CURVES = {
    "ether": hill(-2, 3, 0.93, noise=0.05),
    "hra": hill(-3, 1, noise=0.02),
    "lora": hill(-1, 1, noise=0.02),
}


OF_ONE_AXIS = [each for each in STUDY_FIGURES if each.draw is not draw_two_axes]
"""The other one's print is tested in test_two_axes.py."""


@pytest.fixture
def study(tmp_path: Path) -> Study:
    named = {"trade_off": "pixel_accuracy,caption_accuracy", "metric.caption_accuracy": 0.5}
    named |= {"sharpness_start": 3.0, "sharpness_end": 5.0}
    (found,) = split(generated.write(tmp_path / "results" / "s", generated.records(CURVES, LRS, 3, **named)))
    return found


def drawn(monkeypatch: pytest.MonkeyPatch, draw_one: Callable, study: Study, folder: Path) -> Figure | None:
    """The figure as it is saved."""
    kept: list[Figure] = []
    write = style.write_explorable
    monkeypatch.setattr(
        style, "write_explorable", lambda figure, path: (kept.append(figure), write(figure, path))
    )
    draw_one(study, folder)
    monkeypatch.undo()
    return kept[-1] if kept else None


@pytest.mark.parametrize("width", WIDTHS)
def test_every_figure_has_the_width_and_text_of_eight_points(
    width: str, study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for each in OF_ONE_AXIS:
        with looking(Look(width=width)):
            figure = drawn(monkeypatch, each.draw, study, tmp_path)
        assert figure is not None
        with looking(Look(width=width)), style.figure_style():
            FigureCanvasAgg(figure).draw()
        assert figure.get_size_inches()[0] == WIDTHS[width]
        shown = [t for t in figure.findobj(Text) if t.get_visible() and t.get_text().strip()]
        assert {text.get_fontsize() for text in shown} == {POINTS}
        frame = figure.bbox.padded(1)
        for axes in figure.axes:
            box = axes.yaxis.label.get_window_extent()
            assert frame.contains(box.x0, box.y0) and frame.contains(box.x1, box.y1), axes.get_ylabel()


def test_fonts_are_embedded_as_truetype_on_screen_and_in_print(study: Study, tmp_path: Path) -> None:
    for look in (Look(), Look(width="column")):
        with looking(look):
            pdf = draw_robustness(study, tmp_path).with_suffix(".pdf").read_bytes()
        assert b"/Type3" not in pdf and b"/CIDFontType2" in pdf and b"/FontFile2" in pdf


def test_axes_speak_in_words_and_methods_have_their_names(
    study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for each in OF_ONE_AXIS:
        figure = drawn(monkeypatch, each.draw, study, tmp_path)
        assert figure is not None
        texts = [text.get_text() for text in figure.findobj(Text) if text.get_visible()]
        outside_ticks = [text for text in texts if "mathdefault" not in text]
        assert not any(re.search(r"[a-z]_[a-z]|\\|\$", text) for text in outside_ticks), texts
        assert "hra" not in texts
    with looking(Look()):
        figure = drawn(monkeypatch, draw_robustness, study, tmp_path)
    assert figure is not None and figure.axes[0].get_xlabel() == "learning rate"
    assert figure.axes[0].get_ylabel() == "test mean IoU"
    assert "HRA" in figure.axes[0].get_legend_handles_labels()[1]


def test_bands_end_where_the_metric_does_and_the_tuned_rate_is_marked(
    study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    figure = drawn(monkeypatch, draw_robustness, study, tmp_path)
    assert figure is not None
    top = figure.axes[0]
    heights = np.concatenate([c.get_paths()[0].vertices[:, 1] for c in top.collections])
    assert heights.max() <= 1.0 and heights.min() >= 0.0 and (heights.max() == 1.0 or heights.min() == 0.0)
    marks = {
        str(line.get_label()).strip("_"): float(np.asarray(line.get_xdata())[0])
        for line in top.lines
        if line.get_markerfacecolor() == "white" and len(line.get_xdata())
    }
    assert marks == {"ETHER": 1e-2, "HRA": 1e-3, "LoRA": 1e-1}
    assert range_of("perplexity") == (1.0, np.inf) and range_of("mine") == (-np.inf, np.inf)


def test_order_and_highlight_by_any_name(study: Study) -> None:
    look = Look(highlight=("HRA",), order=("lora", "HRA")).of(study)
    assert look.highlight == ("hra",) and ordered(study, look).labels == ["lora", "hra", "ether"]
    assert ordered(study, Look()) is study
    with pytest.raises(UsageError, match="has no method 'LoRa8'; nearest: LoRA"):
        Look(highlight=("LoRa8",)).of(study)


def test_a_width_draws_figures_alone_in_a_folder_of_their_own(tmp_path: Path) -> None:
    folder = synthetic.write(tmp_path / "s", synthetic.records({"ether": hill(-2, 2)}, seeds=2))
    draw(folder)
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    assert main(["s", f"results={tmp_path}", "width=column", "highlight=ETHER"]) == 0
    assert {path: path.read_bytes() for path in before} == before
    assert (folder / "figures" / "column" / "robustness.pdf").is_file()
    assert main(["s", f"results={tmp_path}", "width=poster"]) == 2


def test_what_can_be_explored_is_read_off_the_figure(study: Study, tmp_path: Path) -> None:
    draw_robustness(study, tmp_path)
    panels = json.loads((tmp_path / "robustness.json").read_text())
    assert [panel["title"] for panel in panels] == ["", "ETHER", "LoRA", "HRA"]
    top = panels[0]
    assert top["wide"] and top["x"]["scale"] == "log" and top["y"]["label"] == "test mean IoU"
    (line,) = (s for s in top["series"] if s["name"] == "HRA" and s["kind"] == "line")
    runs = study.runs[(study.runs["method"] == "hra") & (study.runs["lr"] == 1e-3)]
    at = line["x"].index(1e-3)
    assert line["y"][at] == pytest.approx(runs["test"].mean(), rel=1e-5)
    assert line["runs"][at] == list(runs["run_id"]) and "3 seeds" in line["texts"][at]
    dots = [s for s in panels[2]["series"] if s["kind"] == "points" and len(s["runs"]) == 15]
    assert len(dots) == 1 and f"run {dots[0]['runs'][0][0]}" in dots[0]["texts"][0]
