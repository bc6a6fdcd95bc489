import pytest
import torch

from lookright import CYBORG


def minmax(cells):
    low, high = min(map(min, cells)), max(map(max, cells))
    return [[(cell - low) / (high - low) if high > low else cell for cell in row] for row in cells]


@pytest.mark.parametrize("explain", ["label", "predicted"])
def test_equals_a_loop_over_cells(classifier, batch, explain):
    loss = CYBORG(alpha=0.3, explain=explain)(classifier, batch)
    output = classifier(batch["image"])
    target = batch["label"] if explain == "label" else output.logits.argmax(1)
    weight, features = classifier.head.weight.detach(), output.features.detach()
    total, count = 0.0, 0
    for b in range(5):
        if batch["mask_weight"][b] > 0:
            map = minmax(sum(weight[target[b], k] * features[b, k] for k in range(6)).tolist())
            human = minmax(batch["mask"][b].reshape(4, 2, 4, 2).mean((1, 3)).tolist())
            squared = [(map[i][j] - human[i][j]) ** 2 for i in range(4) for j in range(4)]
            total += float(batch["mask_weight"][b]) * sum(squared) / 16
            count += 1
    assert loss.terms["cyborg"].item() == pytest.approx(0.7 * total / count, rel=1e-5)
    plain = torch.nn.functional.cross_entropy(output.logits, batch["label"])
    assert loss.terms["task"].item() == pytest.approx(0.3 * plain.item(), rel=1e-5)


def test_gradient_equals_finite_differences(batch, check_gradient):
    method = CYBORG()
    check_gradient(lambda classifier: method(classifier, batch).terms["cyborg"], step=1e-4, rel=2e-2, abs=2e-4)


def test_flat_maps_and_flat_human_maps_are_finite(classifier, batch):
    batch["image"][:] = 0
    batch["mask"][:] = 1
    loss = CYBORG()(classifier, batch)
    loss.total.backward()
    assert loss.total.isfinite()
    assert all(parameter.grad.isfinite().all() for parameter in classifier.parameters())


def test_images_without_a_mask_change_nothing(classifier, batch):
    with_masks = CYBORG()(classifier, batch).terms["cyborg"]
    batch["mask"][1] = torch.rand(8, 8)
    assert CYBORG()(classifier, batch).terms["cyborg"] == with_masks


@pytest.mark.parametrize("differentiate", [True, False])
def test_an_adaptive_share_gives_the_larger_loss_the_larger_part(classifier, batch, differentiate):
    """a·L + (1 − a)·S with a = L / (L + S), whose gradient flows through a or does not."""
    adaptive = CYBORG(alpha="adaptive", differentiate_alpha=differentiate)(classifier, batch)
    halves = CYBORG()(classifier, batch)
    task, distance = 2 * halves.terms["task"], 2 * halves.terms["cyborg"]
    share = task / (task + distance)
    if not differentiate:
        share = share.detach()
    expected = share * task + (1 - share) * distance
    assert adaptive.terms["task"].item() == pytest.approx((share * task).item(), rel=1e-6)
    assert adaptive.total.item() == pytest.approx(expected.item(), rel=1e-6)
    weight = classifier.model.features[0].weight
    got, wanted = (torch.autograd.grad(loss, weight)[0] for loss in (adaptive.total, expected))
    assert torch.allclose(got, wanted, rtol=1e-5, atol=1e-9)


def test_an_adaptive_share_is_the_whole_where_no_image_has_a_mask(classifier, batch):
    batch["mask_weight"][:] = 0
    loss = CYBORG(alpha="adaptive")(classifier, batch)
    assert loss.terms["cyborg"].item() == 0
    plain = torch.nn.functional.cross_entropy(classifier(batch["image"]).logits, batch["label"])
    assert loss.terms["task"].item() == pytest.approx(plain.item())
