"""What every training method is: guidance that is added to a task."""

import inspect
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, cast

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from lookright.batch import Batch, check_range, check_shapes
from lookright.classifier import Classifier, Output
from lookright.errors import InputError
from lookright.tasks import Task, cross_entropy


@dataclass(frozen=True)
class Loss:
    """Named, already weighted terms, and their sum.

    Attributes:
        terms: what is minimised; the task's own is called `task`.
        logs: what is only watched, outside the graph.

    >>> Loss({"task": torch.tensor(1.0), "camal": torch.tensor(0.5)}).total
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

    A subclass overrides the hooks it needs; left alone, each does nothing, which is plain training. Constructor
    arguments are the whole configuration. `ADL() + CAMAL() + SAGE()` applies the hooks of all in one forward.

    Attributes:
        needs: what the method cannot do without:
            `mask`: batches with masks;
            `label`: labels that are the truth (those of a policy are the actions that it took);
            `domain`, `group`: batches with these keys;
            `val`: a split of that name, whose images have all classes (and groups, if these are needed);
            `image_gradient`: the graph has to begin with the images;
            `unused_parameters`: in some steps parameters get no gradient, which DistributedDataParallel has to know.
        step: steps of the optimiser since `attach`.
        is_base: of a class: it is made to be subclassed or built by others, and cannot be chosen by name.
    """

    is_base: ClassVar[bool] = True
    needs: frozenset[str] = frozenset()

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        cls.is_base = vars(cls).get("is_base", False)

    def __init__(self) -> None:
        super().__init__()
        self.step = 0
        self._counting: RemovableHandle | None = None
        self._has_looked = False

    def attach(self, classifier: Classifier, optimizer: torch.optim.Optimizer | None = None) -> None:
        """Make ready for training: build what the method itself learns, and let the optimizer learn it.

        Call it once, after building the optimizer from `classifier.parameters()`. The method's parameters become groups
        of the optimizer (norms and biases without weight decay) and its steps are counted. Without an optimizer, the
        parameters are built and nothing else, which loading a checkpoint needs.
        """
        if optimizer is None:
            return
        known = {parameter for group in optimizer.param_groups for parameter in group["params"]}
        own = [parameter for parameter in self.parameters() if parameter not in known]
        for group in split_by_decay({"params": own} | self.options()):
            optimizer.add_param_group(group)
        self._count(optimizer)

    def options(self) -> dict[str, Any]:
        """Options of the optimizer for the method's own parameters, such as `lr`."""
        return {}

    def alter(self, batch: Batch) -> Batch:
        """Another batch in place of the one given: other images, masks or labels."""
        return batch

    def views(self, batch: Batch) -> Views | None:
        """Extra images for the forward; None where the method needs none."""
        return None

    def edit(self, features: Float[Tensor, "N C h w"]) -> Float[Tensor, "N C h w"]:
        """Other features of the same shape, of images and views, from which the model goes on."""
        return features

    def weigh(self, classifier: Classifier, output: Output, batch: Batch) -> Float[Tensor, " B"]:
        """Factor of the task's loss of each image."""
        return output.logits.new_ones(len(output.logits))

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

    def balance(
        self, classifier: Classifier, task: Float[Tensor, ""], terms: dict[str, Float[Tensor, ""]]
    ) -> dict[str, Float[Tensor, ""]]:
        """The guidance's terms in another proportion to the task's loss.

        Args:
            classifier: what is trained.
            task: its loss.
            terms: what `guidance` returned, of all methods of a sum.
        """
        return terms

    def forward(self, classifier: Classifier, batch: Batch, task: Task = cross_entropy) -> Loss:
        """Images and views through the model once, the task, weighed image by image, and the guidance.

        Args:
            classifier: to be trained.
            batch: a mini-batch.
            task: gives the loss of each image from logits and labels, see `lookright.tasks`.

        Raises:
            InputError: the task does not give one number for each image.
        """
        self.check(batch)
        batch = self.alter(batch)
        views = self.views(batch)
        size = len(batch["image"])
        image = batch["image"] if views is None else torch.cat([batch["image"], views.image])
        if "image_gradient" in self.needs:
            image = image.detach().requires_grad_()
        output = classifier(image, edit=self.edit)
        if views is not None:
            views, output = replace(views, output=output.rows(size, len(image))), output.rows(0, size)
        loss = task(output.logits, batch["label"])
        if loss.shape != (size,):
            raise InputError(
                f"The task gave {tuple(loss.shape)} for {size} images; expected one number for each. Take one of "
                'lookright.tasks, or give your criterion reduction="none".'
            )
        loss = (self.weigh(classifier, output, batch) * loss).mean()
        return Loss({"task": loss} | self.balance(classifier, loss, self.guidance(classifier, output, batch, views)))

    def first(self) -> tuple["Method", int] | None:
        """A training that a run does before its own, from the same weights: its method and epochs; None: there is none.

        Where its `finish` gives `repeats`, how often each training image occurs in an epoch, the run's own does so;
        where it gives `hands_on_weights`, the run's own begins with the weights that the first ended with.
        """
        return None

    def finish(self, classifier: Classifier, batches: Callable[[str], Iterable[Batch]]) -> dict[str, Any]:
        """What is left to do with the weights that are handed out, after the last step.

        Args:
            classifier: with these weights, to be changed in place.
            batches: gives the images of a split, in order and not augmented, on the classifier's device.

        Returns:
            What was done, which the run's directory keeps as `finish.json`.
        """
        return {}

    def check(self, batch: Batch) -> None:
        """Refuse a batch that is none: shapes always, the range of masks where it costs nothing, and once elsewhere.

        Raises:
            InputError: what is wrong with it.
        """
        check_shapes(batch)
        if not self._has_looked or batch["image"].device.type == "cpu":
            check_range(batch)
        self._has_looked = True

    def extra_repr(self) -> str:
        """The constructor's arguments, which are the whole configuration."""
        values = {name: getattr(self, name, None) for name in inspect.signature(type(self)).parameters}
        return ", ".join(f"{name}={value!r}" for name, value in values.items() if not isinstance(value, nn.Module))

    def get_extra_state(self) -> dict[str, Any]:
        """Where training is."""
        return {"step": self.step}

    def set_extra_state(self, state: dict[str, Any]) -> None:
        """Go on where a checkpoint left."""
        self.step = state.get("step", 0)

    def stepped(self, *_: Any) -> None:
        """What the optimizer calls after each of its steps (not after each batch, where gradients accumulate)."""
        self.step += 1

    def _count(self, optimizer: torch.optim.Optimizer) -> None:
        if self._counting is not None:
            self._counting.remove()
        self._counting = optimizer.register_step_post_hook(self.stepped)

    def __add__(self, other: "Method") -> "Sum":
        return Sum([self, other])


