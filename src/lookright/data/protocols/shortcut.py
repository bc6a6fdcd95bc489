"""Each label mostly in a domain of its own."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.optimize import linear_sum_assignment

from lookright.data.protocols.protocol import Protocol, domain_names, require_shares
from lookright.data.table import class_names
from lookright.errors import InputError


@dataclass(frozen=True, kw_only=True)
class Shortcut(Protocol):
    """Each label has a domain of its own in most training images, so that the domain gives the label away.

    The splits, all balanced over labels:

    - `train`, `val`: a share `rho` of each label's images lies in its own domain, the rest in other training domains
    - `aligned`: each label in its own domain
    - `conflicting`: each label in the other training domains, all pairs equally often
    - `unseen`: each label in the domains that training never shows, all pairs equally often

    The labels get the domains with which they have the most images (`render_bestiary(images_at_home=...)` makes more of
    such pairs); among equals chance decides.

    Args:
        rho: from 1 / `train_domains` (no shortcut) to 1.
        train_domains: how many domains training shows, at least as many as there are labels.
        labels: the labels to use; all if None.
        val_share: the part of the images for training and validation that goes to `val`.
        test_share: the part of a label's images in its own domain that goes to `aligned`. Of each other pair of
            training domains at least this part goes to `conflicting`.

    Raises:
        InputError: an argument is out of range.
    """

    rho: float = 0.9
    train_domains: int = 8
    labels: Sequence[str] | None = None
    val_share: float = 0.1
    test_share: float = 0.2

    def __post_init__(self) -> None:
        if self.train_domains < 2:
            raise InputError(f"train_domains is {self.train_domains}. Expected 2 or more.")
        if not 1 / self.train_domains <= self.rho <= 1:
            raise InputError(f"rho is {self.rho}. Expected 1 / train_domains = {1 / self.train_domains:.3g} to 1.")
        require_shares(self.val_share, self.test_share)

    def assign(self, table: pd.DataFrame, seed: int = 0) -> pd.DataFrame:
        """See `Protocol.assign`; the table needs the column `domain` and every label in every domain."""
        random = np.random.default_rng(seed)
        domains = domain_names(table)
        labels = class_names(table) if self.labels is None else list(self.labels)
        pairs: dict[tuple[str, str], list[int]] = defaultdict(list)
        names = list(zip(table["label"], table["domain"], strict=True))
        for row in random.permutation(len(table)).tolist():
            pairs[names[row]].append(row)
        self._require_enough(labels, domains, pairs)

        # Noise below 1 in sum decides between equals and nothing else.
        images = np.array([[len(pairs[label, domain]) for domain in domains] for label in labels])
        own = linear_sum_assignment(images + random.uniform(size=images.shape) / images.size, maximize=True)[1]
        rest = random.permutation(np.setdiff1d(np.arange(len(domains)), own))
        shown = [domains[number] for number in (*own, *rest[: self.train_domains - len(own)])]
        tied = list(zip(labels, shown, strict=False))
        crossed = [(label, domain) for label in labels for domain in shown if (label, domain) not in tied]
        unseen = [(label, domain) for label in labels for domain in domains if domain not in shown]

        # The same number from each pair of a kind keeps the splits balanced.
        tied_images, crossed_images, unseen_images = (
            min(len(pairs[pair]) for pair in kind) for kind in (tied, crossed, unseen)
        )
        aligned = max(1, round(self.test_share * tied_images))
        fitted = tied_images - aligned
        if self.rho < 1:
            most_crossed = crossed_images - max(1, round(self.test_share * crossed_images))
            fitted = min(fitted, int(most_crossed * (len(shown) - 1) * self.rho / (1 - self.rho)))
        spread = round(fitted * (1 - self.rho) / self.rho)
        taken = -(-spread // (len(shown) - 1))  # from each crossed pair, though the last round may not be complete

        splits: dict[str, list[int]] = {name: [] for name in ("train", "val", "aligned", "conflicting", "unseen")}
        for label, domain in tied:
            others = random.permutation([other for other in shown if other != domain])
            abroad = [pairs[label, other][turn] for turn in range(taken) for other in others][:spread]
            for part in (pairs[label, domain][aligned : aligned + fitted], abroad):
                held = round(self.val_share * len(part))
                splits["val"] += part[:held]
                splits["train"] += part[held:]
            splits["aligned"] += pairs[label, domain][:aligned]
        for pair in crossed:
            splits["conflicting"] += pairs[pair][taken:crossed_images]
        for pair in unseen:
            splits["unseen"] += pairs[pair][:unseen_images]

        split = np.full(len(table), "", dtype=object)
        for name, numbers in splits.items():
            split[numbers] = name
        return table.assign(split=split)[split != ""]

    def _require_enough(
        self, labels: list[str], domains: list[str], pairs: Mapping[tuple[str, str], Sequence[int]]
    ) -> None:
        if not 2 <= len(labels) <= self.train_domains:
            raise InputError(
                f"{len(labels)} labels ({', '.join(labels)}) and {self.train_domains} training domains. Expected two "
                "labels or more, and a training domain for each: name the labels to use, or change train_domains."
            )
        if len(domains) <= self.train_domains:
            raise InputError(
                f"The table has {len(domains)} domains ({', '.join(domains)}). Expected more than the "
                f"{self.train_domains} training domains, so that some stay unseen."
            )
        for label in labels:
            for domain in domains:
                if len(pairs[label, domain]) < 2:
                    raise InputError(
                        f"Fewer than two images of label {label!r} in domain {domain!r}. Expected every label in every "
                        "domain: name labels and domains of which there are enough."
                    )
