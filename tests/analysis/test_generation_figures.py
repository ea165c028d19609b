"""Figures of tasks that generate: further metrics, samples, reference lines, the paper's curves beside."""

from __future__ import annotations

import math
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from support.records import generated, synthetic
from support.records.synthetic import GOOD, hill

from analysis.data.metrics import further_metrics, metric_title
from analysis.data.studies import split
from analysis.data.table import Study
from analysis.figures.convergence import draw_convergence
from analysis.figures.elements import energy_title, references
from analysis.figures.further_metrics import draw_further_metrics
from analysis.figures.samples import DISTANCES, draw_samples
from analysis.paper.figures.generation import draw_generation
from analysis.paper.figures.hyperspherical import draw_hyperspherical
from analysis.paper.records import gather
from analysis.paper.report import draw as draw_paper
from analysis.report import draw as draw_report
from study.errors import UsageError

LRS = [1e-3, 1e-2, 1e-1]
CURVES = {"ether": hill(-2, 3, noise=0.02), "lora": hill(-3, 1, noise=0.02)}


def study_in(folder: Path) -> Study:
    (study,) = split(folder)
    return study


@pytest.fixture
def study(tmp_path: Path) -> Study:
    return study_in(generated.write(tmp_path / "results" / "s", generated.records(CURVES, LRS, 3)))


def colours_in(path: Path) -> set[tuple[int, ...]]:
    pixels = np.asarray(Image.open(path).convert("RGB")).reshape(-1, 3)
    values, counts = np.unique(pixels, axis=0, return_counts=True)
    return {tuple(map(int, value)) for value, count in zip(values, counts, strict=True) if count > 1000}


def test_further_metrics_are_drawn_with_their_direction_and_their_values(
    study: Study, tmp_path: Path
) -> None:
    metrics = further_metrics(study.runs)
    assert [metric.title for metric in metrics] == ["Fréchet distance (lower is better)", "pixel accuracy"]
    assert draw_further_metrics(study, tmp_path) == tmp_path / "further_metrics.png"
    plotted = pd.read_csv(tmp_path / "further_metrics.csv")
    assert set(plotted["figure"]) == {metric.column for metric in metrics}
    runs = study.runs
    cell = runs[(runs["method"] == "lora") & (runs["lr"] == 1e-2)]["metric.frechet_distance"]
    row = plotted.query("label == 'lora' and lr == 0.01 and figure == 'metric.frechet_distance'").iloc[0]
    half = 4.302653 * cell.std() / math.sqrt(3)  # Student's t with two degrees of freedom
    assert (row["mean"], row["low"]) == (pytest.approx(cell.mean()), pytest.approx(cell.mean() - half))


def test_the_grid_shows_the_first_seed_of_every_method_and_rate(study: Study, tmp_path: Path) -> None:
    path = draw_samples(study, tmp_path)
    assert path is not None
    cells = pd.read_csv(tmp_path / "samples.csv")
    places = {(row.label, row.lr): (row.row, row.column, row.seed) for row in cells.itertuples()}
    assert places == {
        (label, lr): (row, column, 0)
        for row, label in enumerate(CURVES)
        for column, lr in enumerate(LRS)
    }  # fmt: skip
    shown = colours_in(path)
    for run in study.runs.to_dict("records"):
        assert (generated.colour_of(run) in shown) == (run["seed"] == 0), run["run_id"]
    assert (0, 0, 0) in shown  # the control


def test_untrained_runs_are_placed_by_their_distance(tmp_path: Path) -> None:
    distances = {"ether": [2.0, 2.0, 2.0], "naive": [0.01, 1.0, 1e3]}
    made = generated.records({name: hill(-2, 3) for name in distances}, [1.0], 3, steps=0)
    for record in made:
        row = record["row"]
        row["weight_distance"], row["task.noise"] = distances[row["method"]][row["seed"]], row["seed"]
    study = study_in(generated.write(tmp_path / "p", made))
    path = draw_samples(study, tmp_path)
    cells = pd.read_csv(tmp_path / "samples.csv")
    # Eight places, 5/7 of a decade apart, from 0.01 to 1000: 2 is nearest to the fourth, 1 to the fourth too.
    assert list(zip(cells["method"], cells["column"], cells["weight_distance"], strict=True)) == [
        ("ether", 3, 2.0), ("naive", 0, 0.01), ("naive", 3, 1.0), ("naive", DISTANCES - 1, 1e3),
    ]  # fmt: skip
    assert cells["seed"].tolist() == [0, 0, 1, 2]
    assert path is not None and generated.colour_of(study.runs.iloc[0].to_dict()) in colours_in(path)


