"""The miniature: persons that the base model never saw, one for each seed."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace

import numpy as np
import pytest
import torch

from study import config
from study.planning.profile import RunMapping
from study.planning.runs import Run, plan_runs
from study.settings import SweepSettings
from study.tasks.diffusion.subjects.portraits import CONTEXT, PortraitSubjects, decided_pixels
from study.tasks.miniature.portraits import HIDDEN, LOOKS
from study.tasks.miniature.portraits.compose import compose
from study.tasks.miniature.portraits.looks import NEW_COLORS, NEW_SPRITES, sprite_names
from study.tasks.subject import Subject
from study.training.adaptation import peft_config
from study.training.hyperparameters import Hyperparameters
from study.training.pack_state import of_runs
from study.training.passes import BaseScores, base_model, evaluate_runs, pictures_of_runs
from study.training.probe import find_mapping
from study.training.train import Training

from .conftest import QUICK, of

CPU = torch.device("cpu")


def run_of(sweep: SweepSettings, method: str) -> Run:
    return next(run for run in plan_runs(sweep) if run.method == method)


def in_training(task: Subject, sweep: SweepSettings, runs: list[Hyperparameters]) -> Training:
    model = base_model(task, CPU)
    return Training(task, model, peft_config(run_of(sweep, "ether_plus"), task, model), runs)


@pytest.fixture(scope="module")
def people() -> PortraitSubjects:
    return PortraitSubjects("qwe", None, 0)


def test_there_are_subjects_enough_and_each_is_new(people: PortraitSubjects) -> None:
    assert len(people.names) >= 20 and len(set(people.names)) == len(people.names)
    for learnt in people.trained_on:
        assert len(learnt) in (4, 5)
        who = people.drawn.attributes[np.array(learnt)]
        new_sprite = sprite_names("hair")[who.hair[0]] in NEW_SPRITES["hair"]
        new_sprite |= sprite_names("clothing")[who.clothing[0]] in NEW_SPRITES["clothing"]
        looks = {look: LOOKS[look][n] for look, n in zip(LOOKS, people.drawn.looks[learnt[0]], strict=True)}
        new_color = looks["hair color"] in NEW_COLORS["hair"] or looks["shirt color"] in NEW_COLORS["clothes"]
        assert new_sprite and new_color
        for part in ("skin", "hair", "hair_color", "clothing", "clothing_color", "beard"):
            assert len(set(getattr(who, part))) == 1, part  # it is one person


def test_nothing_that_a_prompt_asks_for_is_in_the_pictures_that_are_learnt_from(
    people: PortraitSubjects,
) -> None:
    for split in ("valid", "test"):
        for example in people.examples[split]:
            if example.subject is None:
                continue
            learnt = people.drawn.looks[people.trained_on[example.subject]]
            assert example.truth is not None and example.picture not in people.trained_on[example.subject]
            told = people.told[example.truth]
            asked = (told != HIDDEN).nonzero().flatten().tolist()
            assert {list(LOOKS)[look] for look in asked} <= set(CONTEXT) and len(asked) >= 2
            assert all(told[look] not in learnt[:, look] for look in asked)
    prompts = [{e.prompt for e in people.examples[s] if e.subject == 0} for s in ("valid", "test")]
    assert not prompts[0] & prompts[1]


def test_pixels_of_the_true_picture_that_no_choice_of_a_sprite_changes(people: PortraitSubjects) -> None:
    """Other mouths, glasses and hats of the same kind leave them as they are."""
    example = next(e for e in people.examples["test"] if " hat" in e.prompt and "glasses" in e.prompt)
    row = people.drawn.attributes[np.array([example.truth])]
    decided = decided_pixels(row)[0].bool()
    assert 0.3 < decided.float().mean() < 0.9
    before = torch.from_numpy(compose(row)[0][0])
    for group in ("mouth", "glasses", "hat"):
        for number in range(len(sprite_names(group))):
            other = torch.from_numpy(compose(replace(row, **{group: np.array([number])}))[0][0])
            assert torch.equal(other[:, decided], before[:, decided]), (group, number)


def test_seed_s_has_subject_s_modulo_their_number(mini: Subject) -> None:
    count = len(mini.data.names)
    for seed in (0, 3, count + 3):
        for split in ("train", "valid", "test"):
            examples = [mini.examples_of[split][row] for row in mini.rows(split, seed).tolist()]
            assert {e.subject for e in examples} == {seed % count, None}
    assert torch.equal(mini.rows("test", 3), mini.rows("test", count + 3))
    assert len({len(mini.rows("test", seed)) for seed in range(count)}) == 1


def test_a_subset_is_the_same_subject_for_every_seed(mini: Subject) -> None:
    one = of(config.load("lr_grid", [*QUICK, "task.subset=person-3"]))
    assert one.data.names == ["person-3"] and torch.equal(one.rows("test", 0), one.rows("test", 5))
    own = [e.prompt for e in one.examples_of["test"] if e.subject is not None]
    rows = mini.rows("test", 3).tolist()
    assert own == [e.prompt for e in (mini.examples_of["test"][r] for r in rows) if e.subject is not None]


@pytest.mark.parametrize("method", ["ether", "ether_plus", "lora", "oft", "naive"])
def test_runs_train_together_by_layers_as_alone(mini: Subject, sweep: SweepSettings, method: str) -> None:
    model = base_model(mini, CPU)
    config_of = peft_config(run_of(sweep, method), mini, model)
    assert find_mapping(mini, model, config_of) == (RunMapping.LAYERS, "")


def test_a_pack_of_several_subjects_scores_each_run_as_alone(mini: Subject, sweep: SweepSettings) -> None:
    """Losses, metrics, kept pictures and the untouched model's scores are those of the run's own subject."""
    runs = [Hyperparameters(lr, seed, mini.settings) for seed, lr in ((0, 1e-2), (1, 1e-1), (0, 1e-1))]
    with closing(in_training(mini, sweep, runs)) as together:
        for _ in range(2):
            together.train_step()
        flat = together.flat()
        of_all = evaluate_runs(mini, together.packed, flat, "test")
        kept = pictures_of_runs(mini, together.packed, flat)
    for row, run in enumerate(runs):
        with closing(in_training(mini, sweep, [run])) as alone:
            (scores,) = evaluate_runs(mini, alone.packed, flat[row : row + 1], "test")
            (pictures,) = pictures_of_runs(mini, alone.packed, flat[row : row + 1])
        assert scores.loss == pytest.approx(of_all[row].loss, rel=1e-4)
        assert scores.primary == pytest.approx(of_all[row].primary, abs=1e-3)
        assert scores.further == pytest.approx(of_all[row].further, abs=5e-3, nan_ok=True)
        for name, of_kind in pictures.items():
            assert (of_kind.int() - kept[row][name].int()).abs().max() <= 2, name
    assert torch.equal(kept[0]["real"], kept[2]["real"]) and not torch.equal(kept[0]["real"], kept[1]["real"])
    base = BaseScores(mini, base_model(mini, CPU))
    assert base(0)["test"].loss != base(1)["test"].loss and base(0) == base(len(mini.data.names))


def test_training_goes_on_bit_for_bit(mini: Subject, sweep: SweepSettings) -> None:
    runs = [Hyperparameters(1e-2, seed, mini.settings) for seed in range(2)]
    with closing(in_training(mini, sweep, runs)) as first:
        first.train_step()
        tensors, facts = first.state()
        state = {name: value.clone() for name, value in tensors.items()}, facts
        first.train_step()
        expected = first.flat()
    with closing(in_training(mini, sweep, runs)) as second:
        second.restore(of_runs((state[0], facts | {"measured": {}}), [0, 1]))
        second.train_step()
        assert torch.equal(second.flat(), expected)


def test_the_two_trivial_optima_are_no_optima_of_the_primary_score(mini: Subject) -> None:
    """What was learnt from is the subject and not what was asked for; the untouched model the reverse."""
    scores = BaseScores(mini, base_model(mini, CPU))(0)["test"]
    found = scores.further
    assert found["real_fidelity"] > 0.95 and found["real_true_distance"] == 0
    assert found["repeated_subject_fidelity"] > 0.95 and found["repeated_prompt_fidelity"] < 0.1
    assert found["repeated_fidelity"] < 0.2
    assert found["prompt_fidelity"] > 0.8 > 0.5 > found["subject_fidelity"] and scores.primary < 0.6


def test_drift_is_what_the_untouched_model_can_do_better_without_a_subject(mini: Subject) -> None:
    own = {"class_fidelity": 0.7, "subject_fidelity": 0.5}
    base = dict.fromkeys(("subject_fidelity", "prompt_fidelity", "diversity", *mini.judge.further), 0.2)
    compared = mini.against_untouched(own, base | {"class_fidelity": 0.9})
    assert compared["drift"] == pytest.approx(0.2) and compared["untouched_subject_fidelity"] == 0.2
