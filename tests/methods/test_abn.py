import pytest
import torch
from torch.nn import functional

from lookright import ABN, CAMAL, InputError
from lookright.tasks import multi_label


def attached(classifier, batch, **arguments):
    classifier(batch["image"])
    method = ABN(**{"hidden": 5, "plain": 0.0} | arguments)
    method.attach(classifier)
    return method


@pytest.mark.parametrize("compare", ["match", "suppress"])
@pytest.mark.parametrize("residual", [True, False])
def test_equals_a_loop_over_images_and_cells(classifier, batch, compare, residual):
    classifier.eval()
    method = attached(classifier, batch, weight=2.0, supervision=3.0, compare=compare, residual=residual).eval()
    terms = method(classifier, batch).terms
    task, branch, apart, cells = 0.0, 0.0, 0.0, [(y, x) for y in range(4) for x in range(4)]
    for row, (image, label) in enumerate(zip(batch["image"], batch["label"], strict=True)):
        features = classifier(image[None]).features
        maps = method.branch.maps(features)
        attention = method.branch.attention(maps)[0, 0].sigmoid().detach()
        pooled = sum(features[0, :, y, x] * (attention[y, x] + residual) for y, x in cells) / 16
        task += functional.cross_entropy(classifier.model.fc(pooled), label).item() / 5
        weight = method.branch.logits.weight[:, :, 0, 0]
        logits = sum(weight @ maps[0, :, y, x] for y, x in cells) / 16
        branch += functional.cross_entropy(logits, label).item() / 5
        of_image = 0.0
        for y, x in cells:
            evidence = batch["mask"][row, 2 * y : 2 * y + 2, 2 * x : 2 * x + 2].mean()
            apart_here = (attention[y, x] - evidence).abs() if compare == "match" else attention[y, x] * (1 - evidence)
            of_image += apart_here.item() / 16
        apart += batch["mask_weight"][row].item() * of_image / 4  # four images have a mask
    assert terms["task"].item() == pytest.approx(task)
    assert terms["abn_branch"].item() == pytest.approx(2 * branch)
    assert terms["abn_attention"].item() == pytest.approx(3 * apart)


@pytest.mark.parametrize("term", ["task", "abn_branch", "abn_attention"])
def test_gradient_equals_finite_differences(classifier, batch, check_gradient, term):
    method = attached(classifier, batch, supervision=1.0)
    check_gradient(lambda classifier: method(classifier, batch).terms[term], rel=1e-3)


def test_supervision_needs_masks_and_moves_the_attention(classifier, batch, minimise):
    method = attached(classifier, batch, supervision=1.0)
    assert (ABN().needs, method.needs) == ({"label"}, {"label", "mask"})
    learning = [*classifier.parameters(), *method.parameters()]
    values = minimise(lambda: method(classifier, batch).terms["abn_attention"], learning, steps=30)
    assert values[-1] < 0.8 * values[0]


def test_both_classifiers_learn(classifier, batch, train_alone):
    classifier(batch["image"])
    for term in ("task", "abn_branch"):
        values = train_alone(ABN(hidden=5), term, steps=12)
        assert values[-1] < values[0]


@pytest.mark.parametrize("plain", [0.0, 0.5, 1.0])
def test_of_a_share_of_the_images_the_features_stay(classifier, batch, plain):
    classifier.eval()
    method = attached(classifier, batch, plain=plain)
    features = classifier(batch["image"].repeat(20, 1, 1, 1)).features
    same = (method.edit(features) == features).all((1, 2, 3))
    assert same.double().mean().item() == pytest.approx(plain, abs=0.15)
    assert not (method.eval().edit(features) == features).all((1, 2, 3)).any()


def test_the_first_branch_is_the_seeds_and_leaves_the_global_generator_alone(classifier, batch):
    state = torch.get_rng_state()
    one, twin, other = (attached(classifier, batch, seed=seed).branch.logits.weight for seed in (0, 0, 1))
    assert torch.equal(state, torch.get_rng_state())
    assert torch.equal(one, twin)
    assert not torch.equal(one, other)


def test_in_a_sum_the_map_is_that_of_weighed_features(classifier, batch):
    loss = (attached(classifier, batch) + CAMAL())(classifier, batch)
    assert set(loss.terms) == {"task", "abn_branch", "camal"}
    loss.total.backward()
    assert all(parameter.grad.isfinite().all() for parameter in classifier.parameters())


def test_what_is_not_known_or_does_not_fit_is_refused(classifier, batch):
    with pytest.raises(InputError, match="call method.attach"):
        ABN()(classifier, batch)
    method = attached(classifier, batch)
    with pytest.raises(InputError, match="ABN reads features of 6 channels, as many as the head does"):
        method.edit(torch.zeros(2, 7, 4, 4))
    with pytest.raises(InputError, match="labels have shape"):
        method(classifier, batch | {"label": torch.ones(5, 4)}, task=multi_label)
    with pytest.raises(InputError, match="plain=2"):
        ABN(plain=2)
