"""The results table as LaTeX (booktabs), Markdown and CSV."""

from __future__ import annotations

import pandas as pd

from analysis.exporting.bibliography import key_of
from analysis.exporting.results_table import TITLES, WORSE_MARK, Figure, ResultsTable
from analysis.reporting.number_text import number_text

SPECIAL = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_",
    "{": r"\{", "}": r"\}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "|": r"$|$",
    "≥": r"$\ge$", "−": r"$-$", "<": r"$<$", ">": r"$>$", "±": r"$\pm$", "³": r"$^3$", "–": "--",
}  # fmt: skip


def latex_text(text: str) -> str:
    """Text in which nothing is a command."""
    return "".join(SPECIAL.get(letter, letter) for letter in text)


def latex(table: ResultsTable, label: str) -> str:
    r"""A table environment, shrunk where the text is narrower; it needs \usepackage{booktabs,graphicx}.

    Args:
        label: behind `tab:`.
    """
    titles = [title.format(latex_text(table.score_title)) for title in TITLES]
    lines = [
        r"\begin{table}",
        r"  \centering\small",
        f"  \\caption{{{latex_text(table.caption)}}}",
        f"  \\label{{tab:{label}}}",
        r"  \resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%",
        r"  \begin{tabular}{lrllrrr}",
        r"    \toprule",
        f"    {' & '.join(titles)} \\\\",
        r"    \midrule",
    ]
    for row in table.rows:
        key = key_of(row.method)
        name = latex_text(row.name) + (f"~\\citep{{{key}}}" if key else "")
        figures = [_latex_figure(figure) for figure in (row.score, row.sensitivity)]
        rest = [latex_text(text) for text in (row.plateau, row.diverged, row.parameters)]
        lines.append(f"    {' & '.join([name, row.rate, *figures, *rest])} \\\\")
    return "\n".join([*lines, r"    \bottomrule", r"  \end{tabular}}", r"\end{table}", ""])


def _latex_figure(figure: Figure) -> str:
    value, interval = figure_parts(figure)
    value = f"\\textbf{{{value}}}" if figure.is_best else value
    value += f"$^{{{WORSE_MARK}}}$" if figure.is_worse else ""
    return value + (f" {{\\scriptsize {interval}}}" if interval else "")


def markdown(table: ResultsTable) -> str:
    """The caption and a table of GitHub's kind."""
    titles = [title.format(table.score_title) for title in TITLES]
    lines = [table.caption, "", _markdown_row(titles), _markdown_row(["---"] + ["---:"] * (len(titles) - 1))]
    for row in table.rows:
        cells = [row.name, row.rate]
        for figure in (row.score, row.sensitivity):
            value, interval = figure_parts(figure)
            value = f"**{value}**" if figure.is_best else value
            value += f"\\{WORSE_MARK}" if figure.is_worse else ""
            cells.append(f"{value} {interval}".strip())
        lines.append(_markdown_row([*cells, row.plateau, row.diverged, row.parameters]))
    return "\n".join([*lines, ""])


def _markdown_row(cells: list[str]) -> str:
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def figure_parts(figure: Figure) -> tuple[str, str]:
    """A figure's mean and its interval as text."""
    return number_text(figure.value), figure.interval


def as_frame(table: ResultsTable) -> pd.DataFrame:
    """The table with its numbers in full, for a CSV."""
    rows = []
    for row in table.rows:
        figures: dict[str, float | bool] = {}
        for name, figure in (("score", row.score), ("sensitivity", row.sensitivity)):
            figures |= {name: figure.value, f"{name}_low": figure.low, f"{name}_high": figure.high}
            figures |= {f"{name}_is_best": figure.is_best, f"{name}_is_worse": figure.is_worse}
        named = {"method": row.method, "label": row.label, "name": row.name, "rate": row.rate}
        rows.append(
            named | figures | {"plateau": row.plateau, "diverged": row.diverged, "parameters": row.parameters}
        )
    return pd.DataFrame(rows).assign(metric=table.score_title)
