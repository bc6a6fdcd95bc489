"""Train on all domains but one, test on that one."""

from dataclasses import dataclass

import pandas as pd

from lookright.data.protocols.protocol import ORACLE_SPLIT, require_domain
from lookright.data.protocols.stratified import Stratified
from lookright.errors import InputError


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
        require_domain(table, self.held_out)
        divided = self._divide(table, seed, "in_distribution")
        is_held_out = divided["domain"] == self.held_out
        is_oracle = self.oracle & is_held_out & (divided["split"] == "val")
        divided.loc[is_held_out, "split"] = "out_of_distribution"
        divided.loc[is_oracle, "split"] = ORACLE_SPLIT
        return divided
