from random import Random

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torchvision import tv_tensors
from torchvision.transforms import v2

from lookright.data.dataset import (
    UNKNOWN_LABEL,
    Augmentation,
    Change,
    Collate,
    ImageDataset,
    ShuffledBatches,
    recoloured,
)
from lookright.data.samples import read_samples
from lookright.data.table import read_table


@pytest.fixture
def read(squares):
    table = read_table(squares)
    return read_samples(squares, table)[:2]


def dataset(read, **arguments):
    return ImageDataset(*read, ["blue", "green", "red"], ["even", "odd"], **({"size": 32} | arguments))


def bright(image, label):
    """Where the square is: its colour is at 255, the noise below 90."""
    channel = {0: 2, 1: 1, 2: 0}[label]
    return (image[channel] > 170).float()


@pytest.mark.parametrize(
    "augmentation",
    [Augmentation(crop=1, flip=True, colour_jitter=0), Augmentation(crop=0.4, flip=True, colour_jitter=0)],
    ids=["flip", "crop and flip"],
)
def test_the_mask_moves_with_its_image(read, augmentation):
    data = dataset(read, size=48, augmentation=augmentation)
    overlaps, moved = [], 0
    for index in range(1, 60):
        sample, plain = data[(0, index)], data[index]
        if sample["mask_weight"] and (sample["mask"] > 0).sum() > 20:
            mask, seen = (sample["mask"] > 0).float(), bright(sample["image"], sample["label"])
            overlaps.append(((mask * seen).sum() / torch.maximum(mask, seen).sum()).item())
            moved += not torch.equal(sample["mask"], plain["mask"])
    assert min(overlaps) > 0.75
    assert moved > 10


@given(st.integers(1, 60), st.integers(1, 60), st.floats(0.05, 1), st.randoms(use_true_random=False))
def test_a_crop_lies_within_the_image_and_keeps_enough_of_it(height, width, least, random):
    top, left, high, wide = Augmentation(crop=least).draw(random, height, width).box
    assert 0 <= top <= height - high
    assert 0 <= left <= width - wide
    assert high * wide > 0
    if min(height, width) > 20 and 3 / 4 < width / height < 4 / 3:
        assert high * wide >= least * height * width - 0.5 * (high + wide + 1)
    if least < 1:
        assert (wide - 0.5) / (high + 0.5) <= 4 / 3
        assert (wide + 0.5) / (high - 0.5) >= 3 / 4


def test_the_part_is_resized_as_torchvision_does(read):
    (image, mask), change = read[1][0], Change((3, 5, 25, 20), mirrored=True)
    mask = tv_tensors.Mask(torch.ones(1, *image.shape[1:], dtype=torch.uint8).triu_())
    expected = v2.functional.hflip(v2.functional.resized_crop(image, 3, 5, 25, 20, [16, 16]))
    assert torch.equal(change.moved(image.as_subclass(torch.Tensor), 16, smooth=True), expected)
    expected = v2.functional.hflip(v2.functional.resized_crop(mask, 3, 5, 25, 20, [16, 16]))
    assert torch.equal(change.moved(mask.as_subclass(torch.Tensor), 16, smooth=False), expected)


