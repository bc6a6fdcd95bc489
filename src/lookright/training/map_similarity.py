"""How like the maps of two runs are: of one that learned its labels, and of its control, whose labels were random."""

from pathlib import Path

import pandas as pd
import torch

from lookright.attribution.maps import explain_class
from lookright.classifier import evaluating
from lookright.data.dataset import UNKNOWN_LABEL
from lookright.errors import InputError
from lookright.metrics import rank_correlation
from lookright.training.run import TrainedRun
from lookright.training.run_data import load_data


def map_similarity(
    run: TrainedRun, control: TrainedRun, split: str, data: Path | None = None, map: str | None = None
) -> pd.Series:
    """Spearman's rank correlation of two runs' maps of each image of a split, both of the class that the image has.

    With a control that was trained with `random_labels`, the data randomisation test of Adebayo et al., "Sanity Checks
    for Saliency Maps", NeurIPS 2018, section 4: a map that is like the one of a classifier whose labels mean nothing
    shows the image, or the architecture, and not what was learnt. The measure is that of
    `metrics.randomisation_similarity`. With a run of another seed as the control: how much of a map is chance.

    Args:
        run: a trained run.
        control: another of the same model and classes.
        split: whose images are compared.
        data: folder with labels.csv; None: the one that the run was trained on.
        map: a map's name or import path; None: the one of the run's settings.

    Returns:
        A value in [-1, 1] for each image, by its name; NaN where a map is flat or the image has no known class.

    Raises:
        InputError: as `load_data`, or the runs differ in the model's input or in the classes.
    """
    for name in ("classes", "preprocessing"):
        own, other = getattr(run, name), getattr(control, name)
        if own != other:
            raise InputError(
                f"The {name} of {str(run.directory)!r} are {own}, those of {str(control.directory)!r} {other}. "
                "Expected runs of the same data and model."
            )
    settings = run.settings
    loaded = load_data(
        data or settings.data,
        settings.protocol,
        settings.seed,
        splits=[split],
        classes=run.classes,
        **settings.reading,
    )
    map = map or settings.evaluation.map
    found = []
    with evaluating(run.classifier), evaluating(control.classifier):
        for batch in loaded.batches(split, run.preprocessing, next(run.classifier.parameters()).device):
            label = batch["label"].clamp(min=0)
            maps = [explain_class(one.classifier, batch["image"], label, map) for one in (run, control)]
            if maps[0].shape != maps[1].shape:
                own, other = (tuple(one.shape[1:]) for one in maps)
                raise InputError(
                    f"The maps of {str(run.directory)!r} have {own} cells, of {str(control.directory)!r} {other}. "
                    "Expected runs of the same model."
                )
            alike = rank_correlation(*maps)
            found.append(torch.where(batch["label"] == UNKNOWN_LABEL, torch.nan, alike).cpu())
    return pd.Series(torch.cat(found).numpy(), loaded.rows(split)["image"], name="similarity")
