"""Guidance falls while a model is trained with it."""

import copy

import pytest

from lookright import (
    CYBORG,
    GALS,
    HAICS,
    R4,
    RES,
    RRR,
    DivisiveDecisions,
    EnergyGuidance,
    GradMask,
    LabelledViews,
    LearningToLook,
    Provenance,
)

METHODS = [
    CYBORG(alpha="adaptive", differentiate_alpha=False),
    DivisiveDecisions(),
    DivisiveDecisions(divide="opposed"),
    EnergyGuidance(),
    GALS(),
    GradMask(),
    HAICS(),
    LabelledViews(),
    LearningToLook(),
    Provenance(share=1.0),
    R4(steps=2),
    R4(search="random", steps=2, penalty="change"),
    R4(search="random", steps=2, score="loss"),
    RES(),
    RES(impute="learned", unknown="imputed"),
    RRR(),
]


@pytest.mark.parametrize("method", METHODS, ids=repr)
def test_guidance_falls_while_it_is_trained(classifier, batch, method, minimise):
    method = copy.deepcopy(method).eval()  # the same draws in each step

    def guidance():
        loss = method(classifier, batch)
        return loss.total - loss.terms["task"]

    values = minimise(guidance, classifier.parameters(), steps=12)
    assert values[-1] < values[0]
