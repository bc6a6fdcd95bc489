"""Pixels of which nobody knows change no method's gradient, whatever the mask says there."""

import pytest
import torch

from lookright import ALIGN, CAMAL, CARE, CYBORG, GRADIA, SAGE, Graft

FIXED = {"masks": "given", "warmup": 0, "regularisation": 0}
GUIDED = [
    CAMAL(),
    CAMAL(mode="energy"),
    CAMAL(mode="sum", relu=False, threshold=0.4),
    CYBORG(),
    CARE(tau=9.0),
    GRADIA(reasonable=1.1),
    ALIGN(**FIXED),
]


def guidance_of(method, classifier, batch):
    return sum(term for name, term in method.eval()(classifier, batch).terms.items() if name != "task")


@pytest.mark.parametrize("method", GUIDED, ids=repr)
def test_no_gradient_flows_through_ignored_cells(classifier, batch, method):
    batch["ignore"] = torch.zeros(5, 8, 8, dtype=torch.float64)
    batch["ignore"][:, :4, 2:6] = 1  # two times two of the four times four cells
    features = []
    hook = classifier.model.features.register_forward_hook(lambda module, args, output: features.append(output))
    guidance = guidance_of(method, classifier, batch)
    hook.remove()
    (gradient,) = torch.autograd.grad(guidance, features[0])
    ignored = torch.zeros(4, 4, dtype=torch.bool)
    ignored[:2, 1:3] = True
    assert (gradient[:, :, ignored] == 0).all()
    assert gradient[0].ne(0).any()


@pytest.mark.parametrize("method", [*GUIDED, SAGE(), Graft(share=1.0) + CAMAL()], ids=repr)
def test_the_mask_may_be_anything_where_it_is_ignored(classifier, batch, method):
    classifier.eval()
    batch["ignore"] = (torch.arange(8) % 3 == 0).double().expand(5, 8, 8)
    expected = guidance_of(method, classifier, batch)
    batch["mask"] = torch.where(batch["ignore"] > 0, torch.nan, batch["mask"])
    assert guidance_of(method, classifier, batch).item() == pytest.approx(expected.item())


@pytest.mark.parametrize("method", [*GUIDED, SAGE()], ids=repr)
def test_nothing_to_ignore_changes_nothing(classifier, batch, method):
    classifier.eval()
    expected = guidance_of(method, classifier, batch)
    batch["ignore"] = torch.zeros(5, 8, 8, dtype=torch.float64)
    assert guidance_of(method, classifier, batch).item() == pytest.approx(expected.item())


def test_a_mask_of_what_must_not_matter_pushes_attention_out_of_it_and_nowhere_else():
    """M = 0, I = 1 − nuisance: α = 0 and β is the attention on the nuisance, on the scale of the whole map."""
    map = torch.tensor([[[0.0, 2.0, 4.0]]])
    nuisance = torch.tensor([[[0.0, 1.0, 0.0]]])
    assert CAMAL().compare(map, torch.zeros_like(map), nuisance).item() == 0.5


def test_the_views_of_sage_leave_what_is_ignored_as_it_is(batch):
    batch["ignore"] = torch.zeros(5, 8, 8, dtype=torch.float64)
    batch["ignore"][:, :, 3] = 1
    views = SAGE().views(batch)
    assert torch.equal(views.image[..., 3], batch["image"][views.source][..., 3])
    assert not torch.equal(views.image, batch["image"][views.source])
