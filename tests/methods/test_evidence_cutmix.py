import pytest
import torch

from lookright import CAMAL, EvidenceCutMix, InputError


@pytest.fixture
def masked(batch):
    batch["mask_weight"][:] = 1
    return batch


def source_of(altered, batch, row):
    """The one image whose pixels lie where something was pasted onto a row."""
    pasted = altered["pasted"][row] == 1
    (found,) = [
        j for j in range(5) if j != row and torch.equal(altered["image"][row][:, pasted], batch["image"][j][:, pasted])
    ]
    return found


def test_the_evidence_of_another_image_lies_over_each(masked):
    altered = EvidenceCutMix(share=1.0).alter(masked)
    for row in range(5):
        other = source_of(altered, masked, row)
        pasted = altered["pasted"][row]
        assert torch.equal(pasted, masked["mask"][other])
        assert torch.equal(altered["image"][row][:, pasted == 0], masked["image"][row][:, pasted == 0])
        assert altered["pasted_label"][row] == masked["label"][other]
        own, theirs = 0, 0
        for y in range(8):
            for x in range(8):
                theirs += int(pasted[y, x])
                own += int(masked["mask"][row, y, x] and not pasted[y, x])
                assert altered["mask"][row, y, x] == (masked["mask"][row, y, x] and not pasted[y, x])
        assert altered["pasted_share"][row].item() == pytest.approx(theirs / (theirs + own))
    assert altered["label"] is masked["label"]


def test_the_loss_is_that_of_both_labels(classifier, masked):
    method = EvidenceCutMix(share=1.0)
    altered = EvidenceCutMix(share=1.0).alter(masked)
    loss = method(classifier, masked)
    log_p = classifier.model(altered["image"]).log_softmax(1)
    task = pasted = 0.0
    for row in range(5):
        share = altered["pasted_share"][row].item()
        task -= (1 - share) * log_p[row, altered["label"][row]].item() / 5
        pasted -= share * log_p[row, altered["pasted_label"][row]].item() / 5
    assert loss.terms["task"].item() == pytest.approx(task)
    assert loss.terms["evidencecutmix"].item() == pytest.approx(pasted)


def test_gradient_equals_finite_differences(masked, check_gradient):
    check_gradient(lambda classifier: EvidenceCutMix(share=1.0)(classifier, masked).total)


def test_boxes_by_area_are_cutmix_and_need_no_masks(batch):
    method = EvidenceCutMix(share=1.0, region="box", label="area")
    assert method.needs == {"label"}
    altered = method.alter({key: batch[key] for key in ("image", "label")})
    assert "mask" not in altered
    areas = set()
    for row in range(5):
        pasted = altered["pasted"][row]
        lines, columns = pasted.amax(1), pasted.amax(0)
        assert torch.equal(pasted, lines[:, None] * columns)  # a rectangle
        for line in (lines, columns):
            inside = line.nonzero()[:, 0].tolist()
            assert inside == list(range(min(inside, default=0), max(inside, default=-1) + 1))
        assert altered["pasted_share"][row].item() == pytest.approx(pasted.mean().item())
        areas.add(pasted.mean().item())
    assert len(areas) > 1


def test_boxes_by_evidence_count_what_is_seen_of_each(masked):
    altered = EvidenceCutMix(share=1.0, region="box", seed=2).alter(masked)
    for row in range(5):
        pasted, other = altered["pasted"][row], None
        if pasted.any():
            other = source_of(altered, masked, row)
            theirs = (masked["mask"][other] * pasted).sum().item()
            own = (masked["mask"][row] * (1 - pasted)).sum().item()
            assert altered["pasted_share"][row].item() == pytest.approx(theirs / (theirs + own))


def test_a_share_of_those_with_evidence_gives_and_takes(batch):
    batch["mask"][3] = 0
    rows = set()
    method = EvidenceCutMix(share=0.67)
    for _ in range(10):
        altered = method.alter(batch)
        changed = (altered["image"] != batch["image"]).flatten(1).any(1).nonzero()[:, 0].tolist()
        assert set(changed) <= {0, 2, 4}  # image 1 has no mask, 3 no evidence
        assert len(changed) == 2
        assert (altered["pasted_share"] > 0).nonzero()[:, 0].tolist() == changed
        rows.add(tuple(changed))
    assert len(rows) > 1


def test_what_nobody_knows_is_not_pasted_and_is_known_where_something_was(masked):
    masked["ignore"] = torch.zeros(5, 8, 8, dtype=torch.float64)
    masked["ignore"][:, :4] = 1
    masked["mask"][:, :4] = torch.nan
    altered = EvidenceCutMix(share=1.0).alter(masked)
    assert not altered["pasted"][:, :4].any()
    assert torch.equal(altered["ignore"], masked["ignore"])
    assert altered["mask"].isfinite().all()


def test_nothing_is_pasted_where_there_is_one_image_or_none(classifier, batch):
    batch["mask"][1:] = 0
    method = EvidenceCutMix(share=1.0)
    assert method.alter(batch) is batch
    assert method(classifier, batch).terms["evidencecutmix"].item() == 0


def test_in_a_sum_the_map_of_the_image_s_own_label_is_guided(classifier, masked):
    altered = EvidenceCutMix(share=1.0).alter(masked)
    loss = (EvidenceCutMix(share=1.0) + CAMAL())(classifier, masked)
    assert set(loss.terms) == {"task", "evidencecutmix", "camal"}
    assert loss.terms["camal"].item() == pytest.approx(CAMAL()(classifier, altered).terms["camal"].item())


def test_several_labels_an_image_are_refused(batch):
    with pytest.raises(InputError, match="shares one label out"):
        EvidenceCutMix().alter(batch | {"label": torch.ones(5, 4)})
