"""A page on this machine to look at a folder of images, and to draw masks where there are none."""

from lookright.studio.server import serve

__all__ = ["serve"]
