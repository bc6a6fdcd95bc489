"""Tables that programs write into docs/reliability.md."""

import re
from collections.abc import Sequence
from pathlib import Path

PAGE = Path(__file__).parents[2] / "docs/reliability.md"


def as_table(rows: Sequence[Sequence[object]]) -> str:
    """Markdown; the first row is the head."""
    lines = [f"| {' | '.join(map(str, row))} |" for row in rows]
    return "\n".join([lines[0], "|" + "---|" * len(rows[0]), *lines[1:]])


def record(heading: str, table: str) -> None:
    """Replace the table under a heading of the page."""
    before, head, after = PAGE.read_text().partition(f"\n## {heading}\n")
    if not head:
        raise SystemExit(f"{PAGE} has no heading {heading!r}")
    after, replaced = re.subn(r"(?m)(^\|.*\n)+", lambda _: table + "\n", after, count=1)
    PAGE.write_text(before + head + after)
    print(f"{replaced} table written into {PAGE}")