def test_untrained_runs_of_other_subjects_are_left_out(tmp_path: Path) -> None:
    made = generated.records({"ether": hill(-2, 3)}, [1.0], 3, steps=0)
    for record in made:
        record["row"]["weight_distance"] = 10.0 ** record["row"]["seed"]
    for subjects, seeds in ((False, [0, 1, 2]), (True, [0])):
        study = study_in(generated.write(tmp_path / f"p{subjects}", made, subjects=subjects))
        draw_samples(study, tmp_path)
        assert pd.read_csv(tmp_path / "samples.csv")["seed"].tolist() == seeds


def test_without_pictures_or_further_metrics_there_is_no_such_figure(tmp_path: Path) -> None:
    folder = synthetic.write(tmp_path / "s", synthetic.records(CURVES, LRS, 2))
    page = draw_report(folder).read_text()
    assert not list(folder.rglob("samples*")) and not list(folder.rglob("further_metrics*"))
    assert "One test example" not in page and "composed of sprites" not in page
    assert {line.name for line in references(study_in(folder), "test")} == {"frozen base model", "chance"}


def test_the_report_has_them_from_tables_and_samples_alone(study: Study, tmp_path: Path) -> None:
    assert study.folder is not None
    page = draw_report(study.folder).read_text()
    assert "One test example" in page and "composed of sprites, not photographs" in page
    first = {path.name: path.read_bytes() for path in (study.folder / "figures").iterdir()}
    copied = tmp_path / "elsewhere" / "s"
    copied.mkdir(parents=True)
    for name in ("runs.parquet", "history.parquet", "layers.parquet"):
        shutil.copy(study.folder / name, copied)
    shutil.copytree(study.folder / "samples", copied / "samples")
    draw_report(copied)
    assert {path.name: path.read_bytes() for path in (copied / "figures").iterdir()} == first


