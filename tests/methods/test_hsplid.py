import pytest
import torch
from torch import nn

from lookright import CAMAL, HSPLID, Classifier, InputError
from lookright.methods.hsplid import normalised_hsic


def kernel(values, sigma=5.0):
    """Gaussian, pair by pair."""
    rows = [[float((a - b).square().sum()) for b in values] for a in values]
    return torch.exp(-torch.tensor(rows, dtype=torch.float64) / (2 * sigma**2 * values.shape[1]))


def as_the_authors_write_it(first, second):
    """Centred on one side only; the trace is the same."""
    size = len(first)
    centring = torch.eye(size).double() - 1 / size
    shares = []
    for matrix in (first, second):
        centred = matrix @ centring
        shares.append(centred @ torch.inverse(centred + 1e-5 * size * torch.eye(size).double()))
    return float((shares[0] * shares[1].T).sum())


def split(method, classifier, batch, rounds=1):
    """Attached, with moments of the batch, and values of both parts."""
    method.attach(classifier, torch.optim.SGD(classifier.parameters(), 0.0))
    for _ in range(rounds):
        method(classifier, batch)
    assert 1 < method.salient().sum() < 5
    return method.eval()


@pytest.fixture
def batch(batch):
    batch["label"] = torch.tensor([0, 1, 0, 3, 1])
    return batch


def test_equals_loops_over_values_and_pairs(classifier, batch):
    classifier.eval()
    method = split(HSPLID(0.5, 0.25, 2.0, 3.0, variation=0.35), classifier, batch)
    terms = method(classifier, batch).terms
    z, label = classifier(batch["image"]).embedding.detach(), batch["label"].tolist()
    within, about, salient = 0.0, 0.0, []
    for d in range(6):
        column = z[:, d].tolist()
        mean = sum(column) / 5
        means = {k: sum(v for v, y in zip(column, label) if y == k) / label.count(k) for k in set(label)}
        a = sum((v - means[y]) ** 2 for v, y in zip(column, label))
        b = sum((v - mean) ** 2 for v in column)
        beta = b**2 / (a**2 + b**2)
        salient.append(beta >= 0.85)
        within += sum(beta**2 * (v - means[y]) ** 2 for v, y in zip(column, label)) / 5 / 4
        about += sum((1 - beta) ** 2 * (v - mean) ** 2 for v in column) / 5
    part = torch.tensor(salient)
    assert torch.equal(part, method.salient())
    one_hot = torch.eye(4).double()[batch["label"]]
    of_image = as_the_authors_write_it(kernel(batch["image"].flatten(1)), kernel(z[:, part]))
    of_label = as_the_authors_write_it(one_hot @ one_hot.T, kernel(z[:, ~part]))
    wanted = {"salient": 0.5 * within, "other": 0.25 * about, "image": 2 * of_image, "label": 3 * of_label}
    for name, value in wanted.items():
        assert terms[f"hsplid_{name}"].item() == pytest.approx(value, rel=1e-5), name
        assert value > 0


def test_gradient_equals_finite_differences(classifier, batch, check_gradient):
    method = split(HSPLID(1.0, 1.0, 1.0, 1.0, variation=0.35), classifier.eval(), batch)
    check_gradient(lambda classifier: method(classifier, batch).total, rel=1e-3)


def test_the_head_reads_salient_values_only_and_the_plain_model_needs_no_mask(classifier, batch):
    method = HSPLID(variation=0.35)
    optimizer = torch.optim.AdamW(classifier.parameters(), 1e-3)
    method.attach(classifier, optimizer)
    classifier.eval()
    method(classifier, batch).total.backward()
    optimizer.step()
    salient = method.salient()
    assert 1 < salient.sum() < 5
    assert classifier.model.fc.weight[:, ~salient].eq(0).all()
    assert classifier.model.fc.weight[:, salient].ne(0).any()


def test_nothing_is_cleared_while_it_warms_up_or_without_two_parts(classifier, batch):
    for method in (HSPLID(variation=0.35, warmup=5), HSPLID(variation=0.5)):
        optimizer = torch.optim.SGD(classifier.parameters(), 0.0)
        method.attach(classifier, optimizer)
        terms = method(classifier, batch).terms
        assert set(terms) == {"task"} if method.warmup else terms["hsplid_image"] == 0
        optimizer.step()
        assert classifier.model.fc.weight.ne(0).all()


def test_moments_forget(classifier, batch):
    method = HSPLID(momentum=0.5)
    method.attach(classifier.eval())
    method(classifier, batch)
    other = batch | {"image": batch["image"].flip(0) * 2}
    method(classifier, other)
    first, second = (classifier(x["image"]).embedding.detach() for x in (batch, other))
    assert torch.allclose(method.moments[2], 0.5 * first.square().sum(0) + second.square().sum(0))
    assert method.moments[0].tolist() == [3, 3, 0, 1.5]


def test_what_does_not_depend_has_no_hsic():
    values = torch.randn(6, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    matrix, constant = kernel(values), torch.ones(6, 6).double()
    assert normalised_hsic(matrix, constant).item() == pytest.approx(0, abs=1e-9)
    assert normalised_hsic(matrix, matrix) > 1


@pytest.mark.parametrize("name", ["hsplid_salient", "hsplid_other", "hsplid_image", "hsplid_label"])
def test_its_terms_fall_while_they_are_trained(classifier, batch, name, minimise):
    method = split(HSPLID(variation=0.35), classifier.eval(), batch)
    learning = classifier.model.features.parameters()
    values = minimise(lambda: method(classifier, batch).terms[name], learning, steps=20)
    assert values[-1] < 0.95 * values[0]


def test_in_a_sum(classifier, batch):
    together = HSPLID() + CAMAL()
    together.attach(classifier)
    loss = together(classifier, batch)
    assert {"task", "camal", "hsplid_salient"} <= set(loss.terms)
    loss.total.backward()
    assert all(parameter.grad.isfinite().all() for parameter in classifier.parameters())


def test_models_without_one_final_layer_are_refused(batch):
    headless = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.AdaptiveAvgPool2d(1), nn.Flatten()).double()
    with pytest.raises(InputError, match="no single final linear layer"):
        HSPLID()(Classifier(headless), batch)
