"""Figures of subject-driven generation: multiples of the tuned rate, two fidelities, distances and bounds."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from support.records import generated, synthetic
from support.records.synthetic import GOOD, hill

from analysis.data.metrics import further_metrics, trade_off
from analysis.data.studies import split
from analysis.data.table import Study
from analysis.figures.distances import bounds, draw_distances
from analysis.figures.elements import references
from analysis.figures.multiples import at_multiples, draw_multiples
from analysis.figures.plane import draw_plane
from analysis.paper.first_screen import draw_first_screen, main

LRS = [1e-4, 1e-3, 1e-2, 3.16e-2, 1e-1]
CURVES = {"ether": hill(-3, 3, 0.7, noise=0.02), "lora": hill(-2, 1, 0.7), "naive": hill(-4, 1, 0.7)}


def study_in(folder: Path) -> Study:
    (study,) = split(folder)
    return study


@pytest.fixture
def study(tmp_path: Path) -> Study:
    return study_in(generated.write(tmp_path / "results" / "s", generated.subjects(CURVES, LRS, 3)))


def test_every_method_is_shown_at_multiples_of_its_own_tuned_rate(study: Study, tmp_path: Path) -> None:
    cells = {(c.run["label"], c.column): (c.run["lr"], c.run["seed"], c.text) for c in at_multiples(study)}
    score = {m: f"{curve(-2, 0):.2f}" for m, curve in CURVES.items()}
    assert {key: lr for key, (lr, _, _) in cells.items()} == {
        ("ether", 0): 1e-4, ("ether", 1): 1e-3, ("ether", 2): 1e-2, ("ether", 3): 1e-1,
        ("lora", 0): 1e-3, ("lora", 1): 1e-2, ("lora", 2): 1e-1,
        ("naive", 1): 1e-4, ("naive", 2): 1e-3, ("naive", 3): 1e-2,
    }  # fmt: skip
    assert {seed for _, seed, _ in cells.values()} == {0}
    assert cells["lora", 1][2] == score["lora"] and [c.tuned for c in at_multiples(study)].count(True) == 3
    draw_multiples(study, tmp_path)
    plotted = pd.read_csv(tmp_path / "multiples.csv")
    assert plotted.query("label == 'naive' and times == 100")["lr"].item() == 1e-2


def test_where_a_grid_ends_its_last_rate_is_shown_and_named(tmp_path: Path) -> None:
    made = generated.subjects({"oft": hill(-2, 1, 0.7)}, [1e-2, 1e-1, 3.16e-1], 1)
    study = study_in(generated.write(tmp_path / "s", made))
    last = at_multiples(study)[-1]
    assert (last.column, last.run["lr"]) == (3, 3.16e-1) and last.text.startswith("32x: ")
    assert [cell.column for cell in at_multiples(study)] == [1, 2, 3]  # nothing is below the tuned rate


def test_untrained_runs_and_those_without_pictures_have_no_such_figure(tmp_path: Path) -> None:
    untrained = generated.write(tmp_path / "u", generated.subjects(CURVES, [1.0], 2, steps=0))
    assert draw_multiples(study_in(untrained), tmp_path) is None
    assert draw_plane(study_in(untrained), tmp_path) is None
    plain = synthetic.write(tmp_path / "p", synthetic.records(CURVES, LRS, 2))
    assert draw_multiples(study_in(plain), tmp_path) is None and draw_plane(study_in(plain), tmp_path) is None


def test_the_plane_has_means_of_both_metrics_and_what_methods_are_compared_with(
    study: Study, tmp_path: Path
) -> None:
    assert [metric.name for metric in trade_off(study.runs)] == ["subject_fidelity", "prompt_fidelity"]
    draw_plane(study, tmp_path)
    plotted = pd.read_csv(tmp_path / "plane.csv")
    cell = study.runs.query("label == 'ether' and lr == 0.001")["test"]
    row = plotted.query("label == 'ether' and lr == 0.001").iloc[0]
    half = 4.302653 * cell.std() / math.sqrt(3)  # Student's t with two degrees of freedom
    assert (row["x"], row["y"]) == (pytest.approx(cell.mean() + 0.1), pytest.approx(cell.mean() - 0.1))
    assert (row["x_low"], row["y_high"]) == (pytest.approx(row["x"] - half), pytest.approx(row["y"] + half))
    assert plotted.query("tuned == True").set_index("label")["lr"].to_dict() == {
        "ether": 1e-3, "lora": 1e-2, "naive": 1e-4,
    }  # fmt: skip
    points = plotted[plotted["lr"].isna()].set_index("label")[["x", "y"]].round(6)
    assert points.apply(tuple, axis=1).to_dict() == {
        "untouched model": (0.2, 0.9), "training data, repeated": (0.98, 0.35), "real data": (0.99, 0.97),
    }  # fmt: skip


def test_what_stands_in_the_place_of_generated_pictures_is_a_line_and_no_metric(study: Study) -> None:
    names = [metric.name for metric in further_metrics(study.runs)]
    assert names == ["drift", "prompt_fidelity", "subject_fidelity"]
    lines = {line.name: line.value for line in references(study, "test")}
    assert lines == pytest.approx({"training data, repeated": 0.52, "frozen base model": 0.3, "chance": 0.0})


def test_the_bounds_of_distances_by_hand(tmp_path: Path) -> None:
    """Two layers of 64 inputs, four blocks: OFT has 2 * 64^2 / (2 * 4) parameters, bounded by 2 sqrt(64)."""
    made = synthetic.records(GOOD, [1e-2, 1e-1], 2, parameters=1024)
    for record in made:
        record["layers"] = [{"layer": name, "side": "in"} for name in ("a", "b")]
    study = study_in(synthetic.write(tmp_path / "s", made))
    expected = {"ether": 4.0, "ether_plus": math.sqrt(8), "oft": 16.0}
    assert bounds(study) == pytest.approx(expected)
    draw_distances(study, tmp_path)
    plotted = pd.read_csv(tmp_path / "distances.csv")
    drawn = plotted[plotted["figure"] == "bound"].set_index("label")["mean"].to_dict()
    assert drawn == pytest.approx(expected)
    for record in made:
        record["row"]["task.head_lr"] = 1e-3  # a head's parameters are not rotations
    assert "oft" not in bounds(study_in(synthetic.write(tmp_path / "h", made)))


def test_the_first_screen_shows_curves_and_pictures_of_the_records(
    study: Study, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = draw_first_screen(study, tmp_path / "first.png")
    pixels = np.asarray(Image.open(path).convert("RGB")).reshape(-1, 3)
    shown = set(map(tuple, np.unique(pixels, axis=0).tolist()))
    tuned = study.runs.query("label == 'lora' and lr == 0.01 and seed == 0").iloc[0]
    other = study.runs.query("label == 'lora' and lr == 0.01 and seed == 1").iloc[0]
    assert generated.colour_of(tuned.to_dict()) in shown
    assert generated.colour_of(other.to_dict()) not in shown
    assert main([f"study={study.folder}", f"out={tmp_path / 'again.png'}"]) == 0
    assert (tmp_path / "again.png").read_bytes() == path.read_bytes()
    assert main([f"study={study.folder}", "example=2", f"out={tmp_path / 'no.png'}"]) == 2
    assert "example=2: each run of s kept 2; give 0 to 1" in capsys.readouterr().err
