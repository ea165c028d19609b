"""What stands on the command line is read as it was meant, or refused in one line."""

from __future__ import annotations

import random
import shlex

import pytest

from study import config
from study.config.grammar import parse, quoted, text_keys
from study.config.spacing import between, logspace
from study.errors import UsageError

GRID = [1e-4, 3.16e-4, 1e-3, 3.16e-3, 1e-2, 3.16e-2, 1e-1, 3.16e-1, 1.0]


@pytest.mark.parametrize("text,values", [
    ("lr=1e-3", [1e-3]),
    ("lr=1e-3,1e-2", [1e-3, 1e-2]),
    ("lr=1e-3, 1e-2", [1e-3, 1e-2]),
    ("lr=[1e-3,1e-2]", [1e-3, 1e-2]),
    ("+lr=1e-3", [1e-3]),
    ("++lr=1e-3", [1e-3]),
    ("lr=choice(1,2)", [1, 2]),
    ("lr=range(1,4)", [1, 2, 3]),
    ("lr=sort(3,1,2)", [1, 2, 3]),
    ("lr=float(1)", [1]),
    ("lr=logspace(-4,0,9)", GRID),
    ("lr=1e-4..1:9", GRID),
    ("lr=1..1e-4:9", GRID[::-1]),
    ("lr=2e-4..2e-2:3", [2e-4, 2e-3, 2e-2]),
    ("lr=1.2345e-3..1:2", [1.2345e-3, 1]),
    ("lr=logspace(-2,0,3),5", [1e-2, 1e-1, 1, 5]),
    ("lr=1e-4..1e-3:2,1", [1e-4, 1e-3, 1]),
])  # fmt: skip
def test_learning_rates(text: str, values: list[float]) -> None:
    assert config.load("lr_grid", [text]).lr == values


def test_a_range_of_rates_has_the_runs_of_the_sweeps_own_grid() -> None:
    """The same values to the last bit, so that the runs are the same runs."""
    assert logspace(-4, 0, 9) == between("lr", "1e-4..1:9") == config.load("lr_grid", []).lr


def test_other_settings_take_ranges_too_and_whole_numbers_stay_whole() -> None:
    axes = config.load("lr_grid", ["task.steps=10..1000:3", "method.lora.r=logspace(0,2,3)"]).axes
    assert axes == {"task.steps": [10, 100, 1000], "method.lora.r": [1, 10, 100]}
    assert all(isinstance(value, int) for values in axes.values() for value in values)


@pytest.mark.parametrize("text,message", [
    ("lr=interval(1e-4,1e-1)", "an interval does not say which values; say how many: lr=1e-4..1e-1:7"),
    ("lr=interval(start=1e-4,end=1)", "say how many: lr=1e-4..1:7"),
    ("lr=glob(*)", "glob chooses among files; name the values"),
    ("method=glob(*)", "glob chooses among files"),
    ("lr=shuffle(1,2)", "leave shuffle out; runs keep their order"),
    ("lr=shuffle(range(1,4))", "leave shuffle out"),
    ("lr=shuffle(logspace(-4,0,3))", "leave shuffle out"),
    ("lr=choice(1,2,shuffle=true)", "leave shuffle out|cannot read"),
    ("lr=range(1,4,0)", "a step that is not zero"),
    ("lr=range(0,1e9)", "more than 1000 values"),
    ("lr=logspace(-4,0)", "missing a required argument: 'count'; write logspace.-4,0,9. for 9 values"),
    ("lr=logspace(1e-4,1,9)", "0.0001 is not an exponent of ten; write logspace"),
    ("lr=logspace(-4,a,9)", "a is not a number; write logspace"),
    ("lr=logspace(-4,0,2.5)", "2.5 is not a number of values"),
    ("lr=logspace(-400,0,9)", "-400 is not an exponent of ten"),
    ("lr=1e-4..1", "write FIRST..LAST:COUNT, such as 1e-4..1:9"),
    ("lr=1e-4..1:1", "the count must be between 2 and 100"),
    ("lr=0..1:9", "the ends must be two different positive numbers"),
    ("lr=-1..1:9", "the ends must be two different positive numbers"),
    ("lr=1..1:9", "the ends must be two different positive numbers"),
    ("lr=1..1.01:90", "90 values are so close that 3 digits cannot tell them apart"),
    ("lr=[1e-4..1:9]", "lr=1e-4..1:9 is not a number; write lr=1e-3,1e-2 or lr=1e-4..1:9"),
    ("lr=0,001", "a decimal comma makes two values; write a point"),
    ("lr=0,5", "a decimal comma"),
    ("task.clip=0,001", "a decimal comma"),
    ("lr=1e-4,", "a value is missing beside a comma"),
    ("lr=1e-3;1e-2", "cannot read lr=1e-3;1e-2; write lr=1e-3,1e-2 or"),
    ("lr=1e-3 1e-2", "is not a number; write lr=1e-3,1e-2"),
    ("lr=[[1]]", "is not a number"),
    ("lr={a:1}", "is not a number"),
    ("lr=true", "is not a number"),
    ("lr=null", "is not a number"),
    ("lr=${x}", "is not filled in here"),
    ("lr=[1,'${x}']", "is not filled in here"),
    ("name=${sweep}", "is not filled in here; write the value itself"),
    ("name=???", "stands for a value that is missing"),
    ("~lr", "nothing can be taken out of a sweep"),
    ("~task.steps=3", "nothing can be taken out of a sweep"),
    ("task@here=vtab", "write task=vtab; a sweep has no packages"),
    ("hydra.run.dir=x", "Hydra's own settings do nothing here"),
    ("seeds=", "seeds= has no value"),
    ("=3", "'=3' is not an override"),
    ("task.=3", "'task.=3' is not an override"),
    ("a b=3", "'a b=3' is not an override"),
    ("name='a", "cannot read name='a; if it is text, quote it twice"),
    ("name=[a]", r"cannot read name=\[a\]; if it is text, quote it twice: \"name='\[a\]'\""),
    ("name={a:1}", "if it is text, quote it twice"),
    ("task.data=/a[1,2]", r"if it is text, quote it twice: \"task.data='/a\[1,2\]'\""),
    ("name=\udcff", "is not in UTF-8"),
    ("method=[ether],[lora]", "name methods, such as method=ether,lora"),
    ("method={a:1}", "name methods"),
    ("method=null", "name methods"),
    ("task.data=null", "task.data=null: it needs a value"),
    ("task.steps=[1,2]", "for several values write task.steps=1,2"),
    ("task.target_modules=q_proj,k_proj", r"give a list, such as task.target_modules=\[q_proj,k_proj\]"),
])  # fmt: skip
def test_refused_in_one_line(text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message) as raised:
        config.load("lr_grid", [text])
    assert "\n" not in str(raised.value)


