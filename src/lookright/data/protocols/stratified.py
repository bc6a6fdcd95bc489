"""The base of the protocols that divide every pair in the same proportions."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from lookright.data.protocols.protocol import Protocol, require_shares
from lookright.errors import InputError


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
        require_shares(self.val_share, self.test_share)
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
