"""What methods promise: no trace on the model, finite numbers in bf16, guidance that arrives and works, and company."""

import copy

import pytest
import torch

from lookright import (
    CYBORG,
    DFR,
    JTT,
    R4,
    RRR,
    BackgroundSwap,
    DivisiveDecisions,
    EnergyGuidance,
    EvidenceCutMix,
    GroupDRO,
    LabelledViews,
    LearningToLook,
    Provenance,
)
from lookright.methods import Sum, reaches_backbone

GUIDING = [
    CYBORG(alpha="adaptive"),
    DivisiveDecisions(),
    DivisiveDecisions(divide="opposed"),
    EnergyGuidance(),
    LabelledViews(),
    LabelledViews(batchnorm="original"),
    LearningToLook(),
    Provenance(share=1.0),
    R4(steps=2),
    R4(search="random", steps=2, penalty="change"),
    R4(search="random", steps=2, score="loss"),
    RRR(),
]
ALL = [*GUIDING, BackgroundSwap(), EvidenceCutMix(), GroupDRO(sizes=[3, 2]), JTT(), DFR()]


@pytest.fixture
def grouped(batch):
    return batch | {"group": torch.tensor([0, 1, 0, 1, 0])}


@pytest.mark.parametrize("method", ALL, ids=repr)
def test_leaves_no_trace_on_the_model(classifier, grouped, method):
    before = {key: value.clone() for key, value in grouped.items()}
    frozen = classifier.model.features[1]
    frozen.eval()
    loss = copy.deepcopy(method)(classifier, grouped)
    assert all(parameter.grad is None for parameter in classifier.parameters())
    loss.total.backward()
    for module in classifier.modules():
        assert not module._forward_hooks
        assert not module._forward_pre_hooks
        assert module.training == (module is not frozen)
    assert all(torch.equal(value, before[key]) for key, value in grouped.items())
    assert not grouped["image"].requires_grad


@pytest.mark.parametrize("method", ALL, ids=repr)
def test_is_finite_in_bf16_and_its_terms_are_float32(classifier, grouped, method):
    classifier.float()
    batch = {key: value.float() if value.is_floating_point() else value for key, value in grouped.items()}
    with torch.autocast("cpu", torch.bfloat16):
        loss = copy.deepcopy(method)(classifier, batch)
    assert {term.dtype for term in loss.terms.values()} == {torch.float32}
    loss.total.backward()
    assert all(parameter.grad.isfinite().all() for parameter in classifier.parameters())


@pytest.mark.parametrize("method", GUIDING, ids=repr)
def test_its_guidance_arrives_and_falls_while_it_is_trained(classifier, grouped, method):
    method = copy.deepcopy(method).eval()  # the same draws in each step
    assert reaches_backbone(classifier, method(classifier, grouped)) is None
    optimizer, values = torch.optim.Adam(classifier.parameters(), 1e-2), []
    for _ in range(15):
        loss = method(classifier, grouped)
        guidance = torch.stack([term for name, term in loss.terms.items() if name != "task"]).sum()
        optimizer.zero_grad()
        (loss.total if isinstance(method, CYBORG) else guidance).backward()
        optimizer.step()
        values.append((loss.total if isinstance(method, CYBORG) else guidance).item())
    assert values[-1] < values[0]


@pytest.mark.parametrize("method", ALL, ids=repr)
def test_joins_another_method(classifier, grouped, method):
    other = EnergyGuidance() if not isinstance(method, EnergyGuidance) else RRR()
    alone, both = copy.deepcopy(method), Sum([copy.deepcopy(method), other])
    expected = {name for part in (alone, other) for name in part(classifier, grouped).terms}
    assert set(both(classifier, grouped).terms) == expected
