"""The base of every protocol, and what protocols ask of a table."""

from abc import ABC, abstractmethod

import pandas as pd

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


def require_domain(table: pd.DataFrame, domain: str) -> None:
    """Refuse a domain that the table does not have.

    Raises:
        InputError: no such domain, or no domains at all.
    """
    domains = domain_names(table)
    if domain not in domains:
        raise InputError(f"No domain {domain!r} in the table. Expected one of {', '.join(domains)}.")


def require_shares(val_share: float, test_share: float) -> None:
    """Refuse parts of the images that leave none to train on, or none to test on.

    Raises:
        InputError: see there.
    """
    if not (0 <= val_share < 1 and 0 < test_share < 1 and val_share + test_share < 1):
        raise InputError(
            f"val_share is {val_share} and test_share is {test_share}. Expected parts of 1 that leave some to train on."
        )
