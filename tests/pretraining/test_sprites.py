"""The sprites that ship are those of the npm package: how a package is read, shown on one made here."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from study.pretraining import sprites as script
from study.tasks.miniature.portraits.sprites import Layer

HAIR = 'fill="${escape.xml(`${colors.hair}`)}"'


def module(name: str, **markup: str) -> str:
    lines = [f"    {key}: (components, colors) => `{text}`," for key, text in markup.items()]
    return f"export const {name} = {{\n" + "\n".join(lines) + "\n};\n"


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """A package as @dicebear/pixel-art 9.4.3 is built."""
    components = tmp_path / "package" / "lib" / "components"
    components.mkdir(parents=True)
    (components.parent / "index.js").write_text(
        'body: `<path d="M4 2h8v1z" fill="${escape.xml(`${colors.skin}`)}"/>${(_b = (_a = components.hat)}`'
    )
    for group in script.GROUPS:
        (components / f"{group}.js").write_text(
            module(group, variant01='<path d="M1 1h2v2H1z" fill="#fff"/>')
        )
    (components / "hair.js").write_text(
        module(
            "hair",
            short02=f'<path d="M0 0h2v1H0z" {HAIR}/>',
            short01=f'<g {HAIR} fill-rule="evenodd"><path d="M0 0h1v1H0z"/><path d="M1 0h1v1H1z"/></g>',
            long01=f'<path d="M0 0h9v9H0z" {HAIR}/><path d="M0 0h1v1H0z" fill="#000" fill-opacity=".3"/>',
        )
    )
    (components / "beard.js").write_text(
        module(
            "beard",
            variant01=f'<mask id="b-a"><path opacity=".9" d="M3 6h1v3z" {HAIR}/></mask><g mask="url(#b-a)">'
            f'<path {HAIR} d="M0 0h16v16H0z"/><path fill="#fff" fill-opacity=".3" d="M0 0h16v16H0z"/></g>',
        )
    )
    return tmp_path / "package"


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str | Path) -> None:
    monkeypatch.setattr(sys, "argv", ["sprites.py", *map(str, arguments)])
    script.main()


def test_a_package_becomes_layers(package: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Groups hand their fill to their paths, masks their shape, and what paints the same is kept once."""
    file = tmp_path / "sprites.json"
    run(monkeypatch, "--package", package, "--out", file)
    found = json.loads(file.read_text())
    assert list(found) == ["body", *script.GROUPS]
    assert found["body"] == {"person": [["M4 2h8v1z", "skin", 1.0, "nonzero"]]}
    assert list(found["hair"]) == ["long01", "short01"]  # short02 paints what short01 does
    assert found["hair"]["short01"][0] == ["M0 0h1v1H0z", "hair", 1.0, "evenodd"]
    assert found["hair"]["long01"][1] == ["M0 0h1v1H0z", "#000", 0.3, "nonzero"]
    shape = "M3 6h1v3z"
    assert found["beard"]["variant01"] == [[shape, "hair", 1.0, "nonzero"], [shape, "#fff", 0.3, "nonzero"]]


def test_layers_of_plain_markup() -> None:
    assert script.layers('<path fill="#fff" d="M1 1h1v1z"/>') == [Layer("M1 1h1v1z", "#fff", 1.0, "nonzero")]


def test_a_folder_that_is_no_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        run(monkeypatch, "--package", tmp_path, "--out", tmp_path / "sprites.json")
    assert "no lib/index.js in it; give the unpacked npm package" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
