import pytest
from torch.nn import functional

from lookright import CARE, GRADIA
from lookright.attribution import class_map


def expected(classifier, batch, reasonable):
    output = classifier(batch["image"])
    weight, features = classifier.head.weight.detach(), output.features.detach()
    task, attention, count = 0.0, 0.0, 0
    for b, label in enumerate(batch["label"]):
        task_weight = 1.0
        if batch["mask_weight"][b] > 0:
            map = sum(weight[label, k] * features[b, k] for k in range(6))
            map = (map - map.min()) / (map.max() - map.min())
            mask = batch["mask"][b].reshape(4, 2, 4, 2).mean((1, 3))
            is_reasonable = bool((map * mask).sum() / map.sum() >= reasonable)
            is_right = bool(output.logits[b].argmax() == label)
            if is_reasonable:
                task_weight, attention_weight = (1.0, 0.0) if is_right else (0.8, 0.2)
            else:
                task_weight, attention_weight = (0.4, 1.6) if is_right else (1.0, 1.0)
            distance = sum(abs(float(map[i, j] - mask[i, j])) for i in range(4) for j in range(4)) / 16
            attention += float(batch["mask_weight"][b]) * attention_weight * distance
            count += attention_weight > 0
        task += task_weight * functional.cross_entropy(output.logits[b], label).item() / 5
    return task, attention / count if count else 0.0


@pytest.mark.parametrize("reasonable", [0.0, 0.4, 0.43, 1.1])
@pytest.mark.parametrize("right", [True, False])
def test_equals_a_loop_over_images(classifier, batch, reasonable, right):
    if right:
        batch["label"] = classifier(batch["image"]).logits.argmax(1)
    task, attention = expected(classifier, batch, reasonable)
    loss = GRADIA(weight=0.7, reasonable=reasonable)(classifier, batch)
    assert loss.terms["gradia"].item() == pytest.approx(0.7 * attention, rel=1e-5)
    assert loss.terms["task"].item() == pytest.approx(task, rel=1e-5)


def test_one_map_a_step(classifier, batch):
    classifier = classifier.eval()
    maps = []

    def counted(*arguments):
        maps.append(class_map(*arguments))
        return maps[-1]

    method = GRADIA(map=counted)
    for step in (1, 2):
        loss = method(classifier, batch).terms["gradia"]
        assert len(maps) == step
        batch["image"] = batch["image"].flip(3)
    output = classifier(batch["image"])
    assert method.guidance(classifier, output, batch)["gradia"] != loss
    assert len(maps) == 3


def test_task_weights_multiply_in_a_sum(classifier, batch):
    batch["label"] = classifier(batch["image"]).logits.argmax(1)
    task, _ = expected(classifier, batch, 1.1)
    terms = (CARE(alpha=0.7) + GRADIA(reasonable=1.1))(classifier, batch).terms
    assert terms["task"].item() == pytest.approx(0.3 * task, rel=1e-5)


def test_gradient_equals_finite_differences(batch, check_gradient):
    method = GRADIA(reasonable=1.1)
    check_gradient(lambda classifier: method(classifier, batch).total, step=1e-4, rel=2e-2, abs=2e-4)


def test_a_batch_without_masks_is_plain_training(classifier, batch):
    loss = GRADIA()(classifier, {key: batch[key] for key in ("image", "label")})
    assert loss.total == loss.terms["task"]


def test_images_without_a_mask_keep_their_task(classifier, batch):
    batch["mask_weight"][:] = 0
    loss = GRADIA()(classifier, batch)
    assert loss.total == loss.terms["task"]
    loss.total.backward()
    assert all(parameter.grad.isfinite().all() for parameter in classifier.parameters())


def test_flat_maps_give_finite_gradients(classifier, batch):
    batch["image"][:] = 0
    GRADIA()(classifier, batch).total.backward()
    assert all(parameter.grad.isfinite().all() for parameter in classifier.parameters())
