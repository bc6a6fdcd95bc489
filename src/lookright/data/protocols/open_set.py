"""Train on some labels, test on those and on labels never seen."""

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from lookright.data.protocols.stratified import Stratified
from lookright.data.table import class_names
from lookright.errors import InputError


@dataclass(frozen=True, kw_only=True)
class OpenSet(Stratified):
    """Train on some labels, test on those and on labels never seen (Scheirer et al., TPAMI 2013).

    The splits: `train`, `val` and `test` with the known labels, `unknown` with the others.

    Args:
        unknown: the labels kept from training.
        bona_fide: for attack detection, the label of genuine images; all others are types of attack.
        val_share: see `Stratified`.
        test_share: see `Stratified`.
        images_per_pair: see `Stratified`.
    """

    unknown: Sequence[str]
    bona_fide: str | None = None

    @property
    def open_set_splits(self) -> frozenset[str]:
        """`unknown`."""
        return frozenset({"unknown"})

    def assign(self, table: pd.DataFrame, seed: int = 0) -> pd.DataFrame:
        """See `Protocol.assign`; the table needs an unknown label and two known ones."""
        labels = class_names(table)
        unknown = set(self.unknown)
        if not unknown or not unknown.issubset(labels) or len(labels) - len(unknown) < 2:
            raise InputError(
                f"unknown is {', '.join(self.unknown) or 'empty'}. Expected some of the table's labels, with two or "
                f"more left to learn; the labels are {', '.join(labels)}."
            )
        divided = self._divide(table, seed, "test")
        divided.loc[divided["label"].isin(unknown), "split"] = "unknown"
        return divided
