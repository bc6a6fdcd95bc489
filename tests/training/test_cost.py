import json

import pytest
import torch

from lookright import ALIGN, CAMAL, ERM, RRR, SAGE, Classifier
from lookright.errors import InputError
from lookright.run_directory import read_facts
from lookright.training.cost import step_cost
from lookright.training.run import train
from lookright.training.small_cnn import SmallCNN


@pytest.fixture
def classifier():
    return Classifier(SmallCNN(4, 4), input_size=(3, 32, 32))


@pytest.fixture
def batch():
    generator = torch.Generator().manual_seed(0)
    mask = (torch.rand(4, 32, 32, generator=generator) > 0.7).float()
    return {"image": torch.randn(4, 3, 32, 32, generator=generator), "label": torch.arange(4), "mask": mask}


@pytest.mark.parametrize(
    ("method", "least", "most"),
    [(ERM(), 1, 1), (CAMAL(), 1, 1.01), (SAGE(share=0.5), 2, 2), (SAGE(), 3, 3), (RRR(), 1.9, 2.3)],
    ids=["ERM", "CAMAL", "SAGE of half", "SAGE", "RRR"],
)
def test_operations_are_those_of_the_views_and_of_second_derivatives(classifier, batch, method, least, most):
    method.attach(classifier)
    assert least <= step_cost(classifier, method, batch) <= most


def test_turns_are_counted_apart(classifier, batch):
    method = ALIGN(warmup=4, masker_warmup=4, masker_steps=2, classifier_steps=2)
    method.attach(classifier)
    alone, both = step_cost(classifier, method, batch, [0]), step_cost(classifier, method, batch, [0, 8])
    later = step_cost(classifier, method, batch, [8])
    assert later > alone
    assert both == pytest.approx((alone + later) / 2)


def test_nothing_is_changed(classifier, batch):
    method = SAGE()
    method.attach(classifier)
    before, state = classifier.state_dict(), torch.get_rng_state()
    before = {key: value.clone() for key, value in before.items()}
    step_cost(classifier, method, batch)
    assert all(torch.equal(value, before[key]) for key, value in classifier.state_dict().items())
    assert torch.equal(torch.get_rng_state(), state)
    assert (method.step, method.draws, classifier.training) == (0, 0, True)
    assert all(parameter.grad is None for parameter in classifier.parameters())


def test_a_budget_gives_each_method_the_epochs_that_it_can_pay(squares, settings, tmp_path):
    facts = {}
    for name in ("ERM", "SAGE"):
        run = train(settings(squares, tmp_path / name, method=name, budget=6, epochs=1))
        facts[name] = read_facts(run.directory / "model.safetensors")
    assert {name: fact["epochs"] for name, fact in facts.items()} == {"ERM": 6, "SAGE": 2}
    assert all(fact["compute"] == pytest.approx(6, rel=0.01) for fact in facts.values())


def test_a_training_that_stops_early_is_counted_as_far_as_it_went(squares, settings, tmp_path):
    run = train(settings(squares, tmp_path / "run", method="SAGE", budget=30, patience=1, lr=0.0))
    facts = read_facts(run.directory / "model.safetensors")
    assert (facts["epochs"], facts["compute"]) == (10, pytest.approx(2 * 3, rel=0.01))


def test_a_budget_pays_the_training_before_and_the_images_shown_more_often(squares, settings, tmp_path):
    jtt = {"class_path": "JTT", "init_args": {"first_epochs": 2, "upweight": 3}}
    run = train(settings(squares, tmp_path / "jtt", method=jtt, budget=12, epochs=1))
    repeats = json.loads((run.directory / "first" / "finish.json").read_text())["repeats"]
    assert sum(repeats) > len(repeats), "the first training made mistakes"
    expected = round((12 - 2) * len(repeats) / sum(repeats))
    facts = read_facts(run.directory / "model.safetensors")
    assert facts["epochs"] == expected
    assert facts["compute"] == pytest.approx(2 + expected * sum(repeats) / len(repeats), abs=1e-3)


def test_a_training_before_must_leave_something_of_the_budget(squares, settings, tmp_path):
    jtt = {"class_path": "JTT", "init_args": {"first_epochs": 6}}
    with pytest.raises(InputError, match="budget = 6 .* costs 6"):
        train(settings(squares, tmp_path / "jtt", method=jtt, budget=6, epochs=1))
