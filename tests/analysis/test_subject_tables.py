"""Tables 2 and 11, claims and missing records of subject-driven generation."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from support.records import generated, synthetic
from support.records.synthetic import GOOD

from analysis.data.studies import SUBJECT, key_of, read_all
from analysis.paper.claims.judge import decide
from analysis.paper.image_tables import naive_against_oft, sides_table, subject_table
from analysis.paper.published import printed
from analysis.paper.records import gather

PAPER = {"scale": "paper", "task.data": "dreambooth"}
SCORES = {"ether": 0.5, "ether_plus": 0.6, "lora": 0.55, "oft": 0.56, "naive": 0.53}


def made(scores: dict[str, float], **columns: object) -> list[dict]:
    """Runs at one rate that score as they should, and at a worse one."""
    curves = {m: lambda x, seed, score=score: score if x == -3 else 0.2 for m, score in scores.items()}
    return generated.subjects(curves, [1e-3, 1e-1], 3, **columns)


def cell(table: pd.DataFrame, method: str, score: str) -> pd.Series:
    (row,) = table[(table["method"] == method) & (table["score"] == score)].to_dict("records")
    return pd.Series(row)


def test_table_2_by_hand(tmp_path: Path) -> None:
    synthetic.write(tmp_path / "lr_grid_subject", made(SCORES))
    table = subject_table(gather(tmp_path).images)
    mini = table[table["scale"] == "mini"]
    expected = {"fidelity": 60.0, "subject_fidelity": 70.0, "prompt_fidelity": 50.0}
    assert {name: cell(mini, "ether_plus", name)["ours"] for name in expected} == pytest.approx(expected)
    beside = {
        ("base", "fidelity"): 30, ("base", "prompt_fidelity"): 90, ("real", "subject_fidelity"): 99,
        ("repeated", "fidelity"): 52, ("repeated", "prompt_fidelity"): 35,
    }  # fmt: skip
    assert {key: cell(mini, *key)["ours"] for key in beside} == pytest.approx(beside)
    assert mini["printed"].isna().all() and len(table) - len(mini) == len(printed(2)) == 24


def test_table_2_has_the_printed_numbers_beside_the_same_method(tmp_path: Path) -> None:
    records = made(SCORES | {"full": 0.5}, **PAPER, **{"metric.lpips": 0.7, "metric.clip_image": 0.8})
    for record in records:
        record["row"]["method.lora.r"] = 4 if record["row"]["method"] == "lora" else None
    synthetic.write(tmp_path / "lr_grid_subject_paper", records)
    table = subject_table(gather(tmp_path).images)
    of_paper = {name: cell(table, name, "subject_fidelity")["printed"] for name in [*SCORES, "full"]}
    assert of_paper == {
        "ether": 56.7, "ether_plus": 66.6, "lora": 66.0, "oft": 65.2, "naive": 64.8, "full": 64.4,
    }  # fmt: skip
    assert cell(table, "lora", "lpips")[["ours", "printed"]].tolist() == pytest.approx([70, 71.4])
    assert table["ours"].notna().sum() == table["study"].notna().sum()  # nothing printed is left alone
    six = naive_against_oft(gather(tmp_path).grids).set_index("score")["printed"].to_dict()
    assert six["subject fidelity"] == pytest.approx(-0.4) and six["CLIP-I"] == pytest.approx(-0.1)


def test_table_11_is_of_both_sides_of_ether_plus(tmp_path: Path) -> None:
    records = []
    for sides, score in ((1, 0.5), (2, 0.6)):
        columns = PAPER | {"sweep": "hyperspherical", "method.ether_plus.sides": sides}
        for record in made({"ether_plus": score}, **columns):
            record["row"]["run_id"] += f"-{sides}"
            records.append(record)
    synthetic.write(tmp_path / "hyperspherical_subject", [*records, *made({"oft": 0.4}, **PAPER)])
    table = sides_table(gather(tmp_path).energy)
    rows = table[table["score"] == "subject_fidelity"].set_index("options")[["ours", "printed"]]
    assert rows.loc["blocks=4 sides=1"].tolist() == pytest.approx([60, 61.8])
    assert rows.loc["blocks=4 sides=2"].tolist() == pytest.approx([70, 66.6])
    assert "oft" not in set(table["method"])


def test_subjects_are_found_committed_or_named_as_missing(tmp_path: Path) -> None:
    missing = gather(tmp_path).missing()
    assert missing["lr_grid_subject"] == "python -m study.sweep lr_grid task=subject"
    assert missing["perturbation_subject"] == "python -m study.sweep perturbation task=subject"
    assert missing["hyperspherical_subject"] == "python -m study.sweep hyperspherical task=subject"
    for sweep in ("lr_grid", "perturbation", "hyperspherical"):
        folder = tmp_path / "reference" / f"{sweep}_subject"
        synthetic.write(folder, generated.subjects(GOOD, [1e-2, 1e-1], 3, sweep=sweep))
    records = gather(tmp_path)
    for studies in (records.grids, records.perturbation, records.energy):
        assert [key_of(study) for study in studies] == [SUBJECT]
        assert studies[0].name.startswith("reference/")
    assert not [name for name in records.missing() if name.endswith("_subject")]
    assert [study.name for study in records.images] == ["reference/lr_grid_subject"]


def test_claims_are_judged_on_subjects(tmp_path: Path) -> None:
    """Stated before looking at any records: C8 has one test, whatever the task."""
    synthetic.write(tmp_path / "lr_grid_subject", generated.subjects(GOOD, synthetic.LRS, 5))
    noise = {"sweep": "perturbation", "task.noise": 1.0}
    synthetic.write(tmp_path / "perturbation_subject", generated.subjects(GOOD, [1.0], 5, **noise))
    studies = read_all(tmp_path)
    for claim in ("C2", "C3", "C6", "C8"):
        parts = decide(claim, studies[:1])
        assert parts and {part.study for part in parts} == {"subject"}
    kept = {part.part: part.effect for part in decide("C7", studies[1:])}
    expected = {name: GOOD[name](0, 0) / 0.3 for name in ("ether", "ether_plus", "oft")}
    named = {"ETHER, subject": "ether", "ETHER+, subject": "ether_plus", "OFT, subject": "oft"}
    assert kept == pytest.approx({part: expected[name] for part, name in named.items()})
