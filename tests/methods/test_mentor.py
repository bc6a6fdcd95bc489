import pytest
import torch
from torch.nn import functional

from lookright import CAMAL, JTT, MENTOR, InputError
from lookright.methods import Sum, reaches_backbone


@pytest.fixture
def first(classifier, batch):
    """The method of the first training, attached."""
    classifier(batch["image"])
    method, epochs = MENTOR(first_epochs=3, hidden=8).first()
    assert epochs == 3
    method.attach(classifier)
    return method


def test_equals_a_loop_over_pixels(classifier, batch, first):
    classifier.eval()
    batch["mask"] = 0.2 + 0.6 * batch["mask"] * torch.rand(5, 8, 8, generator=torch.Generator().manual_seed(2))
    batch["ignore"] = (torch.arange(8) == 3).double().expand(5, 8, 8)
    total = 0.0
    for row, weight in enumerate(batch["mask_weight"].tolist()):
        logit = first.decoder(classifier(batch["image"][row : row + 1]).features)
        drawn = functional.interpolate(logit[None], (8, 8), mode="bilinear")[0, 0].sigmoid()
        known = [(y, x) for y in range(8) for x in range(8) if x != 3]
        human = {place: batch["mask"][row][place].item() for place in known}
        low, high = min(human.values()), max(human.values())
        total += weight * sum((drawn[at].item() - (human[at] - low) / (high - low)) ** 2 for at in known) / 56
    assert first(classifier, batch).terms["mentor"].item() == pytest.approx(total / 4)


def test_gradient_equals_finite_differences(classifier, batch, first, check_gradient):
    check_gradient(lambda classifier: first(classifier, batch).total, rel=1e-3)


def test_it_learns_to_draw_the_masks_and_no_label_is_looked_at(classifier, batch, first, minimise):
    loss = first(classifier, batch)
    assert reaches_backbone(classifier, loss) is None
    loss.total.backward()
    assert classifier.head.weight.grad is None
    other = batch | {"label": (batch["label"] + 1) % 4}
    assert first(classifier, other).total.item() == pytest.approx(loss.total.item())
    learning = [*classifier.model.features.parameters(), *first.parameters()]
    values = minimise(lambda: first(classifier, batch).total, learning, steps=30)
    assert values[-1] < 0.8 * values[0]


def test_in_bfloat16_it_is_near_float32(classifier, batch, first):
    batch = {key: value.float() if value.is_floating_point() else value for key, value in batch.items()}
    classifier.float().eval()
    exact = first.float()(classifier, batch).total.item()
    with torch.autocast("cpu", torch.bfloat16):
        rounded = first(classifier, batch).total
    assert rounded.dtype == torch.float32
    assert rounded.item() == pytest.approx(exact, abs=0.01)


def test_a_batch_without_masks_teaches_nothing(classifier, batch, first):
    first(classifier, {key: batch[key] for key in ("image", "label")}).total.backward()
    assert not any(parameter.grad.any() for parameter in first.parameters())


def test_the_second_training_is_the_tasks_and_others_may_join(classifier, batch):
    assert set(MENTOR()(classifier, batch).terms) == {"task"}
    both = MENTOR(first_epochs=2) + CAMAL()
    assert set(both(classifier, batch).terms) == {"task", "camal"}
    assert both.first()[1] == 2
    with pytest.raises(InputError, match="JTT and MENTOR both train before"):
        Sum([JTT(), MENTOR()]).first()


def test_arguments_and_features_that_do_not_fit_are_refused(classifier, batch, first):
    with pytest.raises(InputError, match="first_epochs=0"):
        MENTOR(first_epochs=0)
    with pytest.raises(InputError, match="hidden=12"):
        MENTOR(hidden=12)
    with pytest.raises(InputError, match="call method.attach"):
        MENTOR().first()[0](classifier, batch)
    first.decoder.channels = 7
    with pytest.raises(InputError, match="MENTOR reads features of 7 channels"):
        first(classifier, batch)
