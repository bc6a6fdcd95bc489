import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as draw

from lookright.studio.scores import Score
from lookright.studio.teaching import choose, representatives, typicality

RANDOM = np.random.default_rng(0)


def cosine(one, other):
    return one @ other / np.linalg.norm(one) / np.linalg.norm(other)


def scored(embeddings):
    return {
        f"{number}.png": Score("", np.ones(2) / 2, np.zeros((1, 1)), embedding)
        for number, embedding in enumerate(embeddings)
    }


@pytest.mark.parametrize("images", [1, 2, 9, 30])
def test_typicality_is_the_mean_similarity_to_the_nearest(images):
    embedding = RANDOM.normal(size=(images, 3))
    for image, found in enumerate(typicality(embedding)):
        others = sorted((cosine(embedding[image], other) for other in np.delete(embedding, image, 0)), reverse=True)
        assert found == pytest.approx(np.mean(others[:20]) if others else 0, abs=1e-5)


@settings(max_examples=50)
@given(draw.integers(0, 1000), draw.integers(0, 3), draw.integers(0, 10))
def test_representatives_are_those_of_a_loop(seed, known, number):
    random = np.random.default_rng(seed)
    embedding, others, may = random.normal(size=(8, 3)), random.normal(size=(known, 3)), random.random(8) < 0.7

    def covered(chosen):
        stand = [*others, *(embedding[each] for each in chosen)]
        return sum(max([cosine(one, other) for other in stand], default=-1) for one in embedding)

    expected = []
    while len(expected) < min(number, may.sum()):
        left = [each for each in range(8) if may[each] and each not in expected]
        expected.append(max(left, key=lambda each: covered([*expected, each])))
    found = representatives(embedding, others, may, number).tolist()
    assert len(found) == len(set(found)) == len(expected)
    assert all(may[each] for each in found)
    for count in range(len(found)):  # images that add nothing more are equally good
        assert covered(found[: count + 1]) == pytest.approx(covered(expected[: count + 1]), abs=1e-4)


def test_labels_take_turns_and_those_with_fewest_masks_begin():
    scores = scored(RANDOM.normal(size=(12, 4)))
    labels = {image: "cat" if number < 8 else "dog" for number, image in enumerate(scores)}
    masked = {"0.png", "1.png", "9.png"}
    found = choose(scores, labels, masked, 20)
    assert sorted([*found, *masked]) == sorted(scores)
    assert [labels[image] for image in found[:5]] == ["dog", "cat", "dog", "cat", "dog"]
    assert choose(scores, labels, masked, 3) == found[:3]
    assert choose({}, {}, set(), 10) == []


def test_what_is_like_no_other_comes_last():
    clusters = np.repeat(np.eye(4)[:2], 5, axis=0) + 0.05 * RANDOM.normal(size=(10, 4))
    scores = scored([*clusters, np.array([0.0, 0, 1, 0]), np.array([0.0, 0, 0, 1])])
    found = choose(scores, dict.fromkeys(scores, "cat"), set(), 12)
    assert {int(image.split(".")[0]) // 5 for image in found[:2]} == {0, 1}  # one of each cluster
    assert {found.index("10.png"), found.index("11.png")} <= set(range(6, 12))


def test_the_next_choice_goes_on_where_masks_are():
    scores = scored(RANDOM.normal(size=(30, 5)))
    labels = {image: "ab"[number % 2] for number, image in enumerate(scores)}
    first = choose(scores, labels, set(), 6)
    assert first + choose(scores, labels, set(first), 6) == choose(scores, labels, set(), 12)


def test_of_very_many_images_evenly_spaced_ones_are_compared(monkeypatch):
    monkeypatch.setattr("lookright.studio.teaching.MOST_COMPARED", 5)
    scores = scored(RANDOM.normal(size=(17, 3)))
    found = choose(scores, dict.fromkeys(scores, "cat"), {"1.png"}, 20)
    assert sorted(int(image.split(".")[0]) for image in found) == [0, 4, 8, 12, 16]
