"""ABN: a branch that classifies by itself, and whose attention weighs the features."""

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from lookright.attribution.precision import at_least_float32
from lookright.batch import Batch, mask_on_grid, mask_weight, mean_over_masked
from lookright.classifier import Classifier, Output
from lookright.errors import InputError, require_between, require_one_of
from lookright.methods.map_guidance import mean_over_known, share_inside
from lookright.methods.method import Views, require_channels, require_classes
from lookright.methods.stochastic import Stochastic


class ABN(Stochastic):
    """Weighs the features F by 1 + a, the attention a of a small branch that classifies, too: L_CE + λ · L_CE(branch).

    Fukui, Hirakawa, Yamashita, Fujiyoshi, "Attention Branch Network: Learning of Attention Mechanism for Visual
    Explanation", CVPR 2019 (arXiv 1812.10025). The branch makes a map for each class; from these come logits of its own
    and, through one convolution more, one attention map a in (0, 1). It needs no masks. With `supervision` it does: a
    is then compared with the mask M, as in the code of GALS (Petryk et al., CVPR 2022),

        + λ_s · mean_b mean over the known cells of |a − M|      or, to `suppress` what is outside, of a (1 − M).

    The authors cut a ResNet before its last stage, of which the branch has a copy. Here it reads the last features, and
    a 3 × 3 convolution stands for the stage. There the attention is part of the prediction, always; so it is here with
    `classifier(image, edit=method.eval().edit)`. The plain model, which a run saves and evaluates, has no branch. So
    that it is trained, too, the features of a random share of the images stay as they are; 0 is the paper.

    Args:
        weight: λ; 1 in the paper.
        supervision: λ_s; 0 in the paper. GALS has 1, where it is used.
        compare: what the mask says: the attention shall `match` it, or only `suppress` what is outside.
        residual: F · (1 + a); False: F · a, the paper's other choice.
        plain: share of the images, drawn in each step, whose features stay as they are.
        hidden: channels of the branch.
        seed: of its first weights and of all draws.

    Raises:
        InputError: an argument out of range or none of its choices; in `attach`, the features of the model are not
            known yet; in a step, the method was not attached, or a task without classes.
    """

    needs = frozenset({"label"})

    def __init__(
        self,
        weight: float = 1.0,
        supervision: float = 0.0,
        compare: Literal["match", "suppress"] = "match",
        residual: bool = True,
        plain: float = 0.5,
        hidden: int = 64,
        seed: int = 0,
    ) -> None:
        super().__init__(seed)
        require_between("weight", weight)
        require_between("supervision", supervision)
        require_one_of("compare", compare, ("match", "suppress"))
        require_between("plain", plain, 0, 1)
        require_between("hidden", hidden, 1)
        self.weight = weight
        self.supervision = supervision
        self.compare = compare
        self.residual = residual
        self.plain = plain
        self.hidden = hidden
        self.branch: AttentionBranch | None = None
        self._seen: tuple[Tensor, Tensor] | None = None
        if supervision:
            self.needs |= {"mask"}

    def attach(self, classifier: Classifier, optimizer: torch.optim.Optimizer | None = None) -> None:
        """Build the branch, unless it is there already."""
        if self.branch is None:
            classes, channels = classifier.class_weight.shape
            self.branch = self.built(lambda: AttentionBranch(channels, self.hidden, classes), classifier)
        super().attach(classifier, optimizer)

    def edit(self, features: Float[Tensor, "N C h w"]) -> Float[Tensor, "N C h w"]:
        """The features under their attention; in training those of some images as they are.

        Raises:
            InputError: there is no branch yet, or it is for features of other channels.
        """
        if self.branch is None:
            raise InputError("ABN has no branch yet: call method.attach(classifier, optimizer) before training.")
        require_channels("ABN", features, self.branch.channels)
        logits, attention = self.branch(features)
        self._seen = logits, attention
        factor = attention + self.residual
        if self.training:
            plain = torch.rand(len(factor), generator=self.generator()) < self.plain
            factor = torch.where(plain.to(factor.device)[:, None, None], 1.0, factor)
        return features * factor[:, None].to(features.dtype)

    def guidance(
        self, classifier: Classifier, output: Output, batch: Batch, views: Views | None = None
    ) -> dict[str, Float[Tensor, ""]]:
        """The term `abn_branch`, and with supervision `abn_attention`."""
        require_classes(self, output, batch["label"])
        if self._seen is None:
            raise InputError("ABN weighs the features of a forward: call method(classifier, batch), or give edit=.")
        logits, attention = (part[: len(output.logits)] for part in self._seen)
        self._seen = None
        terms = {"abn_branch": self.weight * functional.cross_entropy(at_least_float32(logits), batch["label"])}
        if not self.supervision:
            return terms
        distance = attention.new_zeros(len(attention))
        if "mask" in batch:
            inside, outside = mask_on_grid(batch, (attention.shape[1], attention.shape[2]))
            mask = share_inside(inside, outside).to(attention.dtype)
            apart = (attention - mask).abs() if self.compare == "match" else attention * (1 - mask)
            distance = mean_over_known(apart, inside + outside)
        return terms | {"abn_attention": self.supervision * mean_over_masked(distance, mask_weight(batch))}


class AttentionBranch(nn.Module):
    """A 3 × 3 convolution, a map for each class, and from these their logits and one attention map.

    Args:
        channels: of the features.
        hidden: channels of its own.
        classes: K.
    """

    def __init__(self, channels: int, hidden: int, classes: int) -> None:
        super().__init__()
        self.channels = channels
        self.maps = nn.Sequential(
            nn.Conv2d(channels, hidden, 3, padding=1, bias=False),
            nn.BatchNorm2d(hidden),
            nn.ReLU(),
            nn.Conv2d(hidden, classes, 1, bias=False),
            nn.BatchNorm2d(classes),
            nn.ReLU(),
        )
        self.logits = nn.Conv2d(classes, classes, 1, bias=False)
        self.attention = nn.Sequential(nn.Conv2d(classes, 1, 3, padding=1, bias=False), nn.BatchNorm2d(1))

    def forward(self, features: Float[Tensor, "N C h w"]) -> tuple[Float[Tensor, "N K"], Float[Tensor, "N h w"]]:
        """Logits, and attention in (0, 1)."""
        maps = self.maps(features)
        return self.logits(maps).mean((2, 3)), at_least_float32(self.attention(maps))[:, 0].sigmoid()
