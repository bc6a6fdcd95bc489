"""Protocols: which image of a table is used for what, as a column `split`.

A table has one row per image with the columns `image` and `label`, and `domain` where the protocol needs it. A pair is
a (label, domain), also called a group. Models are fitted on `train` and selected on `val`; other splits are tests, but
for `oracle_val`: a part of the test domain on which the oracle, and nobody else, selects.
"""

from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.optimize import linear_sum_assignment

from lookright.data.bestiary import UNKNOWN_CREATURES
from lookright.data.table import class_names
from lookright.errors import InputError

ORACLE_SPLIT = "oracle_val"
UNTESTED_SPLITS = ("train", "val", ORACLE_SPLIT)


class Protocol(ABC):
    """Assigns the images of a table to splits."""

    bona_fide: str | None = None
    """For attack detection: the label of genuine images, all others being types of attack."""

    @abstractmethod
    def assign(self, table: pd.DataFrame, seed: int = 0) -> pd.DataFrame:
        """A copy of the table with the column `split`, without the rows that the protocol does not use.

        The same table and seed give the same splits.

        Raises:
            InputError: the table lacks what the protocol needs.
        """

    @property
    def open_set_splits(self) -> frozenset[str]:
        """The splits whose labels training need not know."""
        return frozenset()

    @staticmethod
    def test_splits(table: pd.DataFrame) -> list[str]:
        """The test splits of a table that a protocol has assigned, in alphabetical order."""
        return sorted(set(table["split"]) - set(UNTESTED_SPLITS))


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
        labels: the labels to use; if None all but the bestiary's unknown creatures.
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
        _require_shares(self.val_share, self.test_share)

    def assign(self, table: pd.DataFrame, seed: int = 0) -> pd.DataFrame:
        """See `Protocol.assign`; the table needs the column `domain` and every label in every domain."""
        random = np.random.default_rng(seed)
        domains = domain_names(table)
        labels = [label for label in class_names(table) if label not in UNKNOWN_CREATURES]
        labels = labels if self.labels is None else list(self.labels)
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


@dataclass(frozen=True, kw_only=True)
class Stratified(Protocol):
    """The base of the protocols that divide every pair in the same proportions.

    Args:
        val_share: the part of each pair's images that goes to `val`.
        test_share: the part of each pair's images that goes to the test on what training has shown.
        images_per_pair: use at most so many images of each pair, chosen by chance; all if None.

    Raises:
        InputError: an argument is out of range.
    """

    val_share: float = 0.1
    test_share: float = 0.2
    images_per_pair: int | None = None

    def __post_init__(self) -> None:
        _require_shares(self.val_share, self.test_share)
        if self.images_per_pair is not None and self.images_per_pair < 1:
            raise InputError(f"images_per_pair is {self.images_per_pair}. Expected 1 or more, or None for all.")

    def _divide(self, table: pd.DataFrame, seed: int, test: str) -> pd.DataFrame:
        """Every pair divided between `train`, `val` and `test`."""
        pair = [column for column in ("label", "domain") if column in table]
        order = np.random.default_rng(seed).permutation(len(table))
        shuffled = table.iloc[order].assign(split=order)
        if self.images_per_pair is not None:
            shuffled = shuffled.groupby(pair, dropna=False).head(self.images_per_pair)
        groups = shuffled.groupby(pair, dropna=False)["split"]
        tested = (self.test_share * groups.transform("size")).round()
        held = (self.val_share * groups.transform("size")).round()
        split = np.select([groups.cumcount() < tested, groups.cumcount() < tested + held], [test, "val"], "train")
        return shuffled.sort_values("split").assign(split=pd.Series(split, shuffled.index))


@dataclass(frozen=True, kw_only=True)
class LeaveOneDomainOut(Stratified):
    """Train on all domains but one, test on that one (Gulrajani & Lopez-Paz, ICLR 2021, arXiv 2007.01434).

    The splits: `train`, `val` and `in_distribution` in the other domains, `out_of_distribution` in the held-out domain.

    Args:
        held_out: the domain to test on.
        oracle: whether the held-out domain is divided as well: `val_share` of each label's images are then not tested
            on but go to `oracle_val`, for test-domain validation.
        val_share: see `Stratified`.
        test_share: see `Stratified`.
        images_per_pair: see `Stratified`.

    Raises:
        InputError: an argument is out of range.
    """

    held_out: str
    oracle: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.oracle and self.val_share == 0:
            raise InputError("oracle is true and val_share is 0. Expected a val_share above 0 to select on.")

    def assign(self, table: pd.DataFrame, seed: int = 0) -> pd.DataFrame:
        """See `Protocol.assign`; the table needs the column `domain` with two domains or more."""
        _require_domain(table, self.held_out)
        divided = self._divide(table, seed, "in_distribution")
        is_held_out = divided["domain"] == self.held_out
        is_oracle = self.oracle & is_held_out & (divided["split"] == "val")
        divided.loc[is_held_out, "split"] = "out_of_distribution"
        divided.loc[is_oracle, "split"] = ORACLE_SPLIT
        return divided


