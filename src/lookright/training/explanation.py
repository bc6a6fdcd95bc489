"""Pictures of single images with the map of the predicted class laid over them."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw
from torch.nn import functional

from lookright.attribution import minmax, relu
from lookright.attribution.maps import explain_prediction
from lookright.classifier import evaluating
from lookright.data.images import read_image
from lookright.errors import InputError
from lookright.overlay import overlay
from lookright.replacing import replacing
from lookright.training.run import TrainedRun

CAPTION_HEIGHT = 18


def explain_images(run: TrainedRun, images: Sequence[Path], out: Path, map: str | None = None) -> list[Path]:
    """Write one picture per image: the image, and the image under its map, with the prediction below.

    Args:
        run: a trained run.
        images: image files.
        out: directory for the pictures, made if needed.
        map: a name in `lookright.attribution.MAPS`; None: the one of the run's settings.

    Raises:
        InputError: an image cannot be read, two have the same name, or the map does not fit the model.
    """
    names = [image.stem for image in images]
    for name in names:
        if names.count(name) > 1:
            raise InputError(f"Two images are named {name!r}, and their pictures would overwrite each other.")
    read = [read_image(path) for path in images]
    out.mkdir(parents=True, exist_ok=True)
    paths = []
    for name, image in zip(names, read, strict=True):
        with evaluating(run.classifier):
            output, signed = explain_prediction(
                run.classifier, run.preprocessing([image]), map or run.settings.evaluation.map
            )
        height, width = image.shape[-2:]
        grown = functional.interpolate(minmax(relu(signed))[None], (height, width), mode="bilinear")[0, 0].numpy()
        pixels = image.permute(1, 2, 0).numpy()
        confidence = output.logits.softmax(1).max().item()
        pair = np.concatenate([pixels, overlay(pixels, grown)], axis=1)
        picture = Image.new("RGB", (pair.shape[1], height + CAPTION_HEIGHT), "white")
        picture.paste(Image.fromarray(pair))
        caption = f"{run.classes[int(output.logits.argmax(1))]} {confidence:.0%}"
        ImageDraw.Draw(picture).text((4, height + 3), caption, fill="black")
        paths.append(out / f"{name}.png")
        with replacing(paths[-1]) as draft:
            picture.save(draft)
    return paths
