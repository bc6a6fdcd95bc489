import inspect
import math

import pytest
import torch

from lookright import RES, InputError
from lookright.methods.res import most_kept

BLUR = {-1: 0.25, 0: 0.5, 1: 0.25}


def threshold(cells):
    """What the code of the authors does: try all values, keep the first best."""
    negative = [a for a, y in cells if y < 0]
    positive = [a for a, y in cells if y > 0]
    best, kept = 0.0, 0.0
    for tried in [a + 1e-4 for a in negative] + positive:
        now = sum(tried > a for a in negative) / len(negative) + sum(tried <= a for a in positive) / len(positive)
        if now > kept + 1e-9:
            best, kept = tried, now
    return best


def reflect(i):
    return -i if i < 0 else 6 - i if i > 3 else i


def blurred(mask):
    values = [
        [
            sum(wy * wx * mask[reflect(y + dy)][reflect(x + dx)] for dy, wy in BLUR.items() for dx, wx in BLUR.items())
            for x in range(4)
        ]
        for y in range(4)
    ]
    most = max(map(max, values))
    return [[value / most for value in row] for row in values]


@pytest.mark.parametrize("unknown", ["ignored", "imputed"])
def test_equals_a_loop_over_cells(classifier, batch, unknown):
    batch["ignore"] = torch.zeros(5, 8, 8, dtype=torch.float64)
    batch["ignore"][:, :2, :2] = 1  # a cell
    batch["ignore"][:, 4, 4] = 1  # a quarter of one
    got = RES(weight=0.7, slack=0.2, unknown=unknown)(classifier, batch).terms["res"].item()
    features, weight = classifier(batch["image"]).features.detach(), classifier.head.weight.detach()
    images = []
    for b in range(5):
        if batch["mask_weight"][b] > 0:
            map = torch.einsum("k,khw->hw", weight[batch["label"][b]], features[b])
            map = ((map - map.min()) / (map.max() - map.min())).tolist()
            known = (1 - batch["ignore"][b]).reshape(4, 2, 4, 2).mean((1, 3))
            inside = (batch["mask"][b] * (1 - batch["ignore"][b])).reshape(4, 2, 4, 2).mean((1, 3))
            side = (inside - (known - inside)).sign()
            images.append((map, known.tolist(), inside.tolist(), side.tolist(), batch["mask_weight"][b].item()))
    grid = [(y, x) for y in range(4) for x in range(4)]
    a = threshold([(map[y][x], side[y][x]) for map, _, _, side, _ in images for y, x in grid])
    total = 0.0
    for map, known, inside, side, factor in images:
        cells = [(y, x) for y, x in grid if side[y][x] != 0]
        distance = sum(known[y][x] * abs(math.tanh(5 * (map[y][x] - a)) - side[y][x]) for y, x in cells)
        distance /= sum(known[y][x] for y, x in cells)
        target, counted = blurred(inside), [[1.0] * 4] * 4 if unknown == "imputed" else known
        rest = sum(counted[y][x] * abs(map[y][x] - target[y][x]) for y, x in grid)
        rest /= sum(counted[y][x] for y, x in grid)
        total += factor * (max(0.0, distance - 0.2) + rest)
    assert got == pytest.approx(0.7 * total / len(images), rel=1e-6)


@pytest.mark.parametrize("seed", range(5))
def test_its_threshold_is_that_of_a_loop_over_all_values(seed):
    generator = torch.Generator().manual_seed(seed)
    map = torch.rand(3, 4, 4, generator=generator, dtype=torch.float64)
    side = torch.randint(-1, 2, (3, 4, 4), generator=generator).double()
    got = inspect.unwrap(most_kept)(map, side).item()
    assert got == pytest.approx(threshold(list(zip(map.flatten().tolist(), side.flatten().tolist(), strict=True))))
    assert inspect.unwrap(most_kept)(map, torch.zeros_like(side)).item() == 0


def test_gradient_equals_finite_differences(classifier, batch, check_gradient, monkeypatch):
    a = torch.tensor(0.5, dtype=torch.float64)  # a constant of the gradient
    monkeypatch.setattr("lookright.methods.res.most_kept", lambda *_: a)
    check_gradient(lambda classifier: RES()(classifier, batch).terms["res"])


def test_the_learned_spreading_begins_as_an_average_and_learns(classifier, batch):
    method = RES(impute="learned")
    optimizer = torch.optim.SGD(classifier.parameters(), 0.1)
    method.attach(classifier, optimizer)
    assert any(method.kernel is parameter for group in optimizer.param_groups for parameter in group["params"])
    method(classifier, batch).total.backward()
    assert method.kernel.grad.any()
    corner = torch.zeros(1, 8, 8, dtype=torch.float64)
    corner[:, :2, :2] = 1
    given = {"image": batch["image"][:1], "label": batch["label"][:1], "mask": corner}
    spread = method._spread(given, torch.zeros(1, 4, 4, dtype=torch.float64))[0]
    assert spread[0, 0] == 1
    assert (spread[:2, :2] > 0).all()
    assert not spread[2:].any()


def test_evidence_and_nuisance_are_two_sides_and_neither_is_none(classifier, batch):
    mask = torch.zeros(5, 8, 8, dtype=torch.float64)
    mask[:, :4, :4] = 1
    unknown = torch.zeros_like(mask)
    unknown[:, 4:] = 1
    given = batch | {"mask": mask, "ignore": unknown}
    before = RES()(classifier, given).terms["res"].item()
    other = given | {"mask": torch.where(unknown > 0, torch.nan, mask)}
    assert RES()(classifier, other).terms["res"].item() == pytest.approx(before)
    nothing = RES()(classifier, given | {"ignore": torch.ones_like(mask)})
    assert nothing.terms["res"].item() == 0
    nothing.total.backward()
    assert all(parameter.grad.isfinite().all() for parameter in classifier.parameters())


@pytest.mark.parametrize("impute", ["blur", "learned"])
def test_spreads_as_finely_in_bfloat16(batch, impute):
    method, inside = RES(impute=impute), batch["mask"].reshape(5, 4, 2, 4, 2).mean((2, 4)).float()
    expected = method._spread(batch, inside)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(method._spread(batch, inside), expected)


def test_a_negative_slack_is_refused():
    with pytest.raises(InputError, match="slack=-1"):
        RES(slack=-1.0)
