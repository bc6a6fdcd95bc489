import json

import numpy as np
import pandas as pd
import pytest
import torch

from lookright import InputError, attribution, metrics
from lookright.attribution import class_map, minmax, relu
from lookright.training.evaluation import evaluate_split
from lookright.training.explanation import explain_images
from lookright.training.results import evaluate_run
from lookright.training.run import load_run, train
from lookright.training.run_data import load_data


@pytest.fixture(scope="module")
def run(tmp_path_factory, squares, settings):
    return train(settings(squares, tmp_path_factory.mktemp("runs") / "run", method="CAMAL", epochs=5))


def test_every_number_is_what_the_metrics_give_image_by_image(run, squares):
    data = load_data(squares, run.settings.protocol, 0, splits=["test"], classes=run.classes)
    evaluation = evaluate_split(run.classifier, data, "test", 32, run.normalisation, steps=4, faithfulness="all")
    dataset, table = data.dataset("test", 32), evaluation.table
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (run.normalisation.mean, run.normalisation.std))
    for row in range(0, len(table), 5):
        sample = dataset[row]
        image = ((sample["image"] / 255 - mean) / std)[None]
        output = run.classifier(image)
        predicted = output.logits.argmax(1)
        signed = class_map(run.classifier, output, predicted).detach()
        map, mask = minmax(relu(signed)), sample["mask"][None] / 255
        assert table["prediction"][row] == run.classes[predicted]
        for name in ("energy_in_mask", "attention_gap", "pointing_game", "iou"):
            expected = getattr(metrics, name)(map, mask).item() if sample["mask_weight"] else float("nan")
            assert table[name][row] == pytest.approx(expected, abs=1e-4, nan_ok=True)
        insertion = metrics.auc(metrics.insertion(run.classifier, image, signed, predicted, steps=4))
        assert table["insertion"][row] == pytest.approx(insertion.item(), abs=1e-4)
        sufficiency = metrics.sufficiency(run.classifier, image, signed, predicted)
        assert table["sufficiency"][row] == pytest.approx(sufficiency.item(), abs=1e-4)
    summary = evaluation.summary()
    assert summary["accuracy"] == pytest.approx((table["prediction"] == table["label"]).mean())
    groups = (table["prediction"] == table["label"]).groupby([table["label"], table["domain"]]).mean()
    assert summary["worst_group_accuracy"] == pytest.approx(groups.min())
    assert summary["energy_in_mask"] == pytest.approx(table["energy_in_mask"].dropna().mean())
    assert summary["images_with_mask"] == (table["mask_weight"] > 0).sum() < len(table)


def test_what_evaluate_writes(run, squares):
    result = evaluate_run(run)
    assert set(result["splits"]) == {"test"}
    assert json.loads((run.directory / "result.json").read_text()) == result
    table = pd.read_csv(run.directory / "evaluation/test.csv")
    assert {"image", "label", "domain", "prediction", "confidence", "correct", "energy_in_mask", "insertion"} <= set(
        table
    )
    arrays = np.load(run.directory / "evaluation/test.npz")
    assert arrays["gallery_image"].shape == (5, 32, 32, 3)
    assert arrays["insertion_curve"].shape == arrays["fraction"].shape == (5,)
    assert (arrays["gallery_mask_weight"] > 0).all()
    assert arrays["gallery_map"].min() >= 0
    assert arrays["gallery_map"].max() <= 1
    assert np.trapezoid(arrays["insertion_curve"], arrays["fraction"]) == pytest.approx(
        table["insertion"].mean(), abs=1e-4
    )


def test_evaluating_changes_nothing_in_the_model(run):
    before = {key: value.clone() for key, value in run.classifier.state_dict().items()}
    run.classifier.train()
    evaluate_run(run, splits=["val"])
    assert run.classifier.training
    run.classifier.eval()
    for key, value in run.classifier.state_dict().items():
        assert torch.equal(value, before[key])


def test_evaluation_on_other_data(run, own_squares, tmp_path):
    result = evaluate_run(run, own_squares, ["val"], tmp_path / "elsewhere")
    assert result["splits"]["val"]["images"] == 6
    assert (tmp_path / "elsewhere/evaluation/val.npz").is_file()


