import pytest
import torch
from torch.nn import functional

from lookright import InputError, SGDrop
from lookright.tasks import multi_label


def expected(classifier, batch, share, unit, absolute):
    """The cross-entropy after the most salient features were set to zero one by one."""
    features, weight = classifier(batch["image"]).features.detach(), classifier.head.weight.detach()
    for b, label in enumerate(batch["label"].tolist()):
        salient = {}
        for k in range(6):
            for y in range(4):
                for x in range(4):
                    key = (k, y, x) if unit == "feature" else (y, x)
                    salient[key] = salient.get(key, 0.0) + (features[b, k, y, x] * weight[label, k] / 16).item()
        order = sorted(salient, key=lambda key: -abs(salient[key]) if absolute else -salient[key])
        for key in order[: int(share * len(order))]:
            features[(b, *key) if unit == "feature" else (b, slice(None), *key)] = 0
    logits = features.mean((2, 3)) @ weight.T + classifier.head.bias
    return functional.cross_entropy(logits, batch["label"]).item()


@pytest.mark.parametrize("unit", ["feature", "cell"])
@pytest.mark.parametrize("absolute", [True, False])
def test_equals_a_loop_over_features(classifier, batch, unit, absolute):
    classifier.eval()
    loss = SGDrop(0.3, unit, absolute)(classifier, batch).terms["task"].item()
    assert loss == pytest.approx(expected(classifier, batch, 0.3, unit, absolute))
    plain = functional.cross_entropy(classifier(batch["image"]).logits, batch["label"]).item()
    assert loss != pytest.approx(plain)
    assert SGDrop(0.3).eval()(classifier, batch).terms["task"].item() == pytest.approx(plain)
    assert SGDrop(0)(classifier, batch).terms["task"].item() == pytest.approx(plain)


def test_gradient_equals_finite_differences(classifier, batch, check_gradient):
    classifier.eval()
    check_gradient(lambda classifier: SGDrop(0.3)(classifier, batch).total, step=1e-6)


def test_its_term_falls_while_it_is_trained(train_alone):
    values = train_alone(SGDrop(), "task")
    assert values[-1] < 0.9 * values[0]


def test_batch_norm_counts_the_images_once(classifier, batch):
    SGDrop()(classifier, batch)
    assert classifier.model.features[1].num_batches_tracked == 1


def test_several_labels_an_image_are_taken(classifier, batch):
    several = torch.tensor([[1, 0, 1, 0]] * 5)
    loss = SGDrop()(classifier, batch | {"label": several}, task=multi_label)
    loss.total.backward()
    assert all(parameter.grad.isfinite().all() for parameter in classifier.parameters())


def test_a_share_out_of_range_is_refused():
    with pytest.raises(InputError, match="share=10"):
        SGDrop(share=10)
