"""The splits that the table itself names."""

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from lookright.data.protocols.protocol import Protocol
from lookright.errors import InputError


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
