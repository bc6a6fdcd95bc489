import copy
import json
import shutil
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

from lookright import InputError, attribution, metrics
from lookright.attribution import class_map, minmax, relu
from lookright.attribution.maps import explain_class
from lookright.classifier import evaluating
from lookright.data.dataset import UNKNOWN_LABEL
from lookright.measures import MEASURES
from lookright.training import results
from lookright.training.evaluation import SplitEvaluation, evaluate_split
from lookright.training.explanation import explain_images
from lookright.training.open_set import open_set_summary, training_class_means
from lookright.training.results import evaluate_run
from lookright.training.run import load_run, train
from lookright.training.run_data import RunData, load_data


@pytest.fixture(scope="module")
def run(tmp_path_factory, squares, settings):
    return train(settings(squares, tmp_path_factory.mktemp("runs") / "run", method="CAMAL", epochs=5))


def test_every_number_is_what_the_metrics_give_image_by_image(run, squares):
    data = load_data(squares, run.settings.protocol, 0, splits=["test"], classes=run.classes)
    evaluation = evaluate_split(run.classifier, data, "test", run.preprocessing, steps=4, faithfulness="all")
    dataset, table = data.dataset("test", 32), evaluation.table
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (run.preprocessing.mean, run.preprocessing.std))
    for row in range(0, len(table), 5):
        sample = dataset[row]
        image = ((sample["image"] / 255 - mean) / std)[None]
        output = run.classifier(image)
        predicted = output.logits.argmax(1)
        signed = class_map(run.classifier, output, predicted).detach()
        map, mask = minmax(relu(signed)), sample["mask"][None] / 255
        rivals = [class_map(run.classifier, output, torch.tensor([k])) for k in range(3) if k != predicted]
        contrasted = minmax(relu(signed - sum(rivals).detach() / 2))
        assert table["prediction"][row] == run.classes[predicted]
        for name in ("energy_in_mask", "attention_gap", "pointing_game", "iou"):
            expected = getattr(metrics, name)(map, mask).item() if sample["mask_weight"] else float("nan")
            assert table[name][row] == pytest.approx(expected, abs=1e-4, nan_ok=True)
            expected = getattr(metrics, name)(contrasted, mask).item() if sample["mask_weight"] else float("nan")
            assert table[f"contrast_{name}"][row] == pytest.approx(expected, abs=1e-4, nan_ok=True)
        insertion = metrics.auc(metrics.insertion(run.classifier, image, signed, predicted, steps=4))
        assert table["insertion"][row] == pytest.approx(insertion.item(), abs=1e-4)
        if sample["mask_weight"]:
            given = (run.classifier, image, mask, torch.tensor([run.classes.index(table["label"][row])]))
            assert table["evidence_accuracy"][row] == metrics.evidence_accuracy(*given).item()
            assert table["scenery_accuracy"][row] == metrics.scenery_accuracy(*given).item()
        sufficiency = metrics.sufficiency(run.classifier, image, signed, predicted)
        assert table["sufficiency"][row] == pytest.approx(sufficiency.item(), abs=1e-4)
    summary = evaluation.summary()
    assert summary["accuracy"] == pytest.approx((table["prediction"] == table["label"]).mean())
    groups = (table["prediction"] == table["label"]).groupby([table["label"], table["domain"]]).mean()
    assert summary["worst_group_accuracy"] == pytest.approx(groups.min())
    assert summary["energy_in_mask"] == pytest.approx(table["energy_in_mask"].dropna().mean())
    assert summary["evidence_accuracy"] == pytest.approx(table["evidence_accuracy"].dropna().mean())
    assert table["evidence_accuracy"].isna().tolist() == (table["mask_weight"] == 0).tolist()
    masks = [dataset[row]["mask"] / 255 for row in range(len(table)) if table["mask_weight"][row] > 0]
    shares = [mask.mean().item() for mask in masks if mask.any()]
    assert summary["flat_energy_in_mask"] == pytest.approx(sum(shares) / len(shares), abs=1e-4)
    assert summary["flat_attention_gap"] == pytest.approx(0, abs=1e-6)
    assert "flat_energy_in_mask" not in table
    assert summary["images_with_mask"] == (table["mask_weight"] > 0).sum() < len(table)


