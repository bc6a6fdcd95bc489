"""Train and test in one domain, or in the whole table."""

from dataclasses import dataclass

import pandas as pd

from lookright.data.protocols.protocol import require_domain
from lookright.data.protocols.stratified import Stratified


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
            require_domain(table, self.domain)
            table = table[table["domain"] == self.domain]
        return self._divide(table, seed, "test")