@pytest.mark.parametrize("colour", [(0.8, 1, 1), (1, 1.3, 1), (1, 1, 0.2), (0.9, 0.8, 1.2)], ids=str)
def test_colours_change_as_with_torchvision_one_after_the_other(colour):
    images = torch.randint(80, 160, (2, 3, 9, 7), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    steps = (v2.functional.adjust_brightness, v2.functional.adjust_contrast, v2.functional.adjust_saturation)
    expected = images[1] / 255
    for factor, step in zip(colour, steps, strict=True):
        expected = step(expected, factor)
    unchanged, seen = recoloured(images, [(1, 1, 1), colour])
    assert torch.allclose(unchanged, images[0].float())
    assert torch.allclose(seen / 255, expected, atol=2e-4)


def test_colours_are_clipped():
    images = torch.tensor([0, 100, 255], dtype=torch.uint8).expand(2, 3, 1, 3)
    brighter, harder = recoloured(images, [(2, 1, 1), (1, 3, 1)])[:, 0, 0]
    assert brighter.tolist() == [0, 200, 255]
    assert harder.tolist() == pytest.approx([0, 300 - 2 * 355 / 3, 255])


def test_as_many_images_lose_their_colour_as_are_to(read):
    def grey(share):
        drawn = [Augmentation(greyscale=share).draw(Random(seed), 32, 32).colour for seed in range(400)]
        return sum(saturation == 0 for _, _, saturation in drawn) / len(drawn)

    assert (grey(0), grey(1)) == (0, 1)
    assert 0.2 < grey(0.3) < 0.4
    data = dataset(read, augmentation=Augmentation(greyscale=1))
    image = Collate((0.0,) * 3, (1.0,) * 3)([data[0, 0], data[0, 1]])["image"]
    assert torch.allclose(image, image[:, :1].expand(-1, 3, -1, -1), atol=1e-4)


def test_augmentation_is_a_function_of_seed_epoch_and_index(read):
    one, two = dataset(read, augmentation=Augmentation(), seed=3), dataset(read, augmentation=Augmentation(), seed=3)
    two[(5, 7)]
    torch.manual_seed(99)
    assert torch.equal(one[(1, 2)]["image"], two[(1, 2)]["image"])
    assert not torch.equal(one[(1, 2)]["image"], one[(2, 2)]["image"])
    other = dataset(read, augmentation=Augmentation(), seed=4)
    assert not torch.equal(one[(1, 2)]["image"], other[(1, 2)]["image"])


def test_augmentation_leaves_the_global_generator_alone(read):
    torch.manual_seed(0)
    before = torch.get_rng_state()
    dataset(read, augmentation=Augmentation())[(0, 0)]
    assert torch.equal(torch.get_rng_state(), before)


def test_a_batch_is_normalised_and_typed(read):
    data = dataset(read)
    batch = Collate((0.5, 0.4, 0.3), (0.2, 0.2, 0.1))([data[0], data[1]])
    pixel = data.samples[1].image[:, 3, 4].float() / 255
    expected = (pixel - torch.tensor([0.5, 0.4, 0.3])) / torch.tensor([0.2, 0.2, 0.1])
    assert torch.allclose(batch["image"][1, :, 3, 4], expected, atol=1e-5)
    assert batch["mask"].shape == (2, 32, 32)
    assert batch["mask"].max() == 1
    assert batch["mask_weight"].tolist() == [0, 1]
    assert batch["domain"].tolist() == [0, 1]


def test_a_label_that_training_never_saw_has_no_index(read):
    table, samples = read
    data = ImageDataset(table, samples, ["red"], [], 32)
    assert data[0]["label"] == 0
    assert data[1]["label"] == UNKNOWN_LABEL


def test_every_epoch_is_a_permutation_and_epochs_differ():
    batches = list(ShuffledBatches(size=12, batch_size=4, epochs=2, seed=1))
    assert len(batches) == 6
    for epoch in range(2):
        keys = [key for batch in batches[3 * epoch : 3 * epoch + 3] for key in batch]
        assert {index for _, index in keys} == set(range(12))
        assert {number for number, _ in keys} == {epoch}
    assert [index for _, index in batches[0]] != [index for _, index in batches[3]]


def test_processes_share_out_the_batches_of_one():
    alone = list(ShuffledBatches(size=10, batch_size=4, epochs=2))
    shared = [list(ShuffledBatches(size=10, batch_size=4, epochs=2, rank=rank, world_size=2)) for rank in (0, 1)]
    for whole, first, second in zip(alone, *shared):
        assert sorted(whole) == sorted(first + second)


def test_the_stream_goes_on_at_any_batch():
    batches = list(ShuffledBatches(size=10, batch_size=4, epochs=3))
    for start in range(len(batches)):
        assert list(ShuffledBatches(size=10, batch_size=4, epochs=3, start=start)) == batches[start:]