def test_what_evaluate_writes(run, squares):
    result = evaluate_run(run)
    assert set(result["splits"]) == {"test"}
    assert json.loads((run.directory / "result.json").read_text()) == result
    assert result["common_share"] == attribution.common_share(run.classifier)
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


def test_noise_is_that_of_the_pixels_before_they_were_normalised(run, squares):
    data = load_data(squares, run.settings.protocol, 0, splits=["test"], classes=run.classes)
    metric = metrics.RelativeForegroundSensitivity(mean=run.preprocessing.mean, std=run.preprocessing.std)
    generator = torch.Generator().manual_seed(0)
    for batch in data.loader("test", run.preprocessing):
        has_mask = batch["mask_weight"] > 0
        metric.update(run.classifier, *(batch[key][has_mask] for key in ("image", "mask", "label")), generator)
    found = evaluate_split(run.classifier, data, "test", run.preprocessing, faithfulness="none").summary()
    expected = metric.compute().item()
    assert found["relative_foreground_sensitivity"] == (None if np.isnan(expected) else pytest.approx(expected))
    without = evaluate_split(run.classifier, data, "test", run.preprocessing, faithfulness="none", evidence=False)
    assert not {"evidence_accuracy", "scenery_accuracy", "relative_foreground_sensitivity"} & set(without.summary())


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_a_vector_added_to_all_rows_of_the_head_changes_no_figure_of_the_contrast_map(run, squares, seed):
    data = load_data(squares, run.settings.protocol, 0, splits=["test"], classes=run.classes)
    moved = copy.deepcopy(run.classifier)
    weight = moved.model.get_submodule(moved.route.head).weight
    with torch.no_grad():
        weight += 3 * torch.randn(weight.shape[1], generator=torch.Generator().manual_seed(seed))
    before, after = (
        evaluate_split(classifier, data, "test", run.preprocessing, faithfulness="none").summary()
        for classifier in (run.classifier, moved)
    )
    for name in ("energy_in_mask", "attention_gap", "pointing_game", "iou"):
        assert after[f"contrast_{name}"] == pytest.approx(before[f"contrast_{name}"], abs=1e-4)
        assert abs(after[name] - before[name]) > 1e-3
    assert after["accuracy"] == before["accuracy"]


def test_evaluation_on_other_data(run, own_squares, tmp_path):
    result = evaluate_run(run, own_squares, ["val"], tmp_path / "elsewhere")
    assert result["splits"]["val"]["images"] == 6
    assert (tmp_path / "elsewhere/evaluation/val.npz").is_file()


def test_results_on_other_data_do_not_take_the_place_of_the_runs_own(run, own_squares, squares):
    own = evaluate_run(run)
    (own_squares / "labels.csv").write_text((own_squares / "labels.csv").read_text().replace("green", "red"))
    with pytest.raises(InputError, match="is not the data that the run .* Give --out another directory"):
        evaluate_run(run, own_squares)
    assert json.loads((run.directory / "result.json").read_text()) == own
    copied = own_squares.parent / "copied"
    shutil.copytree(squares, copied)
    assert evaluate_run(run, copied) == own


def test_other_data_need_no_training_images(run, own_squares, tmp_path):
    table = pd.read_csv(own_squares / "labels.csv")
    table[table["split"] == "test"].to_csv(own_squares / "labels.csv", index=False)
    assert set(evaluate_run(run, own_squares, out=tmp_path / "elsewhere")["splits"]) == {"test"}


def test_a_run_may_keep_no_gallery(squares, settings, tmp_path):
    result = evaluate_run(train(settings(squares, tmp_path / "run", epochs=1, gallery=0)))
    assert result["splits"]["test"]["accuracy"] >= 0
    assert "gallery_map" not in np.load(tmp_path / "run/evaluation/test.npz")


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
    table = evaluate_split(run.classifier, data, "test", run.preprocessing, faithfulness_images=4, steps=2).table
    assert table["insertion"].count() == 4
    assert table["prediction"].count() == len(table)


def evaluation_of(label, logits, embedding):
    """What a split gave, as far as open-set metrics read it."""
    table = pd.DataFrame({"label_index": label})
    return SplitEvaluation(table, {}, torch.zeros(0, 1, 1), torch.tensor(logits), torch.tensor(embedding))


