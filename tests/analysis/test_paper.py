"""`python -m analysis.paper` on records that are there in part."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from support.records import synthetic
from support.records.synthetic import GOOD, hill

from analysis.data.studies import GLUE_MINIATURES
from analysis.paper.report import FIGURES, main

pytestmark = pytest.mark.slow


def test_it_makes_what_records_allow_and_names_the_rest(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = synthetic.records(GOOD)
    for record in made:
        record["layers"] = [{"layer": "a", "side": "in", "transform_distance": 1.0}]
    synthetic.write(tmp_path / "lr_grid", made)
    assert main(["--results", str(tmp_path)]) == 0
    output = capsys.readouterr().out
    for name in ("perturbation", "hyperspherical", "blocks_lr", "mechanism"):
        assert f"no records of {name}: python -m study.sweep {name}" in output
    assert "no records of lr_grid_instruct: python -m study.sweep lr_grid task=instruct\n" in output
    for subset in GLUE_MINIATURES:
        command = f"python -m study.sweep lr_grid task=glue task.subset={subset}\n"
        assert f"no records of lr_grid_glue_{subset}: {command}" in output
    assert "no records of lr_grid:" not in output
    claims = pd.read_csv(tmp_path / "paper" / "claims.csv").fillna("")
    verdicts = claims[claims["part"] == ""].set_index("claim")["verdict"]
    assert verdicts["C7"] == verdicts["C8"] == "no records" and verdicts["C1"] != "no records"
    page = (tmp_path / "paper" / "report.html").read_text()
    assert page.count('src="data:image/svg+xml,') == sum(name == "lr_grid" for name, _, _ in FIGURES)
    assert "python -m study.sweep perturbation" in page
    assert "python -m study.sweep glue_paper" in page and ">90.65</td>" in page  # MNLI, LoRA, as printed


def test_an_incomplete_grid_is_missing_and_not_an_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    synthetic.write(tmp_path / "lr_grid", synthetic.records({"ether": hill(-2, 3)}))
    assert main(["--results", str(tmp_path)]) == 0
    assert "no records of lr_grid: python -m study.sweep lr_grid\n" in capsys.readouterr().out


def test_with_every_study_every_claim_is_judged(tmp_path: Path) -> None:
    def write(name: str, methods: list[str], columns: dict[str, list], lrs: list[float]) -> None:
        made = []
        first = next(iter(columns))
        for values in columns[first]:
            for method in methods:
                for record in synthetic.records({method: hill(-2, 3)}, lrs, 3):
                    record["row"] |= {first.replace("METHOD", method): values, "transform_distance": 1.0}
                    for other, constant in list(columns.items())[1:]:
                        record["row"][other.replace("METHOD", method)] = constant[0]
                    made.append(record)
        for index, record in enumerate(made):
            record["row"]["run_id"] = f"{index}"
            record["layers"] = [{"layer": "a", "side": "in", "transform_distance": 1.0}]
        synthetic.write(tmp_path / name, made)

    everyone = ["ether", "ether_plus", "lora", "oft", "naive"]
    write("lr_grid", everyone, {"method.METHOD.blocks": [4]}, synthetic.LRS)
    write("perturbation", everyone, {"task.noise": [0.1, 1.0]}, [1.0])
    write("hyperspherical", ["ether", "oft"], {"method.METHOD.blocks": [4]}, [1e-3, 1e-2])
    write("blocks", ["ether", "ether_plus"], {"method.METHOD.blocks": [1, 4, 16]}, [1e-3, 1e-2])
    held = {"method.METHOD.init_scale": [0.1, 1.0, 10.0], "method.METHOD.renormalise": [False]}
    write("mechanism", ["ether", "ether_plus"], held, [1e-3, 1e-2])
    glue = {"method.METHOD.blocks": [4], "task": ["glue"], "task.subset": ["similarity"]}
    write("lr_grid_glue_similarity", everyone, glue | {"metric": ["correlation"]}, [1e-3, 1e-2])
    instruct = {"method.METHOD.blocks": [4], "task": ["instruct"], "metric": ["exact_match"]}
    write("lr_grid_instruct", everyone, instruct, [1e-3, 1e-2])
    assert main(["--results", str(tmp_path)]) == 0
    claims = pd.read_csv(tmp_path / "paper" / "claims.csv").fillna("")
    assert "no records" not in set(claims["verdict"])
    page = (tmp_path / "paper" / "report.html").read_text()
    assert (
        page.count('src="data:image/svg+xml,')
        == len(FIGURES) + 2 + 3 + 2  # grids; ranks, travel, profiles; Tables 4 and 5 beside
        and "moves the learning-rate axis" in page
    )
    for where in ("glue_similarity", "instruct"):
        assert (tmp_path / "paper" / "figures" / where / "robustness.png").exists()
    assert "<th>similarity (correlation)</th>" in page and "<th>exact_match</th>" in page
    for claim in ("C1", "C2", "C3", "C6", "C8"):
        parts = claims[(claims["claim"] == claim) & (claims["part"] != "")]["part"]
        counts = [parts.str.endswith(end).sum() for end in (", glue similarity", ", instruct")]
        assert counts == [len(parts) / (2 if claim == "C8" else 3)] * 2, claim
    for number, across in ((4, "similarity"), (5, "exact_match")):
        table = pd.read_csv(tmp_path / "paper" / f"table{number}.csv")
        ours = table[table.iloc[:, 3] == across]
        assert len(ours) == 6 and ours["ours"].notna().all() and set(ours["scale"]) == {"mini"}
    assert len(pd.read_csv(tmp_path / "paper" / "mechanism.csv")) == 6
