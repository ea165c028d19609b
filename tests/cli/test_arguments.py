"""The grammar of all commands: what it sorts, what it refuses, and its help."""

from __future__ import annotations

import pytest

from study.cli.arguments import Command, Key
from study.errors import UsageError

KEYS = {
    "limit": Key("examples", "20", refuse=lambda value: "" if value.isdigit() else "must be a number"),
    "results": Key("where studies are", "FOLDER", default="results"),
}
ONE = Command("study.one", "Does one thing.", name="NAME", keys=KEYS)
SWEEPING = Command(
    "study.sweeping",
    "Sweeps.",
    name="NAME",
    is_override=lambda argument: "=" in argument,
    switches={"dry_run"},
)
NAMELESS = Command("study.nameless", "Does all.", keys=KEYS)


@pytest.mark.parametrize("arguments", [
    ["a", "limit=3"], ["limit=3", "a"], ["a", "--limit", "3"], ["a", "--limit=3"], ["--limit", "3", "a"],
    ["a", "limit=4", "--limit", "3"],
])  # fmt: skip
def test_ways_to_write_a_key(arguments: list[str]) -> None:
    assert ONE.parse(arguments) == (["a"], {"limit": "3", "results": "results"}, [])


@pytest.mark.parametrize("arguments,overrides", [
    (["--seeds", "3", "a"], ["seeds=3"]),
    (["a", "--seeds=3"], ["seeds=3"]),
    (["a", "--pack-size", "3"], ["pack_size=3"]),
    (["--dry_run", "a"], ["dry_run=true"]),
    (["a", "--dry-run"], ["dry_run=true"]),
    (["a", "--dry-run", "false"], ["dry_run=false"]),
    (["a", "--dry_run=false"], ["dry_run=false"]),
    (["a", "--method.lora.r", "4", "--lr=1,2"], ["method.lora.r=4", "lr=1,2"]),
])  # fmt: skip
def test_ways_to_write_an_override(arguments: list[str], overrides: list[str]) -> None:
    assert SWEEPING.parse(arguments) == (["a"], {}, overrides)


def test_overrides_are_passed_on_as_they_are() -> None:
    arguments = ["a", "lr=1e-3,1e-2", "+method.lora.r=2"]
    assert SWEEPING.parse(arguments) == (["a"], {}, arguments[1:])


@pytest.mark.parametrize("command,arguments,message", [
    (ONE, ["a", "limits=3"], "unknown key 'limits'; nearest: limit"),
    (ONE, ["a", "--limits", "3"], "unknown option --limits; nearest: limit"),
    (ONE, ["a", "--limit"], "--limit needs a value, such as --limit=20"),
    (ONE, ["a", "limit=x"], "limit=x: must be a number"),
    (ONE, ["a", "--limit", "x"], "limit=x: must be a number"),
    (ONE, ["a", "limit="], "'limit=' is not an option; write key=value, such as limit=20"),
    (ONE, ["a", "b"], "'b' is not an option; write key=value, such as limit=20"),
    (ONE, ["limit=3"], "no NAME given; see python -m study.one --help"),
    (SWEEPING, ["a", "dry_run"], "'dry_run' is not an override; write key=value, such as seeds=3"),
    (SWEEPING, ["a", "--seeds"], "--seeds needs a value, such as --seeds=VALUE"),
    (SWEEPING, ["a", "--multirun"], "--multirun: leave it out; lr=1e-3,1e-2 makes a grid as it is"),
    (SWEEPING, ["-m", "a"], "-m: leave it out"),
    (NAMELESS, ["a"], "'a' is not an option"),
])  # fmt: skip
def test_wrong_usage(command: Command, arguments: list[str], message: str) -> None:
    with pytest.raises(UsageError) as raised:
        command.parse(arguments)
    assert str(raised.value).startswith(message)


def test_help_and_exit_codes(capsys: pytest.CaptureFixture[str]) -> None:
    for arguments, code in ((["--help"], 0), (["a", "-h"], 0), ([], 2)):
        assert ONE.run(arguments, lambda parsed: 7) == code
        lines = capsys.readouterr().out.splitlines()
        assert lines[:3] == ["usage: python -m study.one NAME [key=value ...]", "", "Does one thing."]
        assert "keys     limit=20        examples" in lines and lines[-1]
    assert ONE.run(["a", "nonsense"], lambda parsed: 7) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert ONE.run(["a"], lambda parsed: 7) == 7 and NAMELESS.run([], lambda parsed: 7) == 7


def test_long_texts_are_wrapped_beside_their_key() -> None:
    lines = Command("m", "x", keys={"key": Key("word " * 35, "v")}).help().splitlines()
    rows = [line for line in lines if "word" in line]
    assert len(rows) == 2 and rows[1].startswith(" " * (9 + len("key=v  ")) + "word")
    assert max(map(len, lines)) <= 108
