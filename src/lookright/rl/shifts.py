"""Shifted versions of scenarios: the same rules, rewards, rooms and objects, which look different.

An agent that looks at the right things may notice less of it. Only what is drawn differs, so that returns compare.
"""

import re
from pathlib import Path
from typing import Literal

import vizdoom

from lookright.errors import InputError
from lookright.rl.wad import directory, read_lump, read_wad, write_wad

Shift = Literal["textures", "dark", "skins"]
"""`textures`: other walls, floors and ceilings, the same sky. `dark`: rooms with 0.6 of their light. `skins`: monsters,
medikits and armour that look like other ones, and behave as before."""

LIGHT = 0.6
UNSAID_LIGHT = 160
"""Of a sector that names none, by UDMF."""
SKY = "F_SKY1"
"""The ceiling that is none, through which shots leave the map."""

WALLS = (
    *("STARTAN2", "MARBLE1", "GRAY1", "BRONZE1", "METAL1", "WOOD1"),
    *("ICKWALL1", "BROWN96", "ROCK1", "STONE3", "TEKWALL1", "PANEL4"),
)
FLATS = ("FLOOR4_8", "FLAT14", "RROCK09", "MFLR8_1", "FLOOR7_1", "FLAT5_4", "SLIME13", "CEIL3_5", "FLAT20", "FLOOR5_1")

SKINS = {
    **{"HEAD": "BOS2", "SARG": "BOS2", "TROO": "CPOS", "PLAY": "TROO", "BAL1": "MISL"},
    **{"POSS": "SARG", "SPOS": "BOS2", "CPOS": "TROO", "MEDI": "STIM", "ARM1": "ARM2"},
}
"""What is drawn for the sprites of the objects that matter, by their names in Doom."""


def write_shifted(scenario: Path, shift: Shift, out: Path) -> None:
    """Write the WAD of a scenario so that its maps or objects look different.

    Args:
        scenario: the WAD to be read.
        shift: how it is to differ.
        out: the WAD to be written.

    Raises:
        InputError: no WAD, or one whose maps are not text (UDMF).
    """
    lumps = read_wad(scenario)
    if shift == "skins":
        write_wad([*lumps, ("S_START", b""), *_skins(), ("S_END", b"")], out)
        return
    if not any(name == "TEXTMAP" for name, _ in lumps):
        raise InputError(f"The maps of {str(scenario)!r} are not in UDMF, which the shift {shift!r} rewrites.")
    rewrite = _retextured if shift == "textures" else _darkened
    write_wad(
        [
            (name, rewrite(content.decode("latin-1")).encode("latin-1") if name == "TEXTMAP" else content)
            for name, content in lumps
        ],
        out,
    )


def _darkened(map: str) -> str:
    map = re.sub(r"\bsector\b[^{}=;]*\{(?![^}]*lightlevel\s*=)", f"\\g<0>\nlightlevel = {UNSAID_LIGHT};", map)
    return re.sub(r"(lightlevel\s*=\s*)(\d+)", lambda found: f"{found[1]}{round(LIGHT * int(found[2]))}", map)


def _retextured(map: str) -> str:
    """Every texture of the map but its sky another one, each time the same; as many different ones as before."""
    for keys, pool in ((r"texture(?:top|middle|bottom)", WALLS), (r"texture(?:floor|ceiling)", FLATS)):
        pattern = rf'({keys}\s*=\s*")(?!(?i:{SKY})")([^"-][^"]*)'
        used = sorted({name.upper() for _, name in re.findall(pattern, map)})
        others = [name for name in pool if name not in used] or used[-1:]
        swap = dict(zip(used, others + used, strict=False))  # where the pool does not suffice, those of the map
        map = re.sub(pattern, lambda found, swap=swap: found[1] + swap[found[2].upper()], map)  # type: ignore[misc]
    return map


def _skins() -> list[tuple[str, bytes]]:
    """Under the names of an object's sprites, those of another, frame by frame, seen from the same side."""
    with Path(vizdoom.__file__).with_name("freedoom2.wad").open("rb") as file:
        lumps = directory(file)
        names = [name for name, _, _ in lumps]
        between = lumps[names.index("S_START") + 1 : names.index("S_END")]
        sprites = {name: (place, length) for name, place, length in between}
        skins = []
        for name in sprites:
            if name[:4] in SKINS:
                starts = [SKINS[name[:4]] + name[4:end] for end in (8, 6, 5, 4)]  # as it is; frame and side; frame; any
                source = next(sprite for start in starts for sprite in sprites if sprite.startswith(start))
                skins.append((name, read_lump(file, *sprites[source])))
    return skins
