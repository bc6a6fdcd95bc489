"""Random search: for every method of a study as many drawn candidates, so that all are tuned alike."""

import math
import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from lookright.errors import InputError

Space = Mapping[str, Any]

DIGITS = 4
"""Significant ones of a drawn number."""

MOST_DRAWS = 1000

RANGES = ("uniform", "log_uniform")

EXPECTED = "{log_uniform: [0.0001, 0.01]}, {uniform: [0, 1]} or a list of choices, such as [16, 32, 64]"


@dataclass(frozen=True)
class Search:
    """How often to draw, and from what.

    A space has a range (`uniform` or `log_uniform`) or a list of choices for each setting, which dots name where it
    lies inside of another: `lr`, `method.init_args.methods.1.init_args.weight`.

    Attributes:
        draws: candidates of each method, the first of which is the method with the study's own settings.
        common: the space of every method.
        methods: by method, what it has besides, or in place of the common.
    """

    draws: int
    common: Space = field(default_factory=dict)
    methods: Mapping[str, Space] = field(default_factory=dict)

    def candidates(self, methods: Iterable[str]) -> dict[str, dict[str, dict[str, Any]]]:
        """By method and name of the draw, the settings that are drawn: none for draw 0, as in DomainBed.

        A value depends on the method's name, the draw's number and the setting's name alone, so that a method, a draw
        or a setting more changes no other.

        Raises:
            InputError: a space of no method, or a method without a space.

        >>> Search(2, {"lr": {"log_uniform": [0.001, 0.1]}}).candidates(["ERM"])
        {'ERM': {'draw 0': {}, 'draw 1': {'lr': 0.01166}}}
        """
        methods = list(methods)
        for method in self.methods:
            if method not in methods:
                raise InputError(f"search: a space for {method!r}, which is no method; expected {', '.join(methods)}.")
        found = {}
        for method in methods:
            space = {**self.common, **self.methods.get(method, {})}
            if not space:
                raise InputError(
                    f"search: nothing to draw for {method!r}. Give it a space under 'methods', or all methods one "
                    "under 'common'."
                )
            found[method] = {
                f"draw {number}": {
                    setting: _draw(values, (method, number, setting)) for setting, values in space.items()
                }
                if number
                else {}
                for number in range(self.draws)
            }
        return found


def read_search(content: Any) -> Search:
    """The key `search` of a study.

    Raises:
        InputError: keys that are missing or unknown, no number of draws, or a space that nothing can be drawn from.
    """
    keys = ("draws", "common", "methods")
    if not isinstance(content, dict) or "draws" not in content or not set(content) <= set(keys):
        raise InputError(
            f"search: {content!r}; expected the number of 'draws' and spaces, 'common' to all methods and of some "
            "'methods', such as {draws: 8, common: {lr: {log_uniform: [0.0001, 0.01]}}}."
        )
    draws, common, methods = content["draws"], content.get("common") or {}, content.get("methods") or {}
    if type(draws) is not int or not 2 <= draws <= MOST_DRAWS:
        raise InputError(f"search: draws: {draws!r}; expected a whole number from 2 to {MOST_DRAWS}, such as 8.")
    if not isinstance(methods, dict):
        raise InputError(f"search: methods: {methods!r}; expected a space by the name of each method.")
    for name, space in {"common": common, **methods}.items():
        if not isinstance(space, dict):
            raise InputError(f"search: {name}: {space!r}; expected settings, and for each {EXPECTED}.")
        for setting, values in space.items():
            _require_drawable(f"search: {name}: {setting}", values)
    return Search(draws, common, methods)


def _require_drawable(where: str, values: Any) -> None:
    if isinstance(values, list) and values:
        return
    if not isinstance(values, dict) or len(values) != 1 or not set(values) <= set(RANGES):
        raise InputError(f"{where}: {values!r}; expected {EXPECTED}.")
    ((kind, ends),) = values.items()
    numbers = isinstance(ends, list) and len(ends) == 2 and all(type(end) in (int, float) for end in ends)
    if not numbers or not all(map(math.isfinite, ends)) or not ends[0] < ends[1]:
        raise InputError(f"{where}: {kind}: {ends!r}; expected two numbers, the smaller first, such as [0.001, 0.1].")
    if kind == "log_uniform" and ends[0] <= 0:
        raise InputError(f"{where}: {kind}: {ends!r}; expected numbers above 0, since a logarithm needs them.")


def _draw(values: Any, key: tuple[str, int, str]) -> Any:
    generator = random.Random(repr(key))
    if isinstance(values, list):
        return generator.choice(values)
    ((kind, (low, high)),) = values.items()
    if kind == "uniform":
        drawn = generator.uniform(low, high)
    else:
        drawn = math.exp(generator.uniform(math.log(low), math.log(high)))
    return min(max(float(f"{drawn:.{DIGITS}g}"), low), high)


def with_setting(config: Any, path: Sequence[str], value: Any) -> Any:
    """A copy of nested settings in which the one at a path is another.

    Raises:
        InputError: the path leads into a plain value, or out of a list.

    >>> with_setting({"method": "CAMAL"}, ["method", "init_args", "weight"], 3)
    {'method': {'class_path': 'CAMAL', 'init_args': {'weight': 3}}}
    >>> with_setting({"methods": [{"a": 1}, {"a": 1}]}, ["methods", "1", "a"], 2)
    {'methods': [{'a': 1}, {'a': 2}]}
    """
    if not path:
        return value
    key, *rest = path
    if isinstance(config, list):
        places = [str(place) for place in range(len(config))]
        if key not in places:
            raise InputError(f"No {key!r} in a list of {len(config)}; expected one of {', '.join(places)}.")
        return [
            with_setting(part, rest, value) if place == key else part
            for place, part in zip(places, config, strict=True)
        ]
    if isinstance(config, str):
        config = {"class_path": config}  # a class that is named without arguments
    if not isinstance(config, dict | None):
        raise InputError(f"{key!r} inside of {config!r}, which holds no settings.")
    return {**(config or {}), key: with_setting((config or {}).get(key), rest, value)}
