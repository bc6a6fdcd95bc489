"""Names that come from data, made names of files."""

import hashlib
import re

LONGEST = 55
"""Characters of a name that are kept."""


def file_name(name: str) -> str:
    """A file name for any name: different ones for different names, and never a path.

    A name of letters, digits, `_`, `.`, `+` and `-` stays as it is. Another keeps what it has of them, followed by a
    digest of the whole.

    >>> file_name("test_seen")
    'test_seen'
    >>> file_name("SAGE, inverted masks")
    'SAGE-inverted-masks-70fab474'
    >>> file_name("../../data/labels")
    'data-labels-32f020b0'
    """
    readable = readable_part(name)
    if readable == name:
        return name
    return f"{readable}-{hashlib.sha256(name.encode(errors='surrogatepass')).hexdigest()[:8]}"


def readable_part(name: str) -> str:
    """What a file name can show of a name; several names may have the same."""
    return re.sub(r"[^\w.+-]+", "-", name).strip("-.")[:LONGEST] or "run"