def test_open_set_metrics_of_a_worked_example():
    """Two test splits, and an open split of which one image is of a known label."""
    near, further = [[1.0, 0.0], [0.0, 1.0]], [[0.0, 4.0]]
    known = [
        evaluation_of([0, 1], [[4.0, 0.0], [0.0, 3.0]], near),
        evaluation_of([0], [[0.5, 0.0]], further),
    ]
    opened = evaluation_of(
        [UNKNOWN_LABEL, 1, UNKNOWN_LABEL], [[1.0, 0.0], [0.0, 2.0], [9.0, 9.0]], [[0.0, 3.0], [0.0, 2.0], [0.0, 6.0]]
    )
    summary = open_set_summary(known, opened, means=torch.zeros(2, 2))
    # 1 - p rises as the two logits approach each other; of known images by 4, 3, 0.5 and 2, of unknown by 1 and 0.
    # So of eight pairs, only (1 apart, 0.5 apart) is in the wrong order.
    assert summary["auroc"] == pytest.approx(7 / 8)
    assert summary["aupr"] == pytest.approx((1 / 1 + 2 / 3) / 2)
    assert summary["fpr_at_95_tpr"] == summary["apcer_at_1_bpcer"] == pytest.approx(1 / 2)
    # -log(sum of exp) falls with the largest logit: known -4.02, -3.05, -0.97, -2.13; unknown -1.31 and -9.69.
    assert summary["auroc_energy"] == pytest.approx(3 / 8)
    assert summary["aupr_energy"] == pytest.approx((1 / 2 + 2 / 6) / 2)
    assert summary["fpr_at_95_tpr_energy"] == summary["apcer_at_1_bpcer_energy"] == 1
    # Distances from zero: known 1, 1, 4, 2; unknown 3 and 6.
    assert summary["auroc_embedding_distance"] == pytest.approx(7 / 8)
    assert summary["aupr_embedding_distance"] == pytest.approx((1 / 1 + 2 / 3) / 2)
    assert summary["fpr_at_95_tpr_embedding_distance"] == pytest.approx(1 / 2)
    assert summary["apcer_at_1_bpcer_embedding_distance"] == pytest.approx(1 / 2)


def test_images_of_one_kind_have_no_open_set_metrics():
    opened = evaluation_of([UNKNOWN_LABEL], [[1.0, 0.0]], [[0.0, 3.0]])
    assert set(open_set_summary([], opened, torch.zeros(2, 2)).values()) == {None}


@pytest.fixture(scope="module")
def open_set_run(tmp_path_factory, squares, settings):
    """A folder with two known tests and two open splits, one of which shows known labels, too; a run trained on it."""
    folder = tmp_path_factory.mktemp("open_set")
    shutil.copytree(squares, folder / "squares")
    table = pd.read_csv(folder / "squares/labels.csv")
    table.loc[table["label"] == "blue", "split"] = "unknown"
    table.loc[table.index[-10:], "split"] = "mixed"
    table.loc[(table["split"] == "test") & (table.index % 2 == 0), "split"] = "night"
    table.to_csv(folder / "squares/labels.csv", index=False)
    protocol = {"class_path": "GivenSplits", "init_args": {"open_set": ["unknown", "mixed"]}}
    return train(settings(folder / "squares", folder / "run", protocol=protocol, epochs=1, faithfulness="none"))


def test_open_splits_are_compared_with_all_tests_of_known_classes(open_set_run, monkeypatch):
    computed = []
    monkeypatch.setattr(
        results, "training_class_means", lambda *given: computed.append(given) or training_class_means(*given)
    )
    splits = evaluate_run(open_set_run)["splits"]
    assert set(splits) == {"test", "night", "unknown", "mixed"}
    assert len(computed) == 1
    data = load_data(open_set_run.settings.data, open_set_run.settings.protocol, 0, classes=open_set_run.classes)
    for opened in ("unknown", "mixed"):
        scores, unknown = [], []
        for split in ("test", "night", opened):
            for batch in data.loader(split, open_set_run.preprocessing, batch_size=1):
                probability = open_set_run.classifier(batch["image"]).logits.softmax(1)
                scores.append(1 - probability.max().item())
                unknown.append(batch["label"].item() == UNKNOWN_LABEL)
        known = [score for score, is_unknown in zip(scores, unknown) if not is_unknown]
        strange = [score for score, is_unknown in zip(scores, unknown) if is_unknown]
        higher = sum((s > k) + (s == k) / 2 for s in strange for k in known)
        assert splits[opened]["auroc"] == pytest.approx(higher / len(strange) / len(known), abs=1e-3)
    assert "accuracy" not in splits["unknown"]
    assert 0 < splits["mixed"]["accuracy"] <= 1
    assert "auroc" not in splits["test"]