class Sum(Method):
    """Several methods at once: one forward over the images and everybody's views, one task, all guidance.

    Alterations and edits follow each other in order, weights of the task multiply, guidance is joined.

    Args:
        methods: two or more; a sum among them is unfolded.

    Raises:
        InputError: a method owns the forward, or two methods name the same term.
    """

    is_base = True  # a setting names its parts

    def __init__(self, methods: list[Method]) -> None:
        super().__init__()
        unfolded = [part for method in methods for part in (method.members if type(method) is Sum else [method])]
        for method in unfolded:
            if owns_forward(method):
                raise InputError(
                    f"{type(method).__name__} owns the forward and cannot be added to another method; "
                    "train with it alone."
                )
        self.methods = nn.ModuleList(unfolded)
        self.needs = frozenset().union(*(method.needs for method in unfolded))

    def extra_repr(self) -> str:
        """Nothing: the methods show themselves."""
        return ""

    @property
    def members(self) -> list[Method]:
        """The methods, in order."""
        return cast(list[Method], list(self.methods))

    def attach(self, classifier: Classifier, optimizer: torch.optim.Optimizer | None = None) -> None:
        """Attach each method."""
        for method in self.members:
            method.attach(classifier, optimizer)

    def alter(self, batch: Batch) -> Batch:
        """One alteration after the other."""
        for method in self.members:
            batch = method.alter(batch)
        return batch

    def views(self, batch: Batch) -> Views | None:
        """Everybody's views, one after the other."""
        parts = tuple(method.views(batch) for method in self.members)
        given = [part for part in parts if part is not None]
        if not given:
            return None
        return Views(torch.cat([part.image for part in given]), torch.cat([part.source for part in given]), parts=parts)

    def edit(self, features: Float[Tensor, "N C h w"]) -> Float[Tensor, "N C h w"]:
        """One edit after the other."""
        for method in self.members:
            features = method.edit(features)
        return features

    def first(self) -> tuple[Method, int] | None:
        """That of the one method that has one.

        Raises:
            InputError: several have.
        """
        asking = [method for method in self.members if method.first() is not None]
        if len(asking) > 1:
            names = " and ".join(type(method).__name__ for method in asking)
            raise InputError(f"{names} both train before the training; take one of them.")
        return asking[0].first() if asking else None

    def finish(self, classifier: Classifier, batches: Callable[[str], Iterable[Batch]]) -> dict[str, Any]:
        """One after the other."""
        return {key: value for method in self.members for key, value in method.finish(classifier, batches).items()}

    def weigh(self, classifier: Classifier, output: Output, batch: Batch) -> Float[Tensor, " B"]:
        """The product of the methods' factors."""
        return cast(Tensor, math.prod(method.weigh(classifier, output, batch) for method in self.members))

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
                terms[name] = term
        return terms

    def balance(
        self, classifier: Classifier, task: Float[Tensor, ""], terms: dict[str, Float[Tensor, ""]]
    ) -> dict[str, Float[Tensor, ""]]:
        """One after the other."""
        for method in self.members:
            terms = method.balance(classifier, task, terms)
        return terms


