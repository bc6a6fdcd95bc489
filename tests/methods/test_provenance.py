import pytest
import torch

from lookright import CAMAL, BackgroundSwap, Provenance


def gradient(classifier, image, row, label, score):
    image = image.clone().requires_grad_()
    logits = classifier.model(image)[row]
    value = logits[label] if score == "logit" else logits.log_softmax(0)[label]
    return torch.autograd.grad(value, image)[0][row]


@pytest.mark.parametrize("score", ["logit", "log_probability"])
def test_equals_a_loop_over_pixels(classifier, batch, score):
    classifier.eval()
    altered = Provenance(share=1.0).alter(batch)
    got = Provenance(weight=0.3, score=score, share=1.0)(classifier, batch).terms["provenance"].item()
    total, count = 0.0, 0
    for row in range(5):
        own, other, pasted = altered["label"][row], altered["pasted_label"][row], altered["pasted"][row]
        if own == other:
            continue
        count += 1
        of_own, of_other = (gradient(classifier, altered["image"], row, label, score) for label in (own, other))
        for channel in range(3):
            for y in range(8):
                for x in range(8):
                    wrong = of_own if pasted[y, x] else of_other
                    total += float(wrong[channel, y, x]) ** 2
    assert count > 0
    assert got == pytest.approx(0.3 * total / count, rel=1e-6)


def test_gradient_equals_finite_differences(classifier, batch, check_gradient):
    classifier.eval()
    check_gradient(lambda classifier: Provenance(share=1.0)(classifier, batch).terms["provenance"], rel=1e-3)


def test_an_image_with_its_own_label_pasted_onto_it_is_left_out(classifier, batch):
    batch["label"][:] = 1
    assert Provenance(share=1.0)(classifier, batch).terms["provenance"].item() == 0


def test_masks_are_needed_where_evidence_is_pasted():
    assert Provenance().needs == {"label", "image_gradient"}
    assert Provenance(region="evidence").needs == {"label", "image_gradient", "mask"}


def test_in_a_sum(classifier, batch):
    loss = (BackgroundSwap() + Provenance() + CAMAL())(classifier, batch)
    assert set(loss.terms) == {"task", "provenance_label", "provenance", "camal"}
    loss.total.backward()
    assert all(parameter.grad.isfinite().all() for parameter in classifier.parameters())