def test_an_open_split_is_not_measured_without_a_test_of_known_classes(open_set_run, tmp_path):
    for splits in (["unknown"], ["val", "mixed"]):
        with pytest.raises(InputError, match="has unknown classes.* Name one or more of night, test as well"):
            evaluate_run(open_set_run, splits=splits, out=tmp_path)
    assert evaluate_run(open_set_run, splits=["test", "unknown"], out=tmp_path)["splits"]["unknown"]["auroc"] >= 0


def test_class_means_of_other_data_are_those_of_the_runs_own_training(open_set_run, tmp_path):
    own = open_set_run.settings.data
    shutil.copytree(own, tmp_path / "tests_only")
    table = pd.read_csv(own / "labels.csv")
    table[table["split"] != "train"].to_csv(tmp_path / "tests_only/labels.csv", index=False)
    splits = evaluate_run(open_set_run, tmp_path / "tests_only", ["test", "unknown"], tmp_path / "out")["splits"]
    expected = evaluate_run(open_set_run, splits=["test", "unknown"], out=tmp_path / "own")["splits"]
    assert splits == expected


def test_class_means_come_from_where_the_data_has_moved(open_set_run, tmp_path, monkeypatch):
    expected = evaluate_run(open_set_run, splits=["test", "unknown"], out=tmp_path / "before")["splits"]
    own = open_set_run.settings.data
    shutil.copytree(own, tmp_path / "moved")
    monkeypatch.setattr(open_set_run.settings, "data", tmp_path / "gone")
    moved = evaluate_run(open_set_run, tmp_path / "moved", ["test", "unknown"], out=tmp_path / "after")["splits"]
    assert moved == expected


def test_data_that_has_changed_since_the_training_does_not_replace_the_result(own_squares, settings, tmp_path):
    trained = train(settings(own_squares, tmp_path / "run", epochs=1, faithfulness="none"))
    before = evaluate_run(trained)
    table = pd.read_csv(own_squares / "labels.csv")
    table[(table["split"] != "test") | (table["label"] == "red")].to_csv(own_squares / "labels.csv", index=False)
    with pytest.raises(InputError, match="has changed since.*--out"):
        evaluate_run(trained)
    assert json.loads((tmp_path / "run/result.json").read_text()) == before
    assert evaluate_run(trained, out=tmp_path / "of_changed")["splits"]["test"]["images"] == 2


def test_class_means_are_those_of_the_training_images(open_set_run):
    data = load_data(open_set_run.settings.data, open_set_run.settings.protocol, 0, classes=open_set_run.classes)
    means = training_class_means(open_set_run.classifier, data, open_set_run.preprocessing)
    embeddings = {label: [] for label in range(2)}
    for batch in data.loader("train", open_set_run.preprocessing, batch_size=1):
        embedding = open_set_run.classifier(batch["image"]).embedding[0].tolist()
        embeddings[batch["label"].item()].append(embedding)
    for label, ones in embeddings.items():
        mean = [sum(values) / len(ones) for values in zip(*ones, strict=True)]
        assert means[label].tolist() == pytest.approx(mean, abs=1e-5)


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
    for batch in data.loader("test", run.preprocessing):
        output = run.classifier(batch["image"].requires_grad_())
        map = relu(attribution.MAPS[name](run.classifier, output, output.logits.argmax(1)))
        energy.append(metrics.energy_in_mask(minmax(map), batch["mask"])[batch["mask_weight"] > 0])
    assert result["splits"]["test"]["energy_in_mask"] == pytest.approx(torch.cat(energy).mean().item(), rel=1e-4)
    with pytest.raises(InputError, match=f"is about the map {name}. Give --out another directory for class_map"):
        evaluate_run(run, splits=["test"], out=tmp_path)


def test_maps_are_checked_before_anything_is_done(squares, settings, tmp_path):
    with pytest.raises(InputError, match="No map 'grad_cab'.* Expected .*class_map"):
        train(settings(squares, tmp_path / "run", map="grad_cab"))
    assert not (tmp_path / "run").exists()


