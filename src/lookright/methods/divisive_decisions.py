"""DivisiveDecisions: the maps of the true and the false class differ where the evidence is."""

from functools import partial
from typing import Literal

from jaxtyping import Float
from torch import Tensor

from lookright.attribution import Map, contrast
from lookright.attribution.target import direction
from lookright.batch import Batch, mask_on_grid
from lookright.classifier import Classifier, Output
from lookright.errors import InputError, require_one_of
from lookright.methods.cyborg import CYBORG
from lookright.methods.map_guidance import known_part, needs_of, trainable_map

Divide = Literal["difference", "opposed"]


class DivisiveDecisions(CYBORG):
    """CYBORG on the maps of both classes: a·L_CE + (1 − a)·MSE(minmax(A_true − A_false), Ŝ).

    Piland, Sweet, Czajka, "Divisive Decisions: Improving Salience-Based Training for Generalization in Binary
    Classification Tasks" (arXiv 2507.17000). In a task of two classes their maps should part where people see the
    evidence. The paper has three losses, of which we know the difference of the maps before they are normalised
    ("difference salience"); `opposed`, the mean of MSE(Â_true, Ŝ) and MSE(Â_false, 1 − Ŝ), is how we read the others'
    idea, and their code is not public. `difference` is `CYBORG(map="contrast")` by another name: what both classes have
    in common cancels, so that the head has no free direction there; in `opposed` it has.

    With more than two classes the false map is the mean of those of all other classes.

    Args:
        alpha: a, the share of the task in the loss; CYBORG's 0.5, or `adaptive`.
        divide: `difference` or `opposed`.
        map: A, see `MapGuidance`.
        differentiate_alpha: of `adaptive`, see `CYBORG`.

    Raises:
        InputError: an argument out of range or none of its choices; in a step, several labels an image.
    """

    def __init__(
        self,
        alpha: float | Literal["adaptive"] = 0.5,
        divide: Divide = "difference",
        map: str | Map = "class_map",
        differentiate_alpha: bool = True,
    ) -> None:
        require_one_of("divide", divide, ("difference", "opposed"))
        single = trainable_map(map)
        super().__init__(alpha, "label", partial(contrast, of=single) if divide == "difference" else single)
        self.needs |= needs_of(single)
        self.divide = divide
        self.map = map
        self.differentiate_alpha = differentiate_alpha

    def distance(self, classifier: Classifier, output: Output, batch: Batch) -> Float[Tensor, " B"]:
        """Of one map, or the mean of those of two."""
        label = batch["label"]
        if label.ndim != 1:
            raise InputError(
                f"Labels have shape {tuple(label.shape)}, and DivisiveDecisions sets one class against the others; "
                "expected one label an image."
            )
        distance = super().distance(classifier, output, batch)
        if self.divide == "difference":
            return distance
        own = direction(output, label)
        false = 1 - label if own.shape[1] == 1 else (1 - own) / (own.shape[1] - 1)
        map = self._map(classifier, output, false)
        inside, outside = mask_on_grid(batch, (map.shape[1], map.shape[2]))
        return (distance + self.compare(known_part(map, inside + outside), outside, inside)) / 2
