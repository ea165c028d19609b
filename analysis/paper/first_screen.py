"""`python -m analysis.paper.first_screen`: the paper in one look, for the top of README.

Left, score against learning rate; right, what the same runs generate for one prompt at multiples of each
method's tuned rate, Figure 8 in small. From the records of one study of subject-driven generation, by default
the committed ones, results/reference/lr_grid_subject, into docs/assets/first_screen.png.
"""

from __future__ import annotations

import sys
from pathlib import Path

from matplotlib.figure import Figure, SubFigure

from analysis.command import EXIT
from analysis.data.labels import METHOD_ORDER
from analysis.data.metrics import metric_title, range_of
from analysis.data.pictures import content_of, pictures_of
from analysis.data.studies import split
from analysis.data.table import Study
from analysis.figures.elements import (
    draw_band,
    draw_references,
    mark_tuned,
    metric_of,
    references,
    tuned_rates,
)
from analysis.figures.multiples import at_multiples, draw_grid
from analysis.figures.style import figure_style, method_styles
from analysis.statistics.intervals import seed_means
from study.cli.arguments import Command, Key
from study.errors import UsageError

NAME = "first_screen"


@figure_style()
def draw_first_screen(study: Study, path: Path, example: int = 0) -> Path:
    """Writes the picture.

    Args:
        example: which of the test examples that runs keep.

    Raises:
        UsageError: if runs kept no pictures, or fewer.
    """
    cells = [cell for cell in at_multiples(study) if cell.run["method"] in METHOD_ORDER]
    if not cells:
        raise UsageError(f"{study.name}: its runs kept no pictures of trained models")
    kept = len(next(iter(pictures_of(study, cells[0].run).values())))
    if example >= kept:
        raise UsageError(f"example={example}: each run of {study.name} kept {kept}; give 0 to {kept - 1}")
    figure = Figure(figsize=(11.0, 4.6), layout="constrained")
    halves = figure.add_gridspec(1, 2, width_ratios=[1.15, 1.0])
    left, right = (figure.add_subfigure(halves[0, half]) for half in range(2))
    _draw_scores(left, study)
    draw_grid(right, study, cells, example, text=False)
    if content := content_of(study.runs):
        right.supxlabel(f"{right.get_supxlabel()}\n{content}", fontsize="small")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, metadata={"Software": None}, dpi=120)
    return path


def _draw_scores(figure: SubFigure, study: Study) -> None:
    """Test score against learning rate, a line per label with its interval."""
    axes = figure.subplots()
    runs = study.runs[study.runs["counted"]].sort_values(["rank", "lr"])
    means = seed_means(runs, ["label", "lr"], "test")
    styles, tuned = method_styles(study.labels, study.method_of), tuned_rates(study)
    draw_references(axes, references(study, "test"), in_legend=True)
    for label in study.labels:
        points = means[means["label"] == label]
        draw_band(axes, points["lr"], points, styles[label], limits=range_of(metric_of(runs)))
        if label in tuned:
            mark_tuned(axes, points, tuned[label], styles[label])
    axes.set(xscale="log", xlabel="learning rate", ylabel=f"test {metric_title(runs)}")
    handles, names = axes.get_legend_handles_labels()
    figure.legend(handles, names, loc="outside lower center", ncols=4, fontsize=8)


COMMAND = Command(
    "analysis.paper.first_screen",
    __doc__,
    keys={
        "study": Key("folder of the study", "results/lr_grid_subject", "results/reference/lr_grid_subject"),
        "example": Key(
            "which of the pictures that runs keep, from 0",
            "2",
            "0",
            refuse=lambda value: "" if value.isdigit() else "give a whole number from 0",
        ),
        "out": Key("file to write", "first.png", f"docs/assets/{NAME}.png"),
    },
    exit=EXIT,
)


def main(arguments: list[str]) -> int:
    return COMMAND.run(arguments, lambda parsed: make(**parsed.keys))


def make(study: str, example: str, out: str) -> int:
    """Draws the picture from a study's folder.

    Raises:
        UsageError: if there is no such study, or its runs kept no such example.
    """
    print(draw_first_screen(split(Path(study))[0], Path(out), int(example)))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
