import torch

from lookright.data.protocols import GivenSplits
from lookright.training.preprocessing import Preprocessing
from lookright.training.run_data import load_data


def test_single_images_are_prepared_as_those_of_a_loader(squares):
    data = load_data(squares, GivenSplits(), 0)
    for preprocessing in (Preprocessing(20, (0.4, 0.5, 0.6), (0.2, 0.3, 0.4)), Preprocessing(48, (0.5,), (0.25,))):
        batch = next(iter(data.loader("test", preprocessing, batch_size=4)))
        images = [data.samples[row].image for row in data.rows("test").index[:4]]
        assert torch.equal(preprocessing(images), batch["image"])
        assert batch["image"].shape == (4, len(preprocessing.mean), preprocessing.size, preprocessing.size)


def test_pixels_are_normalised_by_channel():
    white = torch.full((3, 8, 8), 255, dtype=torch.uint8)
    pixels = Preprocessing(4, (0.5, 0.2, 0.0), (0.5, 0.4, 2.0))([white])
    assert pixels.shape == (1, 3, 4, 4)
    torch.testing.assert_close(pixels[0, :, 0, 0], torch.tensor([1.0, 2.0, 0.5]))
