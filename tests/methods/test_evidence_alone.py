import torch

from lookright import EvidenceAlone
from lookright.metrics import evidence_accuracy
from lookright.perturb import Noise, ZeroFill, inpaint


def test_only_the_evidence_is_left(batch):
    altered = EvidenceAlone().alter(batch)
    image, mask = batch["image"], batch["mask"]
    filled = mask[:, None] * image + (1 - mask[:, None]) * inpaint(image, mask)
    for row in range(5):
        whole = batch["mask_weight"][row] == 0
        torch.testing.assert_close(altered["image"][row], image[row] if whole else filled[row])
    assert all(altered[key] is batch[key] for key in ("label", "mask", "mask_weight"))


def test_what_nobody_knows_is_away_and_an_empty_mask_leaves_the_image(batch):
    batch["ignore"] = torch.zeros(5, 8, 8, dtype=torch.float64)
    batch["ignore"][:, :4] = 1
    batch["mask"][3] = 0
    altered = EvidenceAlone(perturbation=ZeroFill()).alter(batch)["image"]
    assert not altered[0, :, :4].any()
    assert torch.equal(altered[3], batch["image"][3])


def test_it_is_trained_on_what_evidence_accuracy_shows(classifier, batch):
    """The predictions on the altered batch are those that the measure counts."""
    batch["mask_weight"][:] = 1
    classifier.eval()
    seen = classifier(EvidenceAlone().alter(batch)["image"]).logits.argmax(1)
    right = evidence_accuracy(classifier, batch["image"], batch["mask"].float(), batch["label"])
    assert torch.equal(right, (seen == batch["label"]).float())


def test_random_fills_follow_the_seed(batch):
    first, again, other = (EvidenceAlone(Noise(), seed=seed).alter(batch)["image"] for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