@dataclass(frozen=True, kw_only=True)
class LeaveTwoDomainsOut(Stratified):
    """Train on all domains but two: what leave-one-domain-out cross-validation does to choose without the test domain.

    The splits: `train` and `val` in the other domains, with the same images as `LeaveOneDomainOut` has there, and for
    each held-out domain one of the name `LeaveTwoDomainsOut.split(domain)`.

    Args:
        held_out: the two domains. While one is the domain to test on, only the other may be looked at.
        val_share: see `Stratified`.
        test_share: the part of the other domains that `LeaveOneDomainOut` tests on; it is not used.
        images_per_pair: see `Stratified`.

    Raises:
        InputError: an argument is out of range.
    """

    held_out: Sequence[str]

    def __post_init__(self) -> None:
        super().__post_init__()
        if len(set(self.held_out)) != 2:
            raise InputError(f"held_out is {', '.join(self.held_out) or 'empty'}. Expected two domains.")

    @staticmethod
    def split(domain: str) -> str:
        """The split of a held-out domain.

        >>> LeaveTwoDomainsOut.split("sketch")
        'held_out_sketch'
        """
        return f"held_out_{domain}"

    def assign(self, table: pd.DataFrame, seed: int = 0) -> pd.DataFrame:
        """See `Protocol.assign`; the table needs the column `domain` with three domains or more."""
        divided = self._divide(table, seed, "in_distribution")
        for domain in self.held_out:
            _require_domain(table, domain)
            divided.loc[divided["domain"] == domain, "split"] = self.split(domain)
        return divided[divided["split"] != "in_distribution"]


@dataclass(frozen=True, kw_only=True)
class TrainOnOneDomain(Stratified):
    """Train on one domain, test on all others.

    The splits: `train`, `val` and `in_distribution` in the domain, `out_of_distribution` in the other domains.

    Args:
        domain: the domain to train on.
        val_share: see `Stratified`.
        test_share: see `Stratified`.
        images_per_pair: see `Stratified`.
    """

    domain: str

    def assign(self, table: pd.DataFrame, seed: int = 0) -> pd.DataFrame:
        """See `Protocol.assign`; the table needs the column `domain` with two domains or more."""
        _require_domain(table, self.domain)
        divided = self._divide(table, seed, "in_distribution")
        divided.loc[divided["domain"] != self.domain, "split"] = "out_of_distribution"
        return divided


@dataclass(frozen=True, kw_only=True)
class WithinDomain(Stratified):
    """Train and test in one domain. The splits: `train`, `val`, `test`.

    Args:
        domain: the domain; None for the whole table, its domains mixed.
        val_share: see `Stratified`.
        test_share: see `Stratified`.
        images_per_pair: see `Stratified`.
    """

    domain: str | None = None

    def assign(self, table: pd.DataFrame, seed: int = 0) -> pd.DataFrame:
        """See `Protocol.assign`; the table needs the column `domain` unless the domain is None."""
        if self.domain is not None:
            _require_domain(table, self.domain)
            table = table[table["domain"] == self.domain]
        return self._divide(table, seed, "test")


@dataclass(frozen=True, kw_only=True)
class OpenSet(Stratified):
    """Train on some labels, test on those and on labels never seen (Scheirer et al., TPAMI 2013).

    The splits: `train`, `val` and `test` with the known labels, `unknown` with the others.

    Args:
        unknown: the labels kept from training; the bestiary's four unknown creatures if None.
        bona_fide: for attack detection, the label of genuine images; all others are types of attack.
        val_share: see `Stratified`.
        test_share: see `Stratified`.
        images_per_pair: see `Stratified`.
    """

    unknown: Sequence[str] | None = None
    bona_fide: str | None = None

    @property
    def open_set_splits(self) -> frozenset[str]:
        """`unknown`."""
        return frozenset({"unknown"})

    def assign(self, table: pd.DataFrame, seed: int = 0) -> pd.DataFrame:
        """See `Protocol.assign`; the table needs an unknown label and two known ones."""
        labels = class_names(table)
        unknown = set(UNKNOWN_CREATURES).intersection(labels) if self.unknown is None else set(self.unknown)
        if not unknown or not unknown.issubset(labels) or len(labels) - len(unknown) < 2:
            given = "None" if self.unknown is None else ", ".join(self.unknown)
            raise InputError(
                f"unknown is {given}. Expected one or more of the table's labels, with two or more left to learn; "
                f"the labels are {', '.join(labels)}."
            )
        divided = self._divide(table, seed, "test")
        divided.loc[divided["label"].isin(unknown), "split"] = "unknown"
        return divided


@dataclass(frozen=True, kw_only=True)
class GivenSplits(Protocol):
    """The splits that the table's own column `split` names: `train`, `val`, and any others as tests.

    Args:
        open_set: the splits whose labels training need not know.
        bona_fide: for attack detection, the label of genuine images; all others are types of attack.
    """

    open_set: Sequence[str] = ()
    bona_fide: str | None = None

    @property
    def open_set_splits(self) -> frozenset[str]:
        """As given."""
        return frozenset(self.open_set)

    def assign(self, table: pd.DataFrame, seed: int = 0) -> pd.DataFrame:
        """The rows that have a split, unchanged; `seed` makes no difference."""
        if "split" not in table:
            raise InputError(
                f"The table has no column 'split'; it has {', '.join(table.columns)}. Add one with train, val and the "
                "names of the tests, or choose another protocol."
            )
        return table[table["split"].fillna("") != ""].copy()


def domain_names(table: pd.DataFrame) -> list[str]:
    """The domains of a table in alphabetical order.

    Raises:
        InputError: it names none.
    """
    domains = sorted(set(table["domain"].dropna()) - {""}) if "domain" in table else []
    if not domains:
        raise InputError(
            f"The table names no domains; its columns are {', '.join(table.columns)}. Expected a column 'domain' that "
            "says where each image comes from."
        )
    return domains


def _require_domain(table: pd.DataFrame, domain: str) -> None:
    domains = domain_names(table)
    if domain not in domains:
        raise InputError(f"No domain {domain!r} in the table. Expected one of {', '.join(domains)}.")


def _require_shares(val_share: float, test_share: float) -> None:
    if not (0 <= val_share < 1 and 0 < test_share < 1 and val_share + test_share < 1):
        raise InputError(
            f"val_share is {val_share} and test_share is {test_share}. Expected parts of 1 that leave some to train on."
        )