def test_of_a_key_that_is_given_again_the_last_holds() -> None:
    """As in Hydra, so that a script can pass on what it is given behind what it sets."""
    s = config.load(
        "lr_grid", ["task.steps=1,2", "lr=1", "method=ether", "task.steps=3", "+lr=2", "methods=lora"]
    )
    assert (s.task.steps, s.axes, s.lr, s.methods) == (3, {}, [2], ["lora"])
    assert config.load("lr_grid", ["task.steps=3", "task.steps=1,2"]).axes == {"task.steps": [1, 2]}


@pytest.mark.parametrize("path", [
    "/plain", "/with space", "/größe/日本", "/a[1]", "/a=b", "/a#b", "$HOME/x", "/it's", '/say "x"', "/a;b",
    "/a&b", "/a{b}", "/a(b)", "~/x", "/50%", "/a:b", "/a*b?", "/a@b", "/a!b", "/a`b", "/a<b>", "2024_01",
    "1e3", "007", "true", "C:\\dir", "/a|b", "-1", "1..2:3",
])  # fmt: skip
def test_text_is_taken_as_it_stands(path: str) -> None:
    assert config.load("lr_grid", [f"task.data={path}"]).task.data == path
    [argument] = shlex.split(quoted("task.data", path))
    assert config.load("lr_grid", [argument]).task.data == path


@pytest.mark.parametrize(
    "path", ["/a,b", "/a[1,2]", "'quoted'", "/a\\,b", "\\\\share\\x\\", "a\\'b", "/x,", "[a]"]
)
def test_what_is_not_can_be_quoted(path: str) -> None:
    [argument] = shlex.split(quoted("task.data", path))
    assert config.load("lr_grid", [argument]).task.data == path


def test_commas_make_several_texts() -> None:
    axes = config.load("lr_grid", ["task.data=/größe 1,/b#2"]).axes
    assert axes == {"task.data": ["/größe 1", "/b#2"]}


PIECES = ["${", "range(", "logspace(", "null", "..", "1e-4"]
NASTY = [*"ab01.,=[]{}()'\"\\$#~@:;%&!?*|<>^`-+ /ü日\t\n", *PIECES]


def test_anything_is_read_or_refused_in_one_line() -> None:
    """Random strings under keys of every kind; and any text can be given where it is quoted."""
    draw = random.Random(0)
    keys = [*sorted(text_keys()), "lr", "seeds", "task.steps", "task.clip", "task.target_modules", "dry_run"]
    keys += [
        "method.lora.r",
        "method.lora.bias",
        "method.lora",
        "launcher.setup",
        "points",
        "axes",
        "",
        "+",
        "~",
    ]
    refused = 0
    for i in range(400):
        value = "".join(draw.choices(NASTY, k=draw.randint(1, 6)))
        text = f"{keys[i % len(keys)]}={value}"
        try:
            parse([text])
            if i % 8 == 0:
                config.load("lr_grid", [text])
        except UsageError as error:
            refused += 1
            assert "Traceback" not in str(error) and str(error)
        if "${" not in value:
            [argument] = shlex.split(quoted("task.data", value))
            assert parse([argument])[0].values == (value,), (value, argument)
    assert 50 < refused < 350
