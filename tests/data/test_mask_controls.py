import pytest
import torch
from torchvision import tv_tensors

from lookright.data.mask_controls import Inverted, RandomImage, Uniform
from lookright.data.protocols import GivenSplits
from lookright.data.samples import Sample
from lookright.training.run_data import load_data


def sample(number, height=4, width=6, dtype=torch.uint8):
    """An image whose mask says which image it belongs to."""
    image = tv_tensors.Image(torch.zeros(3, height, width, dtype=torch.uint8))
    value = number if dtype == torch.uint8 else number / 255
    return Sample(image, tv_tensors.Mask(torch.full((1, height, width), value, dtype=dtype)))


def controlled(control, samples, seed=0):
    """Every mask that is there counts."""
    return control(samples, [float(one.mask is not None) for one in samples], seed)


@pytest.fixture
def samples():
    return [sample(0), sample(51), Sample(sample(0).image, None), sample(102), sample(204, dtype=torch.float32)]


@pytest.mark.parametrize("control", [Inverted(), RandomImage(), Uniform()])
def test_images_keep_their_place_and_absent_masks_stay_absent(samples, control):
    before = [None if one.mask is None else one.mask.clone() for one in samples]
    after = controlled(control, samples)
    assert len(after) == len(samples)
    for old, new, mask in zip(samples, after, before):
        assert new.image is old.image
        assert (new.mask is None) == (mask is None)
        if mask is not None:
            assert isinstance(new.mask, tv_tensors.Mask)
            assert new.mask.shape[-2:] == new.image.shape[-2:]
            assert torch.equal(old.mask, mask)


def test_inverted_is_one_minus_the_mask(samples):
    values = [None if one.mask is None else one.mask[0, 0, 0].item() for one in controlled(Inverted(), samples)]
    assert values == [255, 204, None, 153, pytest.approx(0.2)]
    twice = controlled(Inverted(), controlled(Inverted(), samples))
    assert all(old.mask is None or torch.allclose(old.mask, new.mask) for old, new in zip(samples, twice))


def test_uniform_is_full(samples):
    values = [None if one.mask is None else one.mask.unique().tolist() for one in controlled(Uniform(), samples)]
    assert values == [[255], [255], None, [255], [1]]


@pytest.mark.parametrize("seed", range(20))
def test_random_gives_every_mask_to_another_image_once(seed):
    samples = [sample(number) for number in range(2 + seed)]
    values = [one.mask[0, 0, 0].item() for one in controlled(RandomImage(seed), samples)]
    assert sorted(values) == list(range(2 + seed))
    assert all(number != value for number, value in enumerate(values))


def test_random_depends_on_its_seed_and_that_of_the_run_alone():
    samples = [sample(number) for number in range(30)]

    def values(seed, run_seed):
        return [one.mask[0, 0, 0].item() for one in controlled(RandomImage(seed), samples, run_seed)]

    torch.manual_seed(5)
    state = torch.random.get_rng_state()
    first = values(0, 0)
    assert torch.equal(torch.random.get_rng_state(), state)
    torch.manual_seed(6)
    assert values(0, 0) == first
    assert first != values(1, 0) != values(0, 1) != first


def test_random_passes_on_the_masks_that_count():
    samples, weight = [sample(number) for number in range(20)], [1.0, 0.0, 0.0, 2.0] * 5
    values = [one.mask[0, 0, 0].item() for one in RandomImage()(samples, weight, 0)]
    counting = [number for number in range(20) if weight[number]]
    assert sorted(values[number] for number in counting) == counting
    assert all(values[number] != number for number in counting)


def test_random_resizes_the_mask_to_its_new_image():
    wide = sample(0, 2, 4)
    wide.mask[..., :2] = 255
    tall, wide = controlled(RandomImage(), [sample(7, 4, 2), wide])
    assert tall.mask[0].tolist() == [[255, 0]] * 4
    assert wide.mask[0].tolist() == [[7] * 4] * 2


def test_a_single_mask_and_no_mask_at_all():
    assert controlled(RandomImage(), [sample(3)])[0].mask.unique().tolist() == [3]
    assert list(controlled(RandomImage(), [])) == []


def test_a_run_gives_the_control_its_seed_and_the_masks_that_it_uses(squares):
    data = load_data(squares, GivenSplits(), seed=0)
    data.mask_control = RandomImage()
    data.table["mask_weight"] = data.table["mask_weight"].where(data.table.index % 2 == 0, 0.0)
    rows = data.rows("train")
    counting = [number for number, weight in enumerate(rows["mask_weight"]) if weight]
    original = {number: data.samples[rows.index[number]].mask[0] for number in counting}

    def donors(seed):
        dataset = data.dataset("train", 32, seed=seed)
        masks = [dataset[number]["mask"] for number in counting]
        return [[number for number in counting if torch.equal(original[number], mask)] for mask in masks]

    assert donors(1) == donors(1) != donors(2)
    assert all(donors(1))
