"""The bestiary: a data set of creatures in the levels of a free game, rendered on the spot by that game's engine."""

from lookright.data.bestiary.render import CREATURES, KNOWN_CREATURES, LEVELS, UNKNOWN_CREATURES, render_bestiary

__all__ = ["CREATURES", "KNOWN_CREATURES", "LEVELS", "UNKNOWN_CREATURES", "render_bestiary"]
