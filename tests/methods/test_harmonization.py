import pytest
import torch

from lookright import CAMAL, Harmonization, InputError
from lookright.attribution import input_gradient


def above_mean(cells):
    mean = sum(cells.values()) / len(cells)
    deviation = (sum((value - mean) ** 2 for value in cells.values()) / len(cells)) ** 0.5
    return {place: max(0.0, (value - mean) / deviation) for place, value in cells.items()}


def halved(cells, size):
    """Blurred by the binomial kernel over the cells there are, every second one kept."""
    line, small = [1, 4, 6, 4, 1], {}
    for y in range(0, size, 2):
        for x in range(0, size, 2):
            near = [
                (line[dy + 2] * line[dx + 2], cells[y + dy, x + dx])
                for dy in range(-2, 3)
                for dx in range(-2, 3)
                if (y + dy, x + dx) in cells
            ]
            small[y // 2, x // 2] = sum(factor * value for factor, value in near) / sum(factor for factor, _ in near)
    return small


def mean_square(map, mask):
    return sum((map[place] - mask[place]) ** 2 for place in map) / len(map)


def loss(map, mask, standardise):
    """Σ over the levels 8, 4 and 2 of the mean square."""
    map, mask = ({(y, x): float(values[y, x]) for y in range(8) for x in range(8)} for values in (map, mask))
    if standardise == "map":
        map, mask = above_mean(map), above_mean(mask)
        scale = max(map.values()) / max(mask.values())
        mask = {place: scale * value for place, value in mask.items()}
    total = 0.0
    for size in (8, 4, 2):
        both = (map, mask) if standardise == "map" else (above_mean(map), above_mean(mask))
        total += mean_square(*both)
        map, mask = halved(map, size), halved(mask, size)
    return total


@pytest.mark.parametrize("standardise", ["levels", "map"])
def test_equals_a_loop_over_levels_and_cells(classifier, batch, standardise):
    classifier.eval()
    image = batch["image"].clone().requires_grad_()
    maps = input_gradient(classifier, classifier(image), batch["label"]).detach()
    method = Harmonization(weight=3.0, levels=3, standardise=standardise)
    rows = [row for row in range(5) if batch["mask_weight"][row] > 0]
    wanted = sum(float(batch["mask_weight"][row]) * loss(maps[row], batch["mask"][row], standardise) for row in rows)
    got = method(classifier, batch).terms["harmonization"].item()
    assert got == pytest.approx(3 * wanted / len(rows), rel=1e-6)


@pytest.mark.parametrize("map", ["input_gradient", "class_map"])
def test_gradient_equals_finite_differences(classifier, batch, check_gradient, map):
    classifier.eval()
    method = Harmonization(levels=2, map=map)
    check_gradient(lambda classifier: method(classifier, batch).terms["harmonization"], step=1e-6, rel=1e-2, abs=1e-6)


def test_the_size_of_a_map_does_not_matter_and_its_own_shape_costs_nothing(classifier, batch):
    method, inside = Harmonization(), batch["mask"]
    map = torch.rand(5, 8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    expected = method.compare(map, inside, 1 - inside)
    torch.testing.assert_close(method.compare(7 * map + 3, inside, 1 - inside), expected)
    torch.testing.assert_close(method.compare(2 * inside + 1, inside, 1 - inside), torch.zeros_like(expected))


def test_what_is_ignored_has_no_part(classifier, batch):
    classifier.eval()
    batch["ignore"] = torch.zeros(5, 8, 8, dtype=torch.float64)
    batch["ignore"][:, 2:5] = 1
    method = Harmonization()
    known = 1 - batch["ignore"]
    inside, outside = batch["mask"] * known, (1 - batch["mask"]) * known
    map = torch.rand(5, 8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    other = torch.where(batch["ignore"] == 1, 9.0, map)
    torch.testing.assert_close(method.compare(other, inside, outside), method.compare(map, inside, outside))


@pytest.mark.parametrize("value", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("standardise", ["levels", "map"])
def test_a_mask_that_is_the_same_everywhere_adds_nothing(classifier, batch, standardise, value):
    batch["mask"][:] = value
    loss = Harmonization(standardise=standardise)(classifier, batch)
    assert loss.terms["harmonization"].item() == 0
    loss.total.backward()
    assert all(parameter.grad.isfinite().all() for parameter in classifier.parameters())


def test_in_a_sum(classifier, batch):
    loss = (Harmonization() + CAMAL())(classifier, batch)
    assert set(loss.terms) == {"task", "harmonization", "camal"}
    loss.total.backward()
    assert all(parameter.grad.isfinite().all() for parameter in classifier.parameters())


def test_its_term_falls_while_it_is_trained(train_alone):
    terms = train_alone(Harmonization(), "harmonization", steps=40)
    assert terms[-1] < 0.8 * terms[0]


def test_refuses_a_pyramid_without_levels():
    with pytest.raises(InputError, match="levels=0"):
        Harmonization(levels=0)
