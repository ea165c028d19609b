"""`python -m analysis.compare NAME`: redraws the comparison of new methods with a baseline.

NAME, or its folder results/compare/NAME, is a study of `python -m study.compare`: its tables, and
compare.json, which names the baseline, each run's label and what each method costs. Writes report.html, one
file that needs nothing else; comparison.csv, verdicts.csv, costs.csv, robustness.csv; and figures/ (PNG, PDF
and CSV each). With width=column or width=page the figures alone are drawn, for print, into figures/column
or figures/page.

Every difference is new minus baseline, paired by seed, with its 95 % Student interval; the p-values of
all rows of the table together are corrected by Holm's method (Holm 1979).
"""

from __future__ import annotations

import sys
from pathlib import Path

import pandas as pd

from analysis.command import EXIT, LOOK, RESULTS, draw_report
from analysis.comparison import pareto
from analysis.comparison.compared import Compared, read
from analysis.comparison.costs import COSTS, costs_table
from analysis.comparison.rows import comparison_rows, cost_rows, describe_power
from analysis.comparison.sentences import sentences
from analysis.comparison.table import comparison_table
from analysis.figures.look import ON_SCREEN, Look, looking, ordered
from analysis.figures.style import method_styles
from analysis.reporting.many import pairs_section
from analysis.reporting.page import Picture, records, render_page
from analysis.reporting.pictures import draw_every, folder_of
from analysis.reporting.sections import study_sections
from analysis.statistics.robustness import robustness_table
from study.cli.arguments import Command


def tables(study: Compared) -> dict[str, pd.DataFrame]:
    """What is saved as NAME.csv: robustness, comparison, costs and verdicts."""
    comparison, costs = comparison_table(study), costs_table(study)
    return {
        "robustness": robustness_table(study.runs),
        "comparison": comparison,
        "costs": costs,
        "verdicts": sentences(study.names, comparison, costs, study.runs),
    }


def draw(folder: Path, look: Look = ON_SCREEN) -> Path:
    """Redraws everything for the comparison in `folder`; returns the report's path.

    With a width the figures alone are drawn, into a folder of their own, and its path is returned.

    Raises:
        AnalysisError: if the records are missing, damaged, or cannot be compared.
        UsageError: if the look names a method that is not compared.
    """
    folder = Path(folder)
    study = read(folder)
    of_study = look.of(study)
    drawn = ordered(study, of_study)
    figures = folder_of(folder / "figures", look)
    with looking(of_study):
        pictures = [Picture(pareto.draw_pareto(drawn, figures), pareto.CAPTION), *draw_every(drawn, figures)]
    if look.width:
        return figures
    by_name = tables(study)
    for name, table in by_name.items():
        table.to_csv(folder / f"{name}.csv", index=False)
    report = folder / "report.html"
    report.write_text(page(study, by_name, pictures), encoding="utf-8")
    return report


def page(study: Compared, by_name: dict[str, pd.DataFrame], pictures: list[Picture]) -> str:
    """The report in HTML.

    Args:
        by_name: `tables` of the study.
    """
    runs, table, comparison = study.runs, by_name["robustness"], by_name["comparison"]
    styles = method_styles(study.labels, study.method_of)
    truncated = set(table.loc[table["regret_window_truncated"] != "none", "label"])
    return render_page(
        "compare",
        study.folder or Path(),
        records=records(study.folder or Path()),
        study=study,
        runs=runs,
        colours={label: style.colour for label, style in styles.items()},
        verdicts=by_name["verdicts"].groupby("label", sort=False)["sentence"].apply(list).to_dict(),
        comparison=comparison_rows(comparison, truncated),
        power=describe_power(comparison),
        cost_titles=COSTS,
        costs=cost_rows(by_name["costs"]),
        pictures=pictures,
        **pairs_section(study),
        made_by=[*sorted(set(runs["versions"])), *sorted(set(runs["device"]))],
        **study_sections(study, table),
    )


COMMAND = Command(
    "analysis.compare", __doc__, name="NAME_OR_FOLDER", keys={"results": RESULTS, **LOOK}, exit=EXIT
)


def main(arguments: list[str]) -> int:
    return COMMAND.run(arguments, lambda parsed: draw_report(draw, parsed, "compare.json"))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
