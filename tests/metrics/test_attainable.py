import itertools

import pytest
import torch

from lookright import InputError
from lookright.classifier import evaluating
from lookright.metrics import (
    NormalisedComprehensiveness,
    NormalisedSufficiency,
    attainable_range,
    normalised_comprehensiveness,
    normalised_sufficiency,
)


def inputs(batch=3, size=(12, 10), seed=0):
    generator = torch.Generator().manual_seed(seed)
    image = torch.randn(batch, 3, *size, generator=generator)
    return image, torch.randn(batch, 2, 2, generator=generator), torch.randint(4, (batch,), generator=generator)


def naive_falls(classifier, image, target):
    """The mean fall over each order of the four quarters of one image."""

    def score(gone):
        view = image.clone()
        for cell in gone:
            row, column = divmod(cell, 2)
            view[:, 6 * row : 6 * row + 6, 5 * column : 5 * column + 5] = 0
        with evaluating(classifier), torch.no_grad():
            return classifier(view[None]).logits[0].softmax(0)[target].item()

    return {
        order: sum(score(()) - score(order[:count]) for count in range(1, 5)) / 4
        for order in itertools.permutations(range(4))
    }


def test_against_all_orders(classifier):
    image, map, target = inputs()
    found = attainable_range(classifier, image, target, cells=2, chunk_size=7)
    searched = attainable_range(classifier, image, target, cells=2, beam=6)
    comprehensive = normalised_comprehensiveness(classifier, image, map, target, cells=2)
    sufficient = normalised_sufficiency(classifier, image, map, target, cells=2)
    for b in range(3):
        falls = naive_falls(classifier, image[b], target[b])
        low, high = min(falls.values()), max(falls.values())
        assert found[b].tolist() == pytest.approx([low, high], abs=1e-6)
        order = tuple(map[b].flatten().argsort(descending=True).tolist())
        assert comprehensive[b].item() == pytest.approx((falls[order] - low) / (high - low), abs=1e-4)
        assert sufficient[b].item() == pytest.approx((falls[order[::-1]] - low) / (high - low), abs=1e-4)
    # Of four cells there are at most six subsets of a size: a beam that wide tries all.
    torch.testing.assert_close(searched, found)


def test_a_narrow_search_stays_within_the_range(classifier):
    image, _, target = inputs(batch=2)
    exact = attainable_range(classifier, image, target)
    searched = attainable_range(classifier, image, target, beam=2)
    assert (searched[:, 0] >= exact[:, 0] - 1e-6).all()
    assert (searched[:, 1] <= exact[:, 1] + 1e-6).all()
    assert (searched[:, 0] < searched[:, 1]).all()


def test_the_map_of_contributions_attains_both_ends(linear):
    """Of a linear model the logit falls by what the cells contribute: the largest first is the best order there is."""
    image = torch.randn(4, 3, 6, 5, generator=torch.Generator().manual_seed(1))
    contribution = (linear.weight.detach() * image).sum(1)
    cell = torch.stack([part.sum((1, 2)) for rows in contribution.tensor_split(2, 1) for part in rows.split([3, 2], 2)])
    ranked = torch.empty_like(contribution)
    for b in range(4):
        for place, number in enumerate(cell[:, b].argsort()):
            row, column = divmod(int(number), 2)
            ranked[b, 3 * row : 3 * row + 3, 3 * column : 3 * column + 3] = place
    target = torch.zeros(4, dtype=torch.long)
    options = {"cells": 2, "score": "logit"}
    torch.testing.assert_close(normalised_comprehensiveness(linear, image, ranked, target, **options), torch.ones(4))
    torch.testing.assert_close(
        normalised_sufficiency(linear, image, ranked, target, **options), torch.zeros(4), atol=1e-5, rtol=0
    )


def test_confidence_moves_the_falls_and_not_their_share(linear):
    """Twice the weights: other probabilities and falls; the best order stays the best."""
    image = torch.randn(4, 3, 6, 5, generator=torch.Generator().manual_seed(1))
    target, map = torch.zeros(4, dtype=torch.long), torch.randn(4, 2, 2, generator=torch.Generator().manual_seed(2))
    ranges, shares = [], []
    for scale in (1, 3):
        model = type(linear)(scale * linear.weight.detach())
        ranges.append(attainable_range(model, image, target, cells=2, score="logit"))
        shares.append(normalised_comprehensiveness(model, image, map, target, cells=2, score="logit"))
    torch.testing.assert_close(ranges[1], 3 * ranges[0])
    torch.testing.assert_close(shares[1], shares[0], atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize(
    ("metric", "function"),
    [
        (NormalisedComprehensiveness, normalised_comprehensiveness),
        (NormalisedSufficiency, normalised_sufficiency),
    ],
)
def test_metric_is_the_mean_and_what_has_no_range_is_counted(classifier, metric, function):
    image, map, target = inputs(batch=4)
    image[1] = 0
    map[2, 0, 0] = torch.nan
    value = function(classifier, image, map, target, cells=2)
    assert value.isnan().tolist() == [False, True, True, False]
    assert ((value >= 0) & (value <= 1)).tolist() == [True, False, False, True]
    # Only the order of the cells counts.
    torch.testing.assert_close(function(classifier, image, 5 * map.exp(), target, cells=2), value, equal_nan=True)
    found = metric(cells=2)
    found.update(classifier, image, map, target)
    torch.testing.assert_close(found.compute(), value[[0, 3]].mean())
    assert found.undefined == 2
    assert len(function(classifier, image[:0], map[:0], target[:0])) == 0


def test_grids_that_do_not_fit_are_refused(classifier):
    image, _, target = inputs()
    for arguments, message in (
        ({"cells": 0}, "cells=0 and images of 12 x 10 pixels"),
        ({"cells": 11}, "cells=11"),
        ({"cells": 5}, r"cells=5 has 2\^25 subsets; expected up to 4, or a beam"),
        ({"beam": 0}, "beam=0"),
    ):
        with pytest.raises(InputError, match=message):
            attainable_range(classifier, image, target, **arguments)
