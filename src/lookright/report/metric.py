"""What each column of results.csv means, by the table of measures."""

from collections.abc import Mapping
from dataclasses import replace

from lookright.measures import CONTRAST, MEASURES, Measure, of_contrast


def _known(name: str) -> str | None:
    """The entry of the table that `name` is, or is a variant of: `auroc_energy` is AUROC with another score."""
    if name in MEASURES:
        return name
    return next((known for known in MEASURES if name.startswith(f"{known}_")), None)


def measure(name: str, own: Mapping[str, Measure] = {}) -> Measure:
    """The row for a column of results.csv; an unknown column is shown under its own name, without a direction.

    Args:
        name: of the column.
        own: rows of the user's own measures.

    >>> measure("deletion").higher_is_better
    False
    >>> measure("auroc_energy").label
    'AUROC (energy)'
    >>> measure("contrast_energy_in_mask").label
    'Energy in mask (contrast)'
    >>> measure("my_metric").label
    'my metric'
    """
    if name in own:
        return own[name]
    if name.startswith(CONTRAST):
        return of_contrast(measure(name.removeprefix(CONTRAST), own))
    known = _known(name)
    if known is None:
        words = "A metric that this report has no description of."
        return Measure(name, name.replace("_", " "), None, words, "classification")
    if name == known:
        return MEASURES[known]
    variant = name.removeprefix(f"{known}_").replace("_", " ")
    return replace(MEASURES[known], name=name, label=f"{MEASURES[known].label} ({variant})")


def is_open_set(name: str) -> bool:
    """Whether a column says how well unknown images are told from known ones."""
    known = _known(name)
    return known is not None and MEASURES[known].kind == "open set"


def in_order(names: list[str]) -> list[str]:
    """Columns in the order of the table, unknown ones last in the order given; each beside that of the contrast map."""
    order = [*MEASURES, *(name.removeprefix(CONTRAST) for name in names)]

    def place(name: str) -> tuple[int, bool]:
        own = name.removeprefix(CONTRAST)
        return order.index(_known(own) or own), own != name

    return sorted(names, key=place)
