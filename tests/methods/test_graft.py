import math

import pytest
import torch

from lookright import CAMAL, BackgroundSwap, Graft, InputError
from lookright.batch import mask_on_grid
from lookright.perturb import inpaint


def bilinear(plane, x, y):
    """The value of a plane (H, W) at pixel coordinates; 0 outside."""
    height, width = plane.shape
    total = 0.0
    for row in (math.floor(y), math.floor(y) + 1):
        for column in (math.floor(x), math.floor(x) + 1):
            if 0 <= row < height and 0 <= column < width:
                total += float(plane[row, column]) * (1 - abs(y - row)) * (1 - abs(x - column))
    return total


def test_equals_a_loop_over_pixels(batch):
    """Every pixel of the evidence is looked up where it comes from, and lies on the in-painted scenery of one other."""
    batch["ignore"] = torch.zeros(5, 8, 8, dtype=torch.float64)
    batch["ignore"][:, :, 6:] = 0.5
    altered = Graft(share=1.0, seed=3).alter(batch)

    method = Graft(share=1.0, seed=3)
    generator, rows = method.generator(), torch.tensor([0, 2, 3, 4])
    order = rows[torch.randperm(4, generator=generator)]
    allowed = (batch["mask_weight"] > 0) & ~torch.eye(5, dtype=torch.bool)
    other = torch.multinomial(allowed[order].float(), 1, generator=generator)[:, 0]
    inside, outside = mask_on_grid(batch, (8, 8))
    placement = method.placement(inside[order], generator)
    for turn, row in enumerate(order.tolist()):
        start, end, zoom = (value[turn].tolist() for value in placement)
        source, keep = batch["image"][other[turn]][None], outside[other[turn]][None]
        scenery = (keep * source + (1 - keep) * inpaint(source, keep))[0]
        cover = 1 - outside[row]
        for y in range(8):
            for x in range(8):
                at = [(coordinate + 0.5) / 4 - 1 for coordinate in (x, y)]
                from_x, from_y = (
                    (begin + (place - goal) / by + 1) * 4 - 0.5
                    for begin, place, goal, by in zip(start, at, end, zoom, strict=True)
                )
                covered = bilinear(cover, from_x, from_y)
                for channel in range(3):
                    front = bilinear(cover * batch["image"][row, channel], from_x, from_y)
                    wanted = front + (1 - covered) * float(scenery[channel, y, x])
                    assert altered["image"][row, channel, y, x].item() == pytest.approx(wanted, abs=1e-6)
                for key in ("mask", "ignore"):
                    assert altered[key][row, y, x].item() == pytest.approx(
                        bilinear(batch[key][row], from_x, from_y), abs=1e-6
                    )


@pytest.mark.parametrize("corner", [False, True])
def test_evidence_that_does_not_move_is_a_background_swap(batch, corner):
    if corner:
        batch["mask"][:, :, 2:], batch["mask"][:, 2:] = 0, 0
    still = Graft(share=1.0, scale=1.0, shift=0.0, mirror=False).alter(batch)
    swapped = BackgroundSwap(share=1.0).alter(batch)
    for key in ("image", "mask"):
        assert torch.allclose(still[key], swapped[key], atol=1e-6)


def test_the_centre_stays_in_the_image_and_the_size_in_its_range():
    inside = torch.zeros(64, 20, 30)
    inside[:, 15:18, 25:28] = 1
    start, end, zoom = Graft(scale=2.0, shift=0.5).placement(inside, torch.Generator().manual_seed(0))
    assert start[0].tolist() == pytest.approx([26.5 / 15 - 1, 16.5 / 10 - 1], abs=1e-5)
    assert end.abs().max() <= 0.8
    assert zoom[:, 1].min() >= 0.5
    assert zoom[:, 1].max() <= 2
    assert 10 < (zoom[:, 0] < 0).sum() < 54


def test_images_without_evidence_stay(batch):
    batch["mask"][0] = 0
    altered = Graft(share=1.0).alter(batch)
    for row in (0, 1):  # an empty mask, and none
        assert torch.equal(altered["image"][row], batch["image"][row])
    assert torch.equal(altered["label"], batch["label"])


def test_in_a_sum_the_guidance_sees_the_moved_mask(classifier, batch):
    altered = Graft(share=1.0).alter(batch)
    alone = CAMAL(map="contrast")(classifier, altered).terms["camal"]
    assert (Graft(share=1.0) + CAMAL(map="contrast"))(classifier, batch).terms["camal"] == alone


@pytest.mark.parametrize("wrong", [{"scale": 0.5}, {"shift": 2}, {"share": -1}])
def test_arguments_out_of_range_are_refused(wrong):
    with pytest.raises(InputError, match=next(iter(wrong))):
        Graft(**wrong)