def test_a_picture_that_is_not_what_its_run_wrote_is_refused(
    study: Study, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert study.folder is not None
    file = study.folder / "samples" / "ether-0.001-0.png"
    file.write_bytes(file.read_bytes()[:-20])
    with pytest.raises(UsageError, match=r"ether-0\.001-0\.png is not what its run wrote"):
        draw_samples(study, tmp_path)
    shutil.rmtree(study.folder / "samples")
    assert draw_samples(study, tmp_path) is None
    assert "the pictures of 18 runs are not there" in capsys.readouterr().out


def baseline(folder: Path, **columns: object) -> None:
    """Encoders trained alone at two rates: .3 is better on validation, though worse on test."""
    made = []
    for rate, valid, test in ((1e-3, 0.3, 0.31), (1e-2, 0.2, 0.4)):
        for record in generated.records({"lora": lambda lr, seed: 0.0}, [1e-12], 2):
            record["row"] |= {"sweep": "encoder_alone", "task.head_lr": rate, "valid": valid, "test": test}
            record["row"] |= columns | {"run_id": f"{rate}-{record['row']['seed']}"}
            made.append(record)
    synthetic.write(folder / "encoder_alone", made)


def test_reference_lines_are_real_data_encoder_alone_base_model_and_chance(study: Study) -> None:
    assert study.folder is not None
    baseline(study.folder.parent)
    test, valid = (
        {line.name: line.value for line in references(study, split)} for split in ("test", "valid")
    )
    assert test == pytest.approx(
        {"real data": 0.95, "encoder alone": 0.31, "frozen base model": 0.2, "chance": 0.05}
    )
    assert (valid["real data"], valid["encoder alone"]) == (pytest.approx(0.9), pytest.approx(0.3))
    for columns in ({"task.data": "portraits-upright"}, {"task.sampling_steps": 50}, {"scale": "paper"}):
        baseline(study.folder.parent, **columns)
        study.runs["task.sampling_steps"] = 6
        assert "encoder alone" not in {line.name for line in references(study, "test")}, columns


def test_every_line_of_figure_six_is_a_mean_over_seeds_at_an_evaluation(study: Study, tmp_path: Path) -> None:
    draw_convergence(study, tmp_path)
    plotted = pd.read_csv(tmp_path / "convergence.csv")
    assert sorted(set(zip(plotted["label"], plotted["lr"], strict=True))) == sorted(
        (label, lr) for label in CURVES for lr in LRS
    )
    ids = study.runs.query("label == 'ether' and lr == 0.1")["run_id"]
    by_hand = study.history[study.history["run_id"].isin(ids)].groupby("step")["valid"].mean()
    line = plotted.query("label == 'ether' and lr == 0.1").set_index("step")["mean"]
    assert line.to_dict() == pytest.approx(by_hand.to_dict())


def test_figure_five_has_our_values_and_the_papers(study: Study, tmp_path: Path) -> None:
    draw_generation(study, tmp_path)
    plotted = pd.read_csv(tmp_path / "generation.csv")
    paper = plotted[plotted["figure"] == "paper"].set_index(["label", "lr"])["mean"]
    assert len(paper) == 4 * 6 and paper["ether_plus", 1e-3] == 27.3 and paper["naive", 1e-2] == 0.7
    ours = plotted[plotted["figure"] == "test"].set_index(["label", "lr"])["mean"]
    assert ours.to_dict() == pytest.approx(study.runs.groupby(["label", "lr"])["test"].mean().to_dict())
    assert set(plotted["figure"]) == {"test", "metric.frechet_distance", "paper"}


@pytest.mark.parametrize("energy", [None, "oft"])
def test_the_papers_energies_stand_beside_ours_in_the_same_measure_alone(
    energy: str | None, tmp_path: Path
) -> None:
    made = generated.records(GOOD, LRS, 2, **{"task.energy": energy})
    study = study_in(synthetic.write(tmp_path / "h", made))
    assert ("OFT" in energy_title(study.runs)) == (energy == "oft")
    draw_hyperspherical(study, tmp_path)
    plotted = pd.read_csv(tmp_path / "hyperspherical.csv")
    papers = plotted[plotted["label"].str.endswith("(paper)")].set_index("label")["mean"].to_dict()
    assert papers == ({"ether_plus (paper)": 0.0132, "naive (paper)": 0.0019} if energy else {})


@pytest.mark.slow
def test_the_papers_report_draws_what_there_is_of_generation(tmp_path: Path) -> None:
    generated.write(tmp_path / "lr_grid_s2i", generated.records(GOOD, LRS, 2))
    upright = {"task.data": "portraits-upright"}
    untrained = generated.records(GOOD, [1.0], 2, steps=0, sweep="perturbation", **upright)
    for record in untrained:
        record["row"] |= {"task.noise": 0.1 + record["row"]["seed"], "loss_last": 1.0}
    generated.write(tmp_path / "reference" / "perturbation_s2i", untrained)
    drawn = draw_paper(gather(tmp_path), tmp_path)
    names = [str(each.path.relative_to(tmp_path / "paper" / "figures")) for each in drawn]
    of_grid = ["generation", "convergence", "distances", "samples"]
    assert names == [
        *(f"s2i/{name}.png" for name in of_grid),
        *(f"s2i_perturbation/{name}.png" for name in ("samples", "perturbation")),
    ]
    assert all("not photographs" in each.caption for each in drawn)


def test_score_axes_say_where_less_is_better() -> None:
    lower = synthetic.runs(CURVES, LRS, 2, higher_is_better=False, metric="perplexity")
    assert metric_title(lower) == "perplexity (lower is better)"
    assert metric_title(synthetic.runs(CURVES, LRS, 2)) == "accuracy"
