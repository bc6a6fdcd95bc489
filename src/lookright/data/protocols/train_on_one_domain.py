"""Train on one domain, test on all others."""

from dataclasses import dataclass

import pandas as pd

from lookright.data.protocols.protocol import require_domain
from lookright.data.protocols.stratified import Stratified


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
        require_domain(table, self.domain)
        divided = self._divide(table, seed, "in_distribution")
        divided.loc[divided["domain"] != self.domain, "split"] = "out_of_distribution"
        return divided
