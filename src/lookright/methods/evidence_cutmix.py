"""EvidenceCutMix: the evidence of one image, or a box of it, pasted onto another."""

from typing import Literal, cast, get_args

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from lookright.batch import Batch, mask_on_grid, mask_weight
from lookright.classifier import Classifier, Output
from lookright.errors import InputError, require_between, require_one_of
from lookright.methods.map_guidance import share_inside
from lookright.methods.method import Views, require_classes
from lookright.methods.stochastic import Stochastic
from lookright.perturb import blend
from lookright.tasks import cross_entropy

Region = Literal["evidence", "box"]
Share = Literal["evidence", "area"]


class PastedBatch(Batch):
    """A batch in which parts of some images lie over others.

    Keys:
        pasted: (B, H, W) in [0, 1], 1 where the pasted part covers the image; all 0 where nothing was pasted.
        pasted_label: (B,), the label of what was pasted; the image's own where nothing was.
        pasted_share: (B,), the share of the label that it took over; 0 where nothing was pasted.
    """

    pasted: Float[Tensor, "B H W"]
    pasted_label: Int[Tensor, " B"]
    pasted_share: Float[Tensor, " B"]


class EvidenceCutMix(Stochastic):
    """Pastes the evidence of other images of the batch onto some: x' = (1 − P)·x + P·x̃, and shares the label out.

    P is the mask of x̃, or a random box. The label of x counts by 1 − λ and that of x̃ by λ:

        L = mean_b (1 − λ_b)·L_task(x'_b, y_b) + mean_b λ_b·CE(x'_b, ỹ_b)

    CutMix by masks. Yun et al., "CutMix: Regularization Strategy to Train Strong Classifiers with Localizable
    Features", ICCV 2019 (arXiv 1905.04899), paste boxes and take λ for the box's area, whatever lies in it; masks tell
    how much evidence of each there is to see: λ = ΣM̃P / (ΣM̃P + ΣM(1 − P)). What is pasted stays at its place.

    The mask then marks what is left of the image's own evidence: of its label, what was pasted is none. No gradient is
    guided: it is an augmentation, and other methods can be added to it.

    Args:
        share: of the images that something is pasted onto, drawn anew for each batch.
        region: what is pasted: the `evidence` of another image with a mask, or a random `box`, whose area is a share of
            the image uniform in [0, 1] before it is cut off at the border, as with the authors.
        label: λ as the share of the `evidence` that is seen, or of the `area` of the image. A `box` by its `area` is
            plain CutMix and needs no masks.
        seed: of all draws.

    Raises:
        InputError: a share outside [0, 1] or none of the choices; in a step, labels that are not one class an image.
    """

    needs = frozenset({"mask", "label"})

    def __init__(
        self, share: float = 0.5, region: Region = "evidence", label: Share = "evidence", seed: int = 0
    ) -> None:
        super().__init__(seed)
        require_between("share", share, 0, 1)
        require_one_of("region", region, get_args(Region))
        require_one_of("label", label, get_args(Share))
        self.share = share
        self.region = region
        self.label = label
        if region == "box" and label == "area":
            self.needs -= {"mask"}

    @torch.no_grad()
    def alter(self, batch: Batch) -> Batch:
        """The batch with parts of other images in some; see `PastedBatch`."""
        if batch["label"].ndim != 1:
            raise InputError(
                f"Labels have shape {tuple(batch['label'].shape)}, and {type(self).__name__} shares one label out "
                "between two images; expected one label an image."
            )
        generator, image = self.generator(), batch["image"]
        inside, outside = _evidence(batch)
        mask = inside.to(image.dtype)
        candidate = self._candidates(batch, mask)
        row = candidate.nonzero()[:, 0]
        drawn = torch.randperm(len(row), generator=generator)[: round(self.share * len(row))].sort().values
        if len(row) < 2 or len(drawn) == 0:
            return batch
        other = row[((drawn + 1 + torch.randint(len(row) - 1, (len(drawn),), generator=generator)) % len(row)).to(row)]
        row = row[drawn.to(row.device)]
        part = mask[other] if self.region == "evidence" else _boxes(len(row), image.shape[2:], generator).to(image)
        pasted = torch.zeros_like(mask).index_copy(0, row, part)
        altered: PastedBatch = {
            **batch,
            "image": image.index_copy(0, row, blend(image[other], image[row], part)),
            "pasted": pasted,
            "pasted_label": batch["label"].index_copy(0, row, batch["label"][other]),
            "pasted_share": torch.zeros_like(pasted[:, 0, 0]).index_copy(0, row, self._share(mask, part, row, other)),
        }
        if "mask" in batch:
            altered["mask"] = share_inside(inside, outside) * (1 - pasted)
        if "ignore" in batch:
            altered["ignore"] = (1 - inside - outside).clamp_min(0) * (1 - pasted)
        return altered

    def weigh(self, classifier: Classifier, output: Output, batch: Batch) -> Float[Tensor, " B"]:
        """1 − λ of each image."""
        weight = super().weigh(classifier, output, batch)
        return weight - as_pasted(batch)["pasted_share"].to(weight) if "pasted" in batch else weight

    def guidance(
        self, classifier: Classifier, output: Output, batch: Batch, views: Views | None = None
    ) -> dict[str, Float[Tensor, ""]]:
        """One term, `evidencecutmix`: the cross-entropy of the pasted labels."""
        return {"evidencecutmix": self.pasted_loss(output, batch)}

    def pasted_loss(self, output: Output, batch: Batch) -> Float[Tensor, ""]:
        """mean λ · CE of the pasted labels."""
        require_classes(self, output, batch["label"])
        if "pasted" not in batch:
            return output.logits.new_zeros(())
        share, label = as_pasted(batch)["pasted_share"], as_pasted(batch)["pasted_label"]
        return (share * cross_entropy(output.logits, label)).mean()

    def _candidates(self, batch: Batch, mask: Float[Tensor, "B H W"]) -> Bool[Tensor, " B"]:
        """The images that may give and take."""
        if "mask" not in self.needs:
            return torch.ones_like(batch["label"], dtype=torch.bool)
        return (mask_weight(batch) > 0) & (mask.amax((1, 2)) > 0)

    def _share(
        self,
        mask: Float[Tensor, "B H W"],
        part: Float[Tensor, "N H W"],
        row: Int[Tensor, " N"],
        other: Int[Tensor, " N"],
    ) -> Float[Tensor, " N"]:
        """λ of each image that something is pasted onto."""
        if self.label == "area":
            return part.mean((1, 2))
        theirs, own = (mask[other] * part).sum((1, 2)), (mask[row] * (1 - part)).sum((1, 2))
        total = theirs + own
        return torch.where(total > 0, theirs, part.mean((1, 2))) / torch.where(total > 0, total, 1.0)


def _evidence(batch: Batch) -> tuple[Float[Tensor, "B H W"], Float[Tensor, "B H W"]]:
    """How much of each pixel is evidence, and how much is not; without masks, none is."""
    if "mask" not in batch:
        nothing = torch.zeros_like(batch["image"][:, 0])
        return nothing, 1 - nothing
    return mask_on_grid(batch, (batch["image"].shape[2], batch["image"].shape[3]))


def _boxes(number: int, size: tuple[int, ...], generator: torch.Generator) -> Float[Tensor, "N H W"]:
    """Boxes of the image's proportions and of a uniform share of its area, anywhere in it, cut off at its border."""
    height, width = size
    side, *centre = torch.rand(3, number, generator=generator)
    side = side.sqrt()
    inside = []
    for length, middle in zip((height, width), centre, strict=True):
        position = torch.arange(length) + 0.5
        inside.append((position - (middle * length)[:, None]).abs() < side[:, None] * length / 2)
    return (inside[0][:, :, None] & inside[1][:, None, :]).float()


def as_pasted(batch: Batch) -> PastedBatch:
    """The same batch, for who knows that something was pasted in it."""
    return cast(PastedBatch, batch)
