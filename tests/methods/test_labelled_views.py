import math

import pytest
import torch

from lookright import CAMAL, SAGE, LabelledViews
from lookright.perturb import ZeroFill, inpaint


def test_equals_a_loop_over_images(classifier, batch):
    classifier.eval()
    terms = LabelledViews(preserving_weight=0.5, degrading_weight=2.0)(classifier, batch).terms
    preserving = degrading = 0.0
    rows = [row for row in range(5) if batch["mask_weight"][row] > 0]
    for row in rows:
        image, mask, weight = batch["image"][row : row + 1], batch["mask"][row : row + 1], batch["mask_weight"][row]
        keeps = mask[:, None] * image + (1 - mask[:, None]) * inpaint(image, mask)
        loses = (1 - mask[:, None]) * image + mask[:, None] * inpaint(image, 1 - mask)
        p, q = (classifier.model(view)[0].softmax(0).tolist() for view in (keeps, loses))
        preserving -= float(weight) * math.log(p[batch["label"][row]])
        degrading += float(weight) * sum(math.log(0.25 / q[k]) / 4 for k in range(4))
    assert terms["labelledviews_preserving"].item() == pytest.approx(0.5 * preserving / len(rows), rel=1e-6)
    assert terms["labelledviews_degrading"].item() == pytest.approx(2 * degrading / len(rows), rel=1e-6)


def test_gradient_equals_finite_differences(batch, check_gradient):
    def guidance(classifier):
        terms = LabelledViews()(classifier, batch).terms
        return terms["labelledviews_preserving"] + terms["labelledviews_degrading"]

    check_gradient(guidance)


def test_views_are_those_of_sage(batch):
    assert torch.equal(LabelledViews(share=0.5).views(batch).image, SAGE(share=0.5).views(batch).image)


def test_an_undecided_answer_to_what_lost_its_evidence_costs_nothing(classifier, batch):
    with torch.no_grad():
        classifier.model.fc.weight.zero_()
        classifier.model.fc.bias.zero_()
    terms = LabelledViews()(classifier, batch).terms
    assert terms["labelledviews_degrading"].item() == pytest.approx(0, abs=1e-12)
    assert terms["labelledviews_preserving"].item() == pytest.approx(
        math.log(4) * batch["mask_weight"].sum().item() / 4
    )


def test_where_nothing_is_evidence_nothing_was_taken_away(classifier, batch):
    batch["mask"][:] = 0
    assert LabelledViews()(classifier, batch).terms["labelledviews_degrading"].item() == 0


def test_without_masks_there_are_no_views(classifier, batch):
    loss = LabelledViews()(classifier, {key: batch[key] for key in ("image", "label")})
    assert loss.terms["labelledviews_preserving"].item() == 0
    loss.total.backward()


def test_in_a_sum_and_apart_from_batchnorm(classifier, batch):
    loss = (LabelledViews(batchnorm="original", perturbation=ZeroFill()) + CAMAL())(classifier, batch)
    assert set(loss.terms) == {"task", "labelledviews_preserving", "labelledviews_degrading", "camal"}
    joint = LabelledViews(perturbation=ZeroFill())(classifier, batch)
    assert joint.terms["task"].item() != loss.terms["task"].item()
