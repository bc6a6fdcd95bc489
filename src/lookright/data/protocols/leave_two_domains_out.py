"""Train on all domains but two, to choose without the test domain."""

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from lookright.data.protocols.protocol import require_domain
from lookright.data.protocols.stratified import Stratified
from lookright.errors import InputError


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
            require_domain(table, domain)
            divided.loc[divided["domain"] == domain, "split"] = self.split(domain)
        return divided[divided["split"] != "in_distribution"]
