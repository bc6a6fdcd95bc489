"""Drawing training images so that what is rare comes up as often as what is common."""

from typing import Literal

import pandas as pd

from lookright.data.table import groups_of
from lookright.errors import InputError

Balance = Literal["class", "group", "class_and_domain"]


def draw_weights(table: pd.DataFrame, balance: Balance) -> list[float]:
    """How often each image has to be drawn for the classes, the groups or the pairs of class and domain to be alike.

    Raises:
        InputError: an image without the group or the domain that is asked for.

    >>> draw_weights(pd.DataFrame({"label": ["cow", "cow", "camel"]}), "class")
    [0.5, 0.5, 1.0]
    """
    cells = table["label"]
    if balance == "group":
        require_groups(table, "balance = 'group'")
        cells = groups_of(table)
    elif balance == "class_and_domain":
        if "domain" not in table or (table["domain"].fillna("") == "").any():
            raise InputError(
                "balance = 'class_and_domain' needs the domain of every training image. Fill in the column domain of "
                "labels.csv, or take balance = 'class'."
            )
        cells = table["label"] + ", " + table["domain"]
    return (1 / cells.map(cells.value_counts())).tolist()


def require_groups(table: pd.DataFrame, who: str) -> None:
    """Refuse images without a group.

    Raises:
        InputError: how many there are, and what to do.
    """
    missing = int((groups_of(table) == "").sum())
    if missing:
        raise InputError(
            f"{who} needs the group of every image, and {missing} of {len(table)} have none. Fill in the column group "
            "of labels.csv, or the column domain: a group is then a label in a domain."
        )
