"""What every training method is: guidance that is added to a task."""

import math
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, cast

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional

from lookright.batch import Batch
from lookright.classifier import Classifier, Output
from lookright.errors import InputError


@dataclass(frozen=True)
class Loss:
    """Named, already weighted terms, and their sum.

    Attributes:
        terms: what is minimised.
        logs: what is only watched, outside the graph.

    >>> Loss({"cross_entropy": torch.tensor(1.0), "camal": torch.tensor(0.5)}).total
    tensor(1.5000)
    """

    terms: dict[str, Float[Tensor, ""]]
    logs: dict[str, Float[Tensor, ""]] = field(default_factory=dict)

    @property
    def total(self) -> Float[Tensor, ""]:
        """The loss to call `backward` on."""
        return torch.stack(list(self.terms.values())).sum()


@dataclass(frozen=True)
class Views:
    """Altered copies of some images of a batch, which ride in the same forward.

    Attributes:
        image: (V, C, H, W).
        source: (V,) the row of the batch that each view was made from.
        output: what the forward gave for the views; None before it.
        parts: the views of each method of a sum, in order.
    """

    image: Float[Tensor, "V C H W"]
    source: Int[Tensor, " V"]
    output: Output | None = None
    parts: tuple["Views | None", ...] = ()


class Method(nn.Module):
    """Adds guidance to a task; the task itself (cross-entropy, PPO's loss) is not its own.

    A subclass overrides `guidance` and, where it needs altered images, `views`. Constructor arguments are the whole
    configuration. `CAMAL() + SAGE()` merges views and guidance: one forward, one cross-entropy.

    Attributes:
        needs_mask: without any mask the method has nothing to do.
        takes_turns: the method owns the forward or the schedule and cannot be summed with others.
        task_weight: factor of the task's loss.
        task_terms: names of the terms that are cross-entropies with the label, parts of a task's loss. A sum scales
            them as it does the task's, and a policy, whose labels are the actions it took, must not be given them.
        warmup_steps: steps of the optimiser before what the method is about begins.
    """

    needs_mask: ClassVar[bool] = False
    takes_turns: ClassVar[bool] = False
    task_weight: float = 1.0
    task_terms: tuple[str, ...] = ()
    warmup_steps: int = 0

    def bind(self, classifier: Classifier) -> None:
        """Build the parameters that the method owns, if any, for this classifier."""

    def parameter_groups(self) -> list[dict[str, Any]]:
        """What the method itself learns, as groups for an optimizer; after `bind`."""
        return [{"params": list(self.parameters())}]

    def views(self, batch: Batch) -> Views | None:
        """Extra images for the forward; None where the method needs none."""
        return None

    def guidance(
        self, classifier: Classifier, output: Output, batch: Batch, views: Views | None = None
    ) -> dict[str, Float[Tensor, ""]]:
        """Named, weighted terms that join the task's loss.

        Args:
            classifier: the model that gave `output`.
            output: of the batch's own images.
            batch: `label` is the class to explain (for a policy: the action taken).
            views: what `views(batch)` returned, with its output; a method that needs views and gets none runs its own.
        """
        return {}

    def forward(self, classifier: Classifier, batch: Batch) -> Loss:
        """Images and views through the model once, cross-entropy once, and the guidance."""
        views = self.views(batch)
        if views is None:
            output = classifier(batch["image"])
        else:
            size = len(batch["image"])
            joint = classifier(torch.cat([batch["image"], views.image]))
            output, views = joint.rows(0, size), replace(views, output=joint.rows(size, len(joint.logits)))
        task = functional.cross_entropy(output.logits, batch["label"])
        return Loss({"cross_entropy": self.task_weight * task} | self.guidance(classifier, output, batch, views))

    def after_step(self) -> None:
        """Call after each step of the optimiser (not after each batch, where gradients accumulate)."""

    def __add__(self, other: "Method") -> "Sum":
        return Sum([self, other])


class Sum(Method):
    """Several methods at once: one forward over the images and everybody's views, one cross-entropy, all guidance.

    Args:
        methods: two or more; a sum among them is unfolded.

    Raises:
        InputError: a method takes turns, or two methods name the same term.
    """

    is_base = True  # a setting names its parts

    def __init__(self, methods: list[Method]) -> None:
        super().__init__()
        unfolded = [part for method in methods for part in (method.members if isinstance(method, Sum) else [method])]
        for method in unfolded:
            if method.takes_turns:
                raise InputError(
                    f"{type(method).__name__} takes turns with the classifier and cannot be added to another method; "
                    "train with it alone."
                )
        self.methods = nn.ModuleList(unfolded)

    @property
    def members(self) -> list[Method]:
        """The methods, in order."""
        return cast(list[Method], list(self.methods))

    @property
    def needs_mask(self) -> bool:  # type: ignore[override]
        """Whether any of the methods does."""
        return any(method.needs_mask for method in self.members)

    @property
    def task_weight(self) -> float:  # type: ignore[override]
        """The product of the methods' factors."""
        return math.prod(method.task_weight for method in self.members)

    @property
    def task_terms(self) -> tuple[str, ...]:  # type: ignore[override]
        """Those of all methods."""
        return tuple(name for method in self.members for name in method.task_terms)

    def bind(self, classifier: Classifier) -> None:
        """Bind each method."""
        for method in self.members:
            method.bind(classifier)

    def views(self, batch: Batch) -> Views | None:
        """Everybody's views, one after the other."""
        parts = tuple(method.views(batch) for method in self.members)
        given = [part for part in parts if part is not None]
        if not given:
            return None
        return Views(torch.cat([part.image for part in given]), torch.cat([part.source for part in given]), parts=parts)

    def guidance(
        self, classifier: Classifier, output: Output, batch: Batch, views: Views | None = None
    ) -> dict[str, Float[Tensor, ""]]:
        """The union of the methods' terms."""
        terms: dict[str, Tensor] = {}
        start = 0
        for method, part in zip(self.members, views.parts if views else [None] * len(self.members), strict=True):
            if part is not None and views is not None and views.output is not None:
                stop = start + len(part.image)
                part, start = replace(part, output=views.output.rows(start, stop)), stop
            for name, term in method.guidance(classifier, output, batch, part).items():
                if name in terms:
                    raise InputError(f"Two methods of the sum give a term named {name!r}; use each method once.")
                others = math.prod(other.task_weight for other in self.members if other is not method)
                terms[name] = others * term if name in method.task_terms else term
        return terms

    def after_step(self) -> None:
        """Tell each method."""
        for method in self.members:
            method.after_step()
