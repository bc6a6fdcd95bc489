"""Settings that know what values they may have."""

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import NoneType
from typing import Any, get_args, get_type_hints

from lookright.errors import InputError


@dataclass(frozen=True)
class Range:
    """Numbers from `least` to `most`; `above` leaves out the lower end."""

    least: float = -math.inf
    most: float = math.inf
    above: float = -math.inf

    def __contains__(self, number: float) -> bool:
        return self.least <= number <= self.most and self.above < number < math.inf

    def __str__(self) -> str:
        if self.above > -math.inf:
            return f"more than {self.above:.12g}" + (f" and at most {self.most:.12g}" if self.most < math.inf else "")
        return (
            f"a number from {self.least:.12g} to {self.most:.12g}"
            if self.most < math.inf
            else f"{self.least:.12g} or more"
        )


def within(default: Any, least: float = -math.inf, most: float = math.inf, *, above: float = -math.inf) -> Any:
    """A dataclass field with a default and a range; None passes.

    >>> @dataclass
    ... class Schedule(Checked):
    ...     epochs: int = within(20, least=1)
    >>> Schedule(epochs=0)
    Traceback (most recent call last):
    lookright.errors.InputError: epochs = 0; expected 1 or more.
    """
    return dataclasses.field(default=default, metadata={"range": Range(least, most, above)})


def check_ranges(kind: type, values: Mapping[str, Any]) -> None:
    """Refuse values outside the ranges of a dataclass's fields, and None where a field needs a value.

    Raises:
        InputError: names the first one, and what is expected.
    """
    hints = get_type_hints(kind)
    for field in dataclasses.fields(kind):
        allowed, value = field.metadata.get("range"), values.get(field.name)
        if field.name in values and value is None and NoneType not in get_args(hints[field.name]):
            raise InputError(f"{field.name} has no value; expected {allowed or 'one, or to be left out'}.")
        if allowed is not None and value is not None and value not in allowed:
            raise InputError(f"{field.name} = {value}; expected {allowed}.")


class Checked:
    """A dataclass whose fields keep to their ranges."""

    def __post_init__(self) -> None:
        check_ranges(type(self), vars(self))