def test_large_maps_are_kept_small(run, squares):
    data = load_data(squares, run.settings.protocol, 0, splits=["test"], classes=run.classes)
    evaluation = evaluate_split(
        run.classifier, data, "test", replace(run.preprocessing, size=80), map="input_gradient", faithfulness="none"
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


def test_what_is_asked_by_name_is_measured_with_what_the_run_says(run, squares):
    data = load_data(squares, run.settings.protocol, 0, splits=["test"], classes=run.classes)
    asked = [row.name for row in MEASURES.values() if row.when == "asked"]
    evaluation = evaluate_split(
        run.classifier,
        data,
        "test",
        run.preprocessing,
        steps=4,
        faithfulness_images=3,
        evidence=False,
        further=asked,
    )
    summary, table = evaluation.summary(), evaluation.table
    assert set(asked) <= set(summary)
    assert table["road"].notna().sum() == table["max_sensitivity"].notna().sum() == 3
    row = int(table["road"].first_valid_index())
    image = data.dataset("test", 32)[row]["image"] / 255
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (run.preprocessing.mean, run.preprocessing.std))
    image, target = ((image - mean) / std)[None], torch.tensor([int(table["prediction_index"][row])])
    with evaluating(run.classifier):
        signed = explain_class(run.classifier, image, target)
    given = (run.classifier, image, signed, target)
    value = metrics.randomisation_similarity(*given, explain=explain_class)
    assert table["randomisation_similarity"][row] == pytest.approx(value.item(), abs=1e-3)
    value = metrics.normalised_comprehensiveness(*given)
    assert table["normalised_comprehensiveness"][row] == pytest.approx(value.item(), abs=1e-3)
    # Over all images together: no column of the table.
    assert "pixel_average_precision" not in table
    found = metrics.PxAP()
    for batch in data.loader("test", run.preprocessing):
        output = run.classifier(batch["image"])
        map = minmax(relu(class_map(run.classifier, output, output.logits.argmax(1)).detach()))
        found.update(map, batch["mask"], batch["mask_weight"])
    assert summary["pixel_average_precision"] == pytest.approx(found.compute().item(), abs=1e-4)
    assert {f"{prefix}pixel_average_precision" for prefix in ("contrast_", "flat_", "random_")} <= set(summary)


def test_some_batches_may_have_no_mask(run, squares, monkeypatch):
    data = load_data(squares, run.settings.protocol, 0, splits=["test"], classes=run.classes)
    whole = evaluate_split(run.classifier, data, "test", run.preprocessing, faithfulness="none").table
    loader = RunData.loader
    monkeypatch.setattr(RunData, "loader", lambda self, split, preprocessing: loader(self, split, preprocessing, 1))
    alone = evaluate_split(run.classifier, data, "test", run.preprocessing, faithfulness="none").table
    assert (whole["mask_weight"] == 0).any()
    pd.testing.assert_series_equal(alone["evidence_accuracy"], whole["evidence_accuracy"])


def test_random_maps_are_a_floor_beside_the_flat_one(run, squares):
    data = load_data(squares, run.settings.protocol, 0, splits=["test"], classes=run.classes)
    first, again = (
        evaluate_split(run.classifier, data, "test", run.preprocessing, faithfulness="none").summary() for _ in range(2)
    )
    assert first["random_energy_in_mask"] == again["random_energy_in_mask"]
    assert first["random_energy_in_mask"] == pytest.approx(first["flat_energy_in_mask"], abs=0.1)
    assert first["random_energy_in_mask"] != first["flat_energy_in_mask"]


def test_a_budget_computes_fewer_points_of_the_curves(run, squares):
    data = load_data(squares, run.settings.protocol, 0, splits=["test"], classes=run.classes)
    whole, part = (
        evaluate_split(run.classifier, data, "test", run.preprocessing, steps=16, budget=budget, evidence=False)
        for budget in (1.0, 0.4)
    )
    assert part.curves["insertion_curve"].shape == (17,)
    assert part.values["insertion"] == pytest.approx(whole.values["insertion"], abs=0.01)
    bends = np.abs(np.diff(part.curves["deletion_curve"], 2)) > 1e-6
    assert part.values["deletion"] == pytest.approx(whole.values["deletion"], abs=0.01)
    assert bends.sum() > 3
