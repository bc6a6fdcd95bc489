import pytest
import torch

from lookright import CAMAL, BackgroundSwap, InputError
from lookright.perturb import inpaint


def test_evidence_stays_and_scenery_is_that_of_another_image(batch):
    """Each swapped image is, pixel by pixel, the in-painted scenery of exactly one other image with a mask."""
    altered = BackgroundSwap(share=1.0).alter(batch)
    image, mask = batch["image"], batch["mask"]
    sceneries = mask[:, None] * inpaint(image, 1 - mask) + (1 - mask[:, None]) * image
    for row in range(5):
        if batch["mask_weight"][row] == 0:
            assert torch.equal(altered["image"][row], image[row])
            continue
        candidates = [mask[row] * image[row] + (1 - mask[row]) * sceneries[j] for j in (0, 2, 3, 4) if j != row]
        assert sum(torch.allclose(altered["image"][row], wanted) for wanted in candidates) == 1
    assert all(altered[key] is batch[key] for key in ("label", "mask", "mask_weight"))


def test_raw_scenery_keeps_the_other_evidence(batch):
    altered = BackgroundSwap(share=1.0, scenery="raw").alter(batch)["image"]
    image, mask = batch["image"], batch["mask"]
    for row in (0, 2, 3, 4):
        candidates = [mask[row] * image[row] + (1 - mask[row]) * image[j] for j in (0, 2, 3, 4) if j != row]
        assert sum(torch.allclose(altered[row], wanted) for wanted in candidates) == 1


def test_a_share_of_the_images_is_swapped_and_others_in_the_next_batch(batch):
    method = BackgroundSwap(share=0.5)
    rows = []
    for _ in range(8):
        changed = (method.alter(batch)["image"] != batch["image"]).flatten(1).any(1)
        assert changed.sum() == 2
        rows.append(tuple(changed.tolist()))
    assert len(set(rows)) > 1


@pytest.mark.parametrize("domain", ["own", "other"])
def test_scenery_of_a_domain(batch, domain):
    batch["mask_weight"][:] = 1
    batch["image"] = torch.arange(5.0, dtype=torch.float64)[:, None, None, None].expand(5, 3, 8, 8).clone()
    batch["domain"] = torch.tensor([0, 0, 1, 1, 2])
    altered = BackgroundSwap(share=1.0, scenery="raw", domain=domain).alter(batch)["image"]
    for row in range(5):
        scenery = set(altered[row][:, batch["mask"][row] == 0].unique().tolist())
        if domain == "own" and row == 4:
            assert scenery == {4.0}  # alone in its domain
        else:
            (source,) = scenery
            same = batch["domain"][row] == batch["domain"][int(source)]
            assert source != row
            assert bool(same) == (domain == "own")


def test_what_is_not_known_stays_with_the_image(batch):
    batch["ignore"] = torch.zeros(5, 8, 8, dtype=torch.float64)
    batch["ignore"][:, :2] = 1
    altered = BackgroundSwap(share=1.0).alter(batch)["image"]
    assert torch.equal(altered[:, :, :2], batch["image"][:, :, :2])


def test_images_without_evidence_or_partner_stay(batch):
    batch["mask"][:] = 0
    assert BackgroundSwap(share=1.0).alter(batch) is batch
    assert BackgroundSwap(share=1.0).alter({key: batch[key] for key in ("image", "label")}).keys() == {"image", "label"}
    single = {key: value[:1] for key, value in batch.items()} | {"mask": torch.ones(1, 8, 8)}
    assert BackgroundSwap(share=1.0).alter(single) is single


def test_in_a_sum_the_map_of_the_swapped_image_is_guided(classifier, batch):
    loss = (BackgroundSwap(share=1.0) + CAMAL())(classifier, batch)
    swapped = BackgroundSwap(share=1.0).alter(batch)
    assert loss.terms["camal"].item() == pytest.approx(CAMAL()(classifier, swapped).terms["camal"].item())
    assert set(loss.terms) == {"task", "camal"}


def test_refuses_shares_out_of_range():
    with pytest.raises(InputError, match=r"share=1\.5.*from 0 to 1"):
        BackgroundSwap(share=1.5)


def test_a_domain_that_is_not_there(batch):
    with pytest.raises(InputError, match="without domains"):
        BackgroundSwap(domain="own").alter(batch)
