from collections import Counter

import pandas as pd
import pytest

from lookright import InputError
from lookright.data.balance import draw_weights
from lookright.data.dataset import ShuffledBatches

TABLE = pd.DataFrame(
    {"label": ["cow"] * 8 + ["camel"] * 2, "domain": ["grass"] * 7 + ["sand"] * 3, "group": ["a"] * 9 + ["b"]}
)


def drawn(balance, table=TABLE, epochs=400):
    """How many of the images of an epoch are of each cell, on average."""
    weights = draw_weights(table, balance)
    batches = ShuffledBatches(len(table), len(table), epochs, weights=weights)
    return Counter(index for batch in batches for _, index in batch)


@pytest.mark.parametrize(
    ("balance", "columns"), [("class", ["label"]), ("group", ["group"]), ("class_and_domain", ["label", "domain"])]
)
def test_every_cell_comes_up_alike(balance, columns):
    counts = drawn(balance)
    cells = TABLE.assign(drawn=[counts[index] for index in range(len(TABLE))]).groupby(columns)["drawn"].sum()
    assert (cells / cells.sum()).tolist() == pytest.approx([1 / len(cells)] * len(cells), abs=0.03)


def test_a_group_is_a_label_in_a_domain_where_none_is_named():
    table = TABLE.drop(columns="group")
    assert draw_weights(table, "group") == draw_weights(table, "class_and_domain")


def test_draws_depend_on_seed_and_epoch_and_go_on_anywhere():
    weights = draw_weights(TABLE, "class")
    batches = list(ShuffledBatches(10, 5, 6, seed=1, weights=weights))
    assert list(ShuffledBatches(10, 5, 6, seed=1, weights=weights, start=7)) == batches[7:]
    assert list(ShuffledBatches(10, 5, 6, seed=2, weights=weights)) != batches


@pytest.mark.parametrize("balance", ["group", "class_and_domain"])
def test_images_without_a_cell_are_refused(balance):
    table = TABLE.drop(columns="group").assign(domain=["grass"] * 9 + [""])
    with pytest.raises(InputError, match=f"balance = '{balance}'"):
        draw_weights(table, balance)
