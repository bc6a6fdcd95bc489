import pytest
import torch
from torchvision import tv_tensors

from lookright.data.mask_controls import Inverted, RandomImage, Uniform
from lookright.data.samples import Sample


def sample(number, height=4, width=6, dtype=torch.uint8):
    """An image whose mask says which image it belongs to."""
    image = tv_tensors.Image(torch.zeros(3, height, width, dtype=torch.uint8))
    value = number if dtype == torch.uint8 else number / 255
    return Sample(image, tv_tensors.Mask(torch.full((1, height, width), value, dtype=dtype)))


@pytest.fixture
def samples():
    return [sample(0), sample(51), Sample(sample(0).image, None), sample(102), sample(204, dtype=torch.float32)]


@pytest.mark.parametrize("control", [Inverted(), RandomImage(), Uniform()])
def test_images_keep_their_place_and_absent_masks_stay_absent(samples, control):
    before = [None if one.mask is None else one.mask.clone() for one in samples]
    controlled = control(samples)
    assert len(controlled) == len(samples)
    for old, new, mask in zip(samples, controlled, before):
        assert new.image is old.image
        assert (new.mask is None) == (mask is None)
        if mask is not None:
            assert isinstance(new.mask, tv_tensors.Mask)
            assert new.mask.shape[-2:] == new.image.shape[-2:]
            assert torch.equal(old.mask, mask)


def test_inverted_is_one_minus_the_mask(samples):
    values = [None if one.mask is None else one.mask[0, 0, 0].item() for one in Inverted()(samples)]
    assert values == [255, 204, None, 153, pytest.approx(0.2)]
    twice = Inverted()(Inverted()(samples))
    assert all(old.mask is None or torch.allclose(old.mask, new.mask) for old, new in zip(samples, twice))


def test_uniform_is_full(samples):
    values = [None if one.mask is None else one.mask.unique().tolist() for one in Uniform()(samples)]
    assert values == [[255], [255], None, [255], [1]]


@pytest.mark.parametrize("seed", range(20))
def test_random_gives_every_mask_to_another_image_once(seed):
    samples = [sample(number) for number in range(2 + seed)]
    values = [one.mask[0, 0, 0].item() for one in RandomImage(seed)(samples)]
    assert sorted(values) == list(range(2 + seed))
    assert all(number != value for number, value in enumerate(values))


def test_random_depends_on_the_seed_alone():
    samples = [sample(number) for number in range(30)]

    def values(seed):
        return [one.mask[0, 0, 0].item() for one in RandomImage(seed)(samples)]

    torch.manual_seed(5)
    first, state = values(0), torch.random.get_rng_state()
    assert torch.equal(torch.random.get_rng_state(), state)
    torch.manual_seed(6)
    assert values(0) == first != values(1)


def test_random_resizes_the_mask_to_its_new_image():
    wide = sample(0, 2, 4)
    wide.mask[..., :2] = 255
    tall, wide = RandomImage()([sample(7, 4, 2), wide])
    assert tall.mask[0].tolist() == [[255, 0]] * 4
    assert wide.mask[0].tolist() == [[7] * 4] * 2


def test_a_single_mask_and_no_mask_at_all():
    assert RandomImage()([sample(3)])[0].mask.unique().tolist() == [3]
    assert list(RandomImage()([])) == []