def require_classes(method: Method, output: Output, label: Tensor) -> None:
    """Refuse a task that does not name one of two or more classes for each image.

    Raises:
        InputError: one logit, or several labels an image.
    """
    if output.logits.shape[1] == 1 or label.ndim != 1:
        given = "the model gives one logit" if label.ndim == 1 else f"labels have shape {tuple(label.shape)}"
        raise InputError(
            f"{type(method).__name__} needs one of two or more classes for each image, and {given}. Give the model a "
            "logit for each class and take one label an image, or take CAMAL, CYBORG or CARE."
        )


def require_channels(method: str, features: Float[Tensor, "N C h w"], channels: int) -> None:
    """Refuse features of another number of channels than a method's own network reads.

    Raises:
        InputError: the head of the model does not read the features themselves.
    """
    if features.shape[1] != channels:
        raise InputError(
            f"{method} reads features of {channels} channels, as many as the head does, and these are "
            f"{tuple(features.shape)}. Name other features, Classifier(model, features=...), or take another model."
        )


def owns_forward(method: Method) -> bool:
    """Whether a method has a forward of its own, which no other method can join."""
    return type(method).forward is not Method.forward


def changes_forward(method: Method) -> bool:
    """Whether the model is trained on other images or features than it is given."""
    return any(
        owns_forward(part) or type(part).alter is not Method.alter or type(part).edit is not Method.edit
        for part in singles(method)
    )


def has_views(method: Method) -> bool:
    """Whether the model is also given altered copies of images."""
    return any(type(part).views is not Method.views for part in singles(method))


def singles(method: Method) -> Iterable[Method]:
    """The method, or those that a sum is made of."""
    if not isinstance(method, Sum):
        return [method]
    return [single for part in method.members for single in singles(part)]


def split_by_decay(group: dict[str, Any]) -> Iterable[dict[str, Any]]:
    """A parameter group as two: one of matrices and kernels, and one of norms and biases without weight decay.

    >>> [len(part["params"]) for part in split_by_decay({"params": nn.Linear(2, 3).parameters(), "lr": 0.1})]
    [1, 1]
    """
    learning = [parameter for parameter in group["params"] if parameter.requires_grad]
    matrices = [parameter for parameter in learning if parameter.ndim > 1]
    if matrices:
        yield group | {"params": matrices}
    vectors = [parameter for parameter in learning if parameter.ndim <= 1]
    if vectors:
        yield group | {"params": vectors, "weight_decay": 0.0}
