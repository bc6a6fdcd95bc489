"""Formats in which people have images and masks: one reader each, and a line here."""

from lookright.data.formats import coco, cvat, label_studio, labelme, oxford_pets, suffixes, voc, yolo
from lookright.data.formats.annotated import Annotated, Format

# What looks like several is taken for the first of them.
FORMATS: dict[str, Format] = {
    each.FORMAT.name: each.FORMAT for each in (coco, label_studio, cvat, voc, oxford_pets, yolo, labelme, suffixes)
}

__all__ = ["FORMATS", "Annotated", "Format"]
