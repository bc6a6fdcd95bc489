"""EGAT: adversarial training whose explanations stay where they were."""

from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from lookright.attribution import Map, minmax
from lookright.attribution.precision import at_least_float32
from lookright.batch import Batch
from lookright.classifier import Classifier, Output
from lookright.errors import require_between
from lookright.methods.adversarial import attack
from lookright.methods.dre import DRE
from lookright.methods.map_guidance import needs_of, trainable_map
from lookright.methods.method import Method, Views, require_classes


class EGAT(Method):
    """Trains on images a small step away, too, and asks that their class maps be those of the images.

    Chen, Chen, Lin, Hong, Wu, Liao, Liu, "Explanation-Guided Adversarial Training for Robust and Interpretable Models",
    2026 (arXiv 2603.01938). With x' the worst image within ±ε of x and g the min-max normalised class map of the label,

        L = L_CE(x, y) + λ_a · L_CE(x', y) + λ_e · mean_b |g(x') − g(x)| + λ_r · the three terms of DRE.

    Adversarial training, a loss on Grad-CAM maps and a mix-up regulariser, added up: that is the paper's. There is no
    public code, and its weights, attack, ε and the very form of the loss on maps are not known to us. Here the map of
    x' is compared with that of x, which needs no masks; `EGAT() + CAMAL()` compares that of x with masks. DRE is the
    regulariser of the authors' earlier ALIGN.

    The attack runs in eval mode. The images x' have a forward of their own, in which BatchNorm normalises them by
    themselves and counts them in its statistics.

    Args:
        adversarial_weight: λ_a.
        explanation_weight: λ_e.
        regularisation: λ_r, with DRE's weights 1, 0.5 and 0.1; 0 costs no mixtures.
        epsilon: ε, in the units of the images; 0.07 is about 4/255 where they are normalised as ImageNet's.
        steps: of the attack; 1 is the fast gradient sign.
        seed: of the mixtures.
        map: which map is compared, see `MapGuidance`; also that of the regulariser.

    Raises:
        InputError: an argument out of range; in a step, a task without classes.
    """

    needs = frozenset({"label"})

    def __init__(
        self,
        adversarial_weight: float = 1.0,
        explanation_weight: float = 1.0,
        regularisation: float = 1.0,
        epsilon: float = 0.07,
        steps: int = 1,
        seed: int = 0,
        map: str | Map = "class_map",
    ) -> None:
        super().__init__()
        require_between("adversarial_weight", adversarial_weight)
        require_between("explanation_weight", explanation_weight)
        require_between("regularisation", regularisation)
        require_between("epsilon", epsilon)
        require_between("steps", steps, 1)
        self.regulariser = DRE(regularisation, 0.5 * regularisation, 0.1 * regularisation, seed=seed, map=map)
        self.adversarial_weight = adversarial_weight
        self.explanation_weight = explanation_weight
        self.regularisation = regularisation
        self.epsilon = epsilon
        self.steps = steps
        self.seed = seed
        self.map = map
        self._map = trainable_map(map)
        self.needs |= needs_of(self._map)

    def views(self, batch: Batch) -> Views | None:
        """The mixtures of the regulariser."""
        return self.regulariser.views(batch) if self.regularisation else None

    def guidance(
        self, classifier: Classifier, output: Output, batch: Batch, views: Views | None = None
    ) -> dict[str, Float[Tensor, ""]]:
        """Two terms, `egat_adversarial` and `egat_explanation`, and those of the regulariser."""
        label = batch["label"]
        require_classes(self, output, label)
        terms = self.regulariser.guidance(classifier, output, batch, views) if self.regularisation else {}
        attacked = attack(classifier, batch["image"], label, self.epsilon, self.steps)
        of_attacked = classifier(attacked.requires_grad_("image_gradient" in self.needs))
        cross_entropy = functional.cross_entropy(at_least_float32(of_attacked.logits), label)
        map, map_of_attacked = (minmax(self._map(classifier, of, label)) for of in (output, of_attacked))
        return terms | {
            "egat_adversarial": self.adversarial_weight * cross_entropy,
            "egat_explanation": self.explanation_weight * (map_of_attacked - map).abs().mean(),
        }
