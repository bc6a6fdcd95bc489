"""Lets the reference show the doctests of docstrings as blocks of code."""

import re
from typing import Any

import griffe


class FencedDoctests(griffe.Extension):
    """Sets fences around the doctests of every docstring."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Of an object as it was read."""
        if obj.docstring is not None:
            fenced = re.sub(r"^>>> .*?(?=\n\n|\Z)", "```pycon\n\\g<0>\n```", obj.docstring.value, flags=re.M | re.S)
            obj.docstring.value = fenced
