"""The family of methods that compare a class map with a mask, image by image."""

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from lookright.attribution import Map, find_map, start_of
from lookright.attribution.target import predicted_class
from lookright.batch import Batch, mask_on_grid, mask_weight, mean_over_masked
from lookright.classifier import Classifier, Output
from lookright.errors import InputError, require_between, require_one_of
from lookright.methods.method import Method, Views


class MapGuidance(Method):
    """weight · Σ_b w_b ℓ(A_b, M_b) / #{w_b > 0}, with ℓ given by the subclass.

    Args:
        weight: factor of the term.
        explain: whose map is guided: that of the `label` or of the `predicted` class. Of several labels an image, it is
            the mean of their maps.
        map: what is guided: the name of a map in `lookright.attribution`, an import path, or the function itself.

    Raises:
        InputError: an argument is none of its choices.
    """

    is_base = True
    needs = frozenset({"mask"})

    def __init__(
        self, weight: float = 1.0, explain: Literal["label", "predicted"] = "label", map: str | Map = "class_map"
    ) -> None:
        super().__init__()
        require_one_of("explain", explain, ("label", "predicted"))
        require_between("weight", weight)
        self.weight = weight
        self.explain = explain
        self.map = map
        self._map = trainable_map(map)
        self.needs |= needs_of(self._map)

    def compare(
        self, map: Float[Tensor, "B h w"], inside: Float[Tensor, "B h w"], outside: Float[Tensor, "B h w"]
    ) -> Float[Tensor, " B"]:
        """ℓ: the loss of each image.

        Args:
            map: as the model gives it.
            inside: how much of each cell is evidence.
            outside: how much of it is not; what is neither is not known, and must not count.
        """
        raise NotImplementedError

    def distance(self, classifier: Classifier, output: Output, batch: Batch) -> Float[Tensor, " B"]:
        """ℓ of each image of a batch with masks."""
        map = self._map(classifier, output, explained(output, batch["label"], self.explain))
        inside, outside = mask_on_grid(batch, (map.shape[1], map.shape[2]))
        return self.compare(known_part(map, inside + outside), inside, outside)

    def guidance(
        self, classifier: Classifier, output: Output, batch: Batch, views: Views | None = None
    ) -> dict[str, Float[Tensor, ""]]:
        """One term, named like the method. A batch without masks costs no map."""
        if "mask" in batch:
            loss = self.distance(classifier, output, batch)
        else:
            loss = output.logits.new_zeros(len(output.logits))
        return {type(self).__name__.lower(): self.weight * mean_over_masked(loss, mask_weight(batch))}


def trainable_map(map: str | Map) -> Map:
    """The function that a map's name says.

    Raises:
        InputError: there is none, or no gradient flows through it.
    """
    found = find_map(map) if isinstance(map, str) else map
    if start_of(found) == "model":
        raise InputError(f"map={map!r} cannot be trained: no gradient flows through it. Take class_map, for example.")
    return found


def needs_of(map: Map) -> frozenset[str]:
    """What a method needs that compares this map."""
    return frozenset({"image_gradient"} if start_of(map) == "image" else ())


def explained(output: Output, label: Tensor, explain: str = "label") -> Tensor:
    """The target of a map: a class an image; where images have several labels, the mean of these, as weights of logits.

    >>> logits = torch.tensor([[1.0, -2.0, 3.0]])
    >>> explained(Output(logits, logits, logits[..., None, None]), torch.tensor([[1, 1, 0]]))
    tensor([[0.5000, 0.5000, 0.0000]])
    """
    if label.ndim == 1:
        return label if explain == "label" else predicted_class(output.logits)
    several = (label if explain == "label" else output.logits > 0).to(output.logits.dtype)
    return several / several.sum(1, keepdim=True).clamp_min(1)


def known_part(map: Float[Tensor, "B h w"], known: Float[Tensor, "B h w"]) -> Float[Tensor, "B h w"]:
    """The map, through whose wholly unknown cells no gradient flows: they scale it and are not changed by a loss."""
    return torch.where(known > 0, map, map.detach())


def share_inside(inside: Float[Tensor, "B h w"], outside: Float[Tensor, "B h w"]) -> Float[Tensor, "B h w"]:
    """The mask on the grid: the share of evidence in what is known of each cell; 0 where nothing is.

    >>> share_inside(torch.tensor([[[0.5, 0.0]]]), torch.tensor([[[0.25, 0.0]]]))
    tensor([[[0.6667, 0.0000]]])
    """
    known = inside + outside
    return inside / torch.where(known > 0, known, 1.0)


def stretched(mask: Float[Tensor, "B h w"], known: Float[Tensor, "B h w"]) -> Float[Tensor, "B h w"]:
    """Each mask scaled so that its known cells reach from 0 to 1; one that is the same in all of them stays as it is.

    >>> stretched(torch.tensor([[[0.25, 0.5, 0.5]], [[0.5, 0.5, 0.0]]]), torch.tensor([1.0, 1.0, 0.0]).expand(2, 1, 3))
    tensor([[[0.0000, 1.0000, 1.0000]],
    <BLANKLINE>
            [[0.5000, 0.5000, 0.0000]]])
    """
    low = torch.where(known > 0, mask, torch.inf).amin((1, 2), keepdim=True)
    high = torch.where(known > 0, mask, -torch.inf).amax((1, 2), keepdim=True)
    return torch.where(high > low, (mask - low) / torch.where(high > low, high - low, 1.0), mask)


def mean_over_known(loss: Float[Tensor, "B h w"], known: Float[Tensor, "B h w"]) -> Float[Tensor, " B"]:
    """The mean of each image over its cells, each counted by how much of it is known; 0 where nothing is.

    >>> mean_over_known(torch.tensor([[[1.0, 3.0, 9.0]]]), torch.tensor([[[1.0, 1.0, 0.0]]]))
    tensor([2.])
    """
    total = known.sum((1, 2))
    return (loss * known).sum((1, 2)) / torch.where(total > 0, total, 1.0)
