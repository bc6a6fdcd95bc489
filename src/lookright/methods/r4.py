"""R4: input gradients that stay small around the image, too."""

from typing import Literal, get_args

import torch
from jaxtyping import Float
from torch import Tensor
from torch.func import functional_call

from lookright.attribution.gradient import loss_gradient
from lookright.attribution.precision import at_least_float32
from lookright.batch import Batch, mask_on_grid, mask_weight, mean_over_masked
from lookright.classifier import Classifier, Output
from lookright.errors import InputError, require_between, require_one_of
from lookright.methods.method import Views, require_classes
from lookright.methods.rrr import log_probability_gradient, squared_size
from lookright.methods.stochastic import Stochastic

Search = Literal["projected", "random"]
Score = Literal["log_probabilities", "loss"]


class R4(Stochastic):
    """RRR at the worst point nearby: λ · mean_b max_δ Σ_d (O_bd g_bd(x_b + δ))², |δ_d| ≤ ε·O_bd.

    Ghitu, Piratla, Wicker, "Model Guidance via Robust Feature Attribution", TMLR 2025 (arXiv 2506.19680). RRR asks for
    a small gradient g at the image only, and may have a large one a step away; R4 asks for it wherever what must not
    matter, O, the outside of the mask, may move to. With ε = 0 it is RRR. The maximum is searched for either
    among random δ or by steps along the sign of the penalty's gradient, projected back onto the range, in forwards of
    its own, in float32, which leave the statistics of BatchNorm as they are. The paper's tightest variant bounds the
    maximum by interval arithmetic, which needs layers of its own; it is not here.

    The authors' public code differs: its random search draws from [0, ε] and penalises the largest change
    |g(x + δ) − g(x)| instead of g itself (`penalty="change"`), g is the gradient of the cross-entropy
    (`score="loss"`), norms are not squared, and its projected search reads gradients after a backward that kept no
    graph, so that the term, as we read it, teaches nothing.

    Args:
        weight: λ, on the scale of RRR's.
        epsilon: ε, in units of the model's input: of normalised images, standard deviations.
        search: `projected` gradient steps, or the largest of `random` draws, which is cheaper.
        steps: of the projected search, or draws of the random one; 10 with the authors. A projected step costs about
            two training steps, a draw about one.
        step_size: of the projected search; None is ε, as with the authors.
        score: g, the gradient of the sum of the `log_probabilities`, as in RRR, or of the `loss`, the cross-entropy.
        penalty: the `gradient` g(x + δ), or its `change` from g(x), with random draws.
        seed: of the random search.

    Raises:
        InputError: an argument out of range or none of its choices; in a step, a task without classes.
    """

    needs = frozenset({"mask"})

    def __init__(
        self,
        weight: float = 10.0,
        epsilon: float = 0.5,
        search: Search = "projected",
        steps: int = 10,
        step_size: float | None = None,
        score: Score = "log_probabilities",
        penalty: Literal["gradient", "change"] = "gradient",
        seed: int = 0,
    ) -> None:
        super().__init__(seed)
        require_between("weight", weight)
        require_between("epsilon", epsilon)
        require_between("steps", steps, 1)
        require_one_of("search", search, get_args(Search))
        require_one_of("score", score, get_args(Score))
        require_one_of("penalty", penalty, ("gradient", "change"))
        if step_size is not None:
            require_between("step_size", step_size)
        if penalty == "change" and search == "projected":
            raise InputError(
                "penalty='change' and search='projected': at the image nothing has changed, and no direction is "
                "uphill. Take search='random'."
            )
        self.weight = weight
        self.epsilon = epsilon
        self.search = search
        self.steps = steps
        self.step_size = step_size
        self.score = score
        self.penalty = penalty
        if penalty == "change":
            self.needs |= {"image_gradient"}

    def guidance(
        self, classifier: Classifier, output: Output, batch: Batch, views: Views | None = None
    ) -> dict[str, Float[Tensor, ""]]:
        """One term, `r4`. A batch without masks costs nothing."""
        require_classes(self, output, batch["label"])
        loss = at_least_float32(output.logits).new_zeros(len(output.logits))
        has_mask = (mask_weight(batch) > 0)[:, None, None]
        if "mask" in batch and bool(has_mask.any()):
            image = at_least_float32(batch["image"].detach())
            outside = torch.where(has_mask, mask_on_grid(batch, (image.shape[2], image.shape[3]))[1], 0.0)
            outside = outside.to(image.dtype)[:, None]
            with torch.autocast(image.device.type, enabled=False):
                delta = torch.zeros_like(image)
                if self.epsilon:
                    search = self._climb if self.search == "projected" else self._draw
                    delta = search(classifier, batch, image, outside)
                gradient = self._gradient(_run(classifier, (image + delta).requires_grad_()), batch)
                if self.penalty == "change":
                    gradient = gradient - self._gradient(output, batch)
                loss = squared_size(gradient, outside)
        return {"r4": self.weight * mean_over_masked(loss, mask_weight(batch))}

    def _climb(
        self, classifier: Classifier, batch: Batch, image: Float[Tensor, "B C H W"], outside: Float[Tensor, "B 1 H W"]
    ) -> Float[Tensor, "B C H W"]:
        reach, delta = self.epsilon * outside, torch.zeros_like(image)
        step = self.epsilon if self.step_size is None else self.step_size
        for _ in range(self.steps):
            moved = (image + delta).requires_grad_()
            loss = squared_size(self._gradient(_run(classifier, moved), batch), outside)
            (uphill,) = torch.autograd.grad(loss.sum(), moved)
            delta = (delta + step * outside * uphill.sign()).clamp(-reach, reach)
        return delta

    def _draw(
        self, classifier: Classifier, batch: Batch, image: Float[Tensor, "B C H W"], outside: Float[Tensor, "B 1 H W"]
    ) -> Float[Tensor, "B C H W"]:
        generator, worst = self.generator(), torch.zeros_like(image)
        largest = image.new_full((len(image),), -torch.inf)
        start = self._first_order(classifier, batch, image) if self.penalty == "change" else 0.0
        for _ in range(self.steps):
            delta = self.epsilon * outside * (2 * torch.rand(image.shape, generator=generator) - 1).to(image)
            loss = squared_size(self._first_order(classifier, batch, image + delta) - start, outside)
            worst = torch.where((loss > largest)[:, None, None, None], delta, worst)
            largest = torch.maximum(loss, largest)
        return worst

    def _first_order(
        self, classifier: Classifier, batch: Batch, image: Float[Tensor, "B C H W"]
    ) -> Float[Tensor, "B C H W"]:
        """g at an image, a constant."""
        output = _run(classifier, image.detach().requires_grad_())
        with torch.no_grad():
            return self._gradient(output, batch)

    def _gradient(self, output: Output, batch: Batch) -> Float[Tensor, "B C H W"]:
        """g, in the graph while gradients are enabled."""
        if self.score == "log_probabilities":
            return log_probability_gradient(output)
        return loss_gradient(output, batch["label"])


def _run(classifier: Classifier, image: Float[Tensor, "B C H W"]) -> Output:
    """A forward whose statistics go into copies."""
    return functional_call(classifier, {name: buffer.clone() for name, buffer in classifier.named_buffers()}, (image,))
