import numpy as np
from hypothesis import given
from hypothesis import strategies as draw

from lookright.studio.scores import Score
from lookright.studio.teaching import choose, most_instructive, need

RANDOM = np.random.default_rng(0)


def test_what_is_unsure_and_like_badly_aligned_images_is_needed_most():
    embedding = np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 0.02], [0.02, 1.0]])
    alignment = np.array([0.9, 0.1, np.nan, np.nan])
    sure, unsure = [0.99, 0.01], [0.5, 0.5]
    found = need(np.array([sure, sure, unsure, unsure]), embedding, alignment)
    assert found[3] > found[2] > found[0]
    assert need(np.array([sure, sure, sure, unsure]), embedding, alignment)[3] == found[3]
    assert ((found >= 0) & (found <= 1)).all()


def test_without_a_mask_all_images_are_expected_to_be_alike():
    p = RANDOM.dirichlet([1, 1, 1], 5)
    found = need(p, RANDOM.normal(size=(5, 4)), np.full(5, np.nan))
    entropy = -(p * np.log(p)).sum(1) / np.log(3)
    assert np.allclose(found, 0.5 * np.clip(entropy, 0.05, 1), atol=1e-5)


@given(draw.integers(0, 1000), draw.integers(0, 4), draw.integers(0, 12))
def test_the_choice_equals_a_loop(seed, taken, number):
    random = np.random.default_rng(seed)
    needs, embedding = random.random(9), random.normal(size=(9, 3))
    direction = embedding / np.linalg.norm(embedding, axis=1, keepdims=True)
    near, expected = list(range(taken)), []
    while len(expected) < min(number, 9 - taken):
        best = max(
            (each for each in range(9) if each >= taken and each not in expected),
            key=lambda each: needs[each] * min([(1 - direction[each] @ direction[other]) / 2 for other in near] or [1]),
        )
        expected.append(best)
        near.append(best)
    assert most_instructive(needs, embedding, list(range(taken)), number).tolist() == expected


def test_images_with_a_mask_are_not_asked_for():
    scores = {
        f"{number}.png": Score("", RANDOM.dirichlet([1, 1]), np.zeros((1, 1)), RANDOM.normal(size=3))
        for number in range(6)
    }
    found = choose(scores, {"0.png": 0.4}, {"0.png", "3.png"}, 10)
    assert sorted(found) == ["1.png", "2.png", "4.png", "5.png"]
    assert choose({}, {}, set(), 10) == []
