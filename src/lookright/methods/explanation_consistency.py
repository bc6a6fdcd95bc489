"""ExplanationConsistency: images whose explanation a change of their background moves weigh more."""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from lookright.attribution import Map, find_map, minmax
from lookright.attribution.precision import at_least_float32
from lookright.batch import Batch
from lookright.classifier import Classifier, Output, evaluating
from lookright.errors import require_between
from lookright.methods.adversarial import attack
from lookright.methods.method import Method, require_classes


class ExplanationConsistency(Method):
    """Weighs the task of each image by how little its explanation survives: mean_b (1 − E_b) · L_CE.

    Wu et al., "Improving Network Interpretability via Explanation Consistency Evaluation", 2024 (arXiv 2408.04600).
    x̂ is x with its background attacked, where the min-max normalised map A of the label is low: that shall not change
    what is to be seen. E in [0, 1] compares maps and predictions of both; we know that it does and not how, and
    take

        E = cos(A(x), A(x̂)) · Σ_k min(p_k(x), p_k(x̂)).

    It needs no masks and guides no map: no gradient flows through E. The authors train, then weigh all images anew, and
    train again; here each image is weighed whenever it is seen, after `warmup` steps of plain training. The loss
    becomes small with 1 − E: Adam and its kin do not care, SGD needs a higher rate.

    Args:
        warmup: steps of the optimizer with weight 1 for every image. An untrained model has maps that nothing moves.
        background: the value of A below which a pixel is background.
        epsilon: largest change of a pixel, in the units of the images; 0.07 is about 4/255 where they are normalised as
            ImageNet's.
        steps: of the attack; 1 is the fast gradient sign.
        map: which map is compared, see `MapGuidance`; it need not have a gradient to train on.

    Raises:
        InputError: an argument out of range; in a step, a task without classes.
    """

    needs = frozenset({"label"})

    def __init__(
        self,
        warmup: int = 500,
        background: float = 0.3,
        epsilon: float = 0.07,
        steps: int = 1,
        map: str | Map = "class_map",
    ) -> None:
        super().__init__()
        require_between("warmup", warmup)
        require_between("background", background, 0, 1)
        require_between("epsilon", epsilon)
        require_between("steps", steps, 1)
        self.warmup = warmup
        self.background = background
        self.epsilon = epsilon
        self.steps = steps
        self.map = map
        self._map = find_map(map) if isinstance(map, str) else map

    @property
    def warmup_steps(self) -> int:
        """Steps before any image is weighed."""
        return self.warmup

    def weigh(self, classifier: Classifier, output: Output, batch: Batch) -> Float[Tensor, " B"]:
        """1 − E of each image."""
        require_classes(self, output, batch["label"])
        if self.step < self.warmup:
            return super().weigh(classifier, output, batch)
        image, label = batch["image"], batch["label"]
        map, probability = self._explain(classifier, image, label)
        shown = functional.interpolate(map[:, None], image.shape[2:], mode="bilinear")
        background = (shown < self.background).to(image.dtype)
        changed = attack(classifier, image, label, self.epsilon, self.steps, where=background)
        other_map, other_probability = self._explain(classifier, changed, label)
        cosine = functional.cosine_similarity(map.flatten(1), other_map.flatten(1))
        return 1 - cosine * torch.minimum(probability, other_probability).sum(1)

    def _explain(
        self, classifier: Classifier, image: Float[Tensor, "B C H W"], label: Tensor
    ) -> tuple[Float[Tensor, "B h w"], Float[Tensor, "B K"]]:
        """A and p in eval mode."""
        with evaluating(classifier), torch.enable_grad():
            output = classifier(image.detach().requires_grad_())
            map = self._map(classifier, output, label)
        return minmax(map).detach(), at_least_float32(output.logits).softmax(1).detach()
