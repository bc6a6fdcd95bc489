"""CFT: a trained transformer made to look at concepts, on both sides of their masks."""

from functools import partial
from typing import Literal

from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from lookright.attribution import Map, attention_gradient, minmax
from lookright.attribution.precision import at_least_float32
from lookright.attribution.target import predicted_class
from lookright.batch import Batch
from lookright.classifier import Classifier, Output
from lookright.errors import InputError, require_between, require_one_of
from lookright.methods.haics import cell_cross_entropy
from lookright.methods.map_guidance import MapGuidance, share_inside
from lookright.methods.method import Views, require_classes


class CFT(MapGuidance):
    """Makes relevance high in the mask and low outside of it: λ_a (λ_i · inside + λ_o · outside) + λ_t L_CE.

    Elisha, Barkan, Koenigstein, "Concept-Guided Fine-Tuning: Steering ViTs away from Spurious Correlations to Improve
    Robustness", CVPR 2026 (arXiv 2603.08309). With M the mask and Φ the min-max normalised map, brought into
    [ε, 1 − ε], both sides are means over all known cells:

        inside = mean −M log Φ,      outside = mean −(1 − M) log(1 − Φ).

    The authors' masks are of a class's concepts (beak, wings), drawn by other models; here they are those of the data.
    Their code calls its map LRP and computes `attention_gradient`, which only models with attention between all tokens
    have. They compare at the size of the image and bound the logarithm at −100; here the grid is the map's, and ε
    bounds it.

    What is learned from is the image's label here; in their code it is what the model itself predicts at that moment,
    which needs a trained model and no labels: `learn="predicted"`. With λ_i = λ_o the guidance is that of `HAICS`.

    Args:
        weight: λ_a; like the next three as in the authors' script.
        task_weight: λ_t.
        inside_weight: λ_i, of cells that are evidence.
        outside_weight: λ_o, of cells that are not.
        learn: the task's own `label`s, or the `predicted` class.
        epsilon: ε, our choice.
        explain: whose map is guided: that of the `label`, as the authors do, or of the `predicted` class.
        map: which map is compared, see `MapGuidance`; `class_map` fits every model.
        differentiate_gradient: of `attention_gradient`: its gradient is part of what is learned; False takes it as a
            constant of the loss, as the authors' code does, and is cheaper.

    Raises:
        InputError: an argument out of range or none of its choices, or a constant gradient of another map; in a step, a
            model without such attention, or with `learn="predicted"` a task without classes.
    """

    def __init__(
        self,
        weight: float = 0.8,
        task_weight: float = 0.2,
        inside_weight: float = 0.5,
        outside_weight: float = 1.2,
        learn: Literal["label", "predicted"] = "label",
        epsilon: float = 0.05,
        explain: Literal["label", "predicted"] = "label",
        map: str | Map = "attention_gradient",
        differentiate_gradient: bool = True,
    ) -> None:
        super().__init__(weight, explain, map)
        weights = {"task_weight": task_weight, "inside_weight": inside_weight, "outside_weight": outside_weight}
        for name, value in weights.items():
            require_between(name, value)
        require_one_of("learn", learn, ("label", "predicted"))
        require_between("epsilon", epsilon, 0.0001, 0.5)
        self.task_weight = task_weight
        self.inside_weight = inside_weight
        self.outside_weight = outside_weight
        self.learn = learn
        self.epsilon = epsilon
        self.differentiate_gradient = differentiate_gradient
        if learn == "predicted":
            self.needs |= {"label"}
        if not differentiate_gradient:
            if self._map is not attention_gradient:
                raise InputError(
                    f"differentiate_gradient=False and map={map!r}; only that of attention_gradient can be a constant."
                )
            self._map = partial(attention_gradient, constant_gradient=True)

    def weigh(self, classifier: Classifier, output: Output, batch: Batch) -> Float[Tensor, " B"]:
        """λ_t; 0 where the model learns from its own predictions."""
        return super().weigh(classifier, output, batch) * (self.task_weight if self.learn == "label" else 0.0)

    def guidance(
        self, classifier: Classifier, output: Output, batch: Batch, views: Views | None = None
    ) -> dict[str, Float[Tensor, ""]]:
        """The term `cft`, and with `learn="predicted"` the weighted `cft_prediction`."""
        terms = super().guidance(classifier, output, batch, views)
        if self.learn == "label":
            return terms
        require_classes(self, output, batch["label"])
        logits = at_least_float32(output.logits)
        return terms | {"cft_prediction": self.task_weight * functional.cross_entropy(logits, predicted_class(logits))}

    def compare(
        self, map: Float[Tensor, "B h w"], inside: Float[Tensor, "B h w"], outside: Float[Tensor, "B h w"]
    ) -> Float[Tensor, " B"]:
        """Both sides, weighed."""
        return cell_cross_entropy(
            minmax(map),
            share_inside(inside, outside),
            inside + outside,
            self.epsilon,
            self.inside_weight,
            self.outside_weight,
        )
