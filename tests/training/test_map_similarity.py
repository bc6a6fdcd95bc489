import dataclasses

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import stats

from lookright import InputError
from lookright.attribution.maps import explain_class
from lookright.cli import main
from lookright.data.protocols import GivenSplits
from lookright.training import load_data, load_run, map_similarity, train
from lookright.training.run_data import permute_labels


@pytest.fixture(scope="module")
def run(squares, settings, tmp_path_factory):
    return train(settings(squares, tmp_path_factory.mktemp("runs") / "run", epochs=1))


def test_the_training_images_get_one_anothers_labels(squares):
    before = load_data(squares, GivenSplits(), 0).table
    after = []
    for seed in (0, 0, 1):
        data = load_data(squares, GivenSplits(), 0)
        permute_labels(data, seed)
        after.append(data.table)
    pd.testing.assert_frame_equal(after[0], after[1])
    training = before["split"] == "train"
    assert (after[0]["label"] != before["label"])[training].mean() > 0.2
    assert (after[0]["label"] != after[2]["label"])[training].any()
    assert after[0]["label"][training].value_counts().to_dict() == before["label"][training].value_counts().to_dict()
    others = [column for column in before if column != "label"]
    pd.testing.assert_frame_equal(after[0][others], before[others])
    pd.testing.assert_frame_equal(after[0][~training], before[~training])


def test_groups_follow_their_labels(own_squares):
    path = own_squares / "labels.csv"
    table = pd.read_csv(path)
    table.assign(domain=table["label"] + " place").to_csv(path, index=False)
    data = load_data(own_squares, GivenSplits(), 0)
    assert len(data.groups) == len(data.classes)
    permute_labels(data, 0)
    assert len(data.groups) > len(data.classes)
    assert len(data.dataset("train", 32)[0]) > 0


def test_a_control_run_is_one_setting_away(run, squares, settings, tmp_path):
    given = settings(squares, tmp_path / "control", epochs=1, select="last", random_labels="true")
    given["model_arguments.width"] = given.pop("model_arguments")["width"]
    main(["train", *(word for name, value in given.items() for word in (f"--{name}", str(value)))])
    control = load_run(tmp_path / "control")
    assert control.settings.images.random_labels
    assert control.fingerprint == run.fingerprint
    found = map_similarity(run, control, "test", map="grad_cam")
    data = load_data(squares, GivenSplits(), 0, splits=["test"], classes=run.classes)
    assert found.index.tolist() == data.rows("test")["image"].tolist()
    batch = run.preprocessing.collate()([data.dataset("test", 32)[number] for number in range(4)])
    first, second = (
        explain_class(one.classifier, batch["image"], batch["label"], "grad_cam").flatten(1) for one in (run, control)
    )
    expected = [stats.spearmanr(a, b).statistic for a, b in zip(first, second)]
    assert found.iloc[:4].tolist() == pytest.approx(expected, abs=1e-5, nan_ok=True)
    assert np.abs(found).max() < 1


def test_a_run_is_like_itself_and_flat_maps_are_undefined(run):
    found = map_similarity(run, run, "test")
    assert found.dropna().to_numpy() == pytest.approx(np.ones(found.notna().sum()))
    assert found.notna().any()
    forgetful = load_run(run.directory)
    with torch.no_grad():
        for parameter in forgetful.classifier.parameters():
            parameter.zero_()
    assert map_similarity(run, forgetful, "test").isna().all()


def test_runs_that_do_not_fit_are_refused(run):
    with pytest.raises(InputError, match="The classes of"):
        map_similarity(run, dataclasses.replace(run, classes=[*run.classes[1:], "dog"]), "test")
    with pytest.raises(InputError, match="No image in split 'tset'"):
        map_similarity(run, run, "tset")
