"""Formats in which people have images and masks: one reader each, some writers, and a line here."""

from lookright.data.formats import (
    chexlocalize,
    coco,
    cvat,
    dicom,
    fiftyone,
    fixations,
    imagenet_s,
    items,
    label_studio,
    labelme,
    nifti,
    oxford_pets,
    suffixes,
    voc,
    waterbirds,
    yolo,
)
from lookright.data.formats.annotated import Annotated, Format
from lookright.data.formats.exported import Writer
from lookright.data.formats.items import annotated_items

# What looks like several is taken for the first of them.
FORMATS: dict[str, Format] = {
    module.FORMAT.name: module.FORMAT
    for module in (
        *(coco, label_studio, cvat, voc, oxford_pets, yolo, labelme, waterbirds, imagenet_s, chexlocalize, fixations),
        *(dicom, nifti, items, suffixes),
    )
}

WRITERS: dict[str, Writer] = {
    each.name: each
    for each in (
        *(coco.WRITER, label_studio.WRITER, label_studio.PREDICTIONS, cvat.WRITER),
        *(fiftyone.WRITER, fiftyone.PREDICTIONS),
    )
}

__all__ = ["FORMATS", "WRITERS", "Annotated", "Format", "Writer", "annotated_items"]