def test_labels_that_training_never_saw_are_refused(run, own_squares):
    table = pd.read_csv(own_squares / "labels.csv")
    table.loc[table["split"] == "test", "label"] = "violet"
    table.to_csv(own_squares / "labels.csv", index=False)
    with pytest.raises(InputError, match="Split 'test' .* label 'violet', which training never saw"):
        evaluate_run(run, own_squares)


def test_a_split_without_images_is_refused(run, own_squares):
    with pytest.raises(InputError, match="No image in split 'tset'.* its splits are test, train, val"):
        evaluate_run(run, own_squares, ["tset"])
    table = pd.read_csv(own_squares / "labels.csv")
    table[table["split"] != "test"].to_csv(own_squares / "labels.csv", index=False)
    with pytest.raises(InputError, match="no split besides train and val"):
        evaluate_run(run, own_squares)


def test_faithfulness_on_some_images(run, squares):
    data = load_data(squares, run.settings.protocol, 0, splits=["test"], classes=run.classes)
    table = evaluate_split(run.classifier, data, "test", 32, run.normalisation, faithfulness_images=4, steps=2).table
    assert table["insertion"].count() == 4
    assert table["prediction"].count() == len(table)


def test_open_set_scores_tell_unknown_classes(own_squares, settings, tmp_path):
    open_set = {"class_path": "OpenSet", "init_args": {"unknown": ["blue"]}}
    run = train(settings(own_squares, tmp_path / "run", protocol=open_set, epochs=6))
    assert run.classes == ["green", "red"]
    splits = evaluate_run(run)["splits"]
    assert "accuracy" not in splits["unknown"]
    assert {"auroc", "auroc_energy", "auroc_embedding_distance", "fpr_at_95_tpr"} <= set(splits["unknown"])


def test_masks_can_be_wrong_on_purpose(squares, settings, tmp_path, run):
    wrong = train(settings(squares, tmp_path / "run", method="CAMAL", epochs=5, mask_control="Inverted"))
    energy = [evaluate_run(one, splits=["test"])["splits"]["test"]["energy_in_mask"] for one in (run, wrong)]
    assert energy[1] < energy[0] - 0.1


@pytest.mark.parametrize("name", ["layer_cam", "input_gradient"])
def test_another_map_can_be_measured(run, squares, tmp_path, name):
    result = evaluate_run(run, splits=["test"], out=tmp_path, map=name)
    assert result["map"] == name
    data = load_data(squares, run.settings.protocol, 0, splits=["test"], classes=run.classes)
    energy = []
    for batch in data.loader("test", 32, run.normalisation):
        output = run.classifier(batch["image"].requires_grad_())
        map = relu(attribution.MAPS[name](run.classifier, output, output.logits.argmax(1)))
        energy.append(metrics.energy_in_mask(minmax(map), batch["mask"])[batch["mask_weight"] > 0])
    assert result["splits"]["test"]["energy_in_mask"] == pytest.approx(torch.cat(energy).mean().item(), rel=1e-4)
    with pytest.raises(InputError, match=f"is about the map {name}. Give --out another directory for class_map"):
        evaluate_run(run, splits=["test"], out=tmp_path)


def test_maps_are_checked_before_anything_is_done(squares, settings, tmp_path):
    with pytest.raises(InputError, match="No map 'grad_cab'. Expected class_map, cam, grad_cam"):
        train(settings(squares, tmp_path / "run", map="grad_cab"))
    assert not (tmp_path / "run").exists()


def test_large_maps_are_kept_small(run, squares):
    data = load_data(squares, run.settings.protocol, 0, splits=["test"], classes=run.classes)
    evaluation = evaluate_split(
        run.classifier, data, "test", 80, run.normalisation, map="input_gradient", faithfulness="none"
    )
    assert evaluation.map.shape[1:] == (64, 64)


def test_pictures_of_single_images(run, squares, tmp_path):
    paths = explain_images(run, [squares / "images/1.png", squares / "images/2.png"], tmp_path / "out")
    assert [path.name for path in paths] == ["1.png", "2.png"]
    with pytest.raises(InputError, match="Two images are named '1'"):
        explain_images(run, [squares / "images/1.png", squares / "masks/1.png"], tmp_path / "out")


def test_a_run_that_was_not_finished_is_said_so(tmp_path, run):
    (tmp_path / "config.yaml").write_text((run.directory / "config.yaml").read_text())
    with pytest.raises(InputError, match="was not finished"):
        load_run(tmp_path)
