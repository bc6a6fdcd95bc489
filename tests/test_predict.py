import json

import pandas as pd
import pytest
import torch
from PIL import Image

from lookright import InputError
from lookright.cli import main
from lookright.data.formats.label_studio import unpack
from lookright.data.table import read_table
from lookright.predict import predict_folder, where
from lookright.training.results import evaluate_run
from lookright.training.run import load_run, train


@pytest.fixture(scope="module")
def run(tmp_path_factory, squares, settings):
    out = tmp_path_factory.mktemp("runs") / "camal"
    return train(settings(squares, out, method="CAMAL", epochs=4))


def read(path):
    return pd.read_csv(path, keep_default_na=False, dtype=str).set_index("image")


def test_it_says_what_evaluation_says(run, squares, tmp_path):
    counts = predict_folder(run, squares, tmp_path / "predictions.csv", batch_size=7)
    table = read(tmp_path / "predictions.csv")
    assert (counts.images, counts.unreadable) == (len(table), 0) == (90, 0)
    evaluate_run(run, splits=["test"])
    evaluated = read(run.directory / "evaluation/test.csv")
    assert len(evaluated) == 18
    for name, expected in evaluated.iterrows():
        row = table.loc[name]
        assert row["class"] == expected["prediction"]
        assert float(row["confidence"]) == pytest.approx(float(expected["confidence"]), abs=1e-3)
        if float(expected["mask_weight"]):
            assert float(row["energy_in_mask"]) == pytest.approx(float(expected["energy_in_mask"]), abs=1e-3)
        else:
            assert row["energy_in_mask"] == ""


def test_the_box_covers_the_square_that_the_run_looks_at(run, squares, tmp_path):
    predict_folder(run, squares, tmp_path / "predictions.csv")
    table, hits = read(tmp_path / "predictions.csv"), 0
    masked = read_table(squares).query("mask != ''")
    for _, row in masked.iterrows():
        mask = Image.open(squares / row["mask"])
        x0, y0, x1, y1 = map(int, table.loc[row["image"], "box"].split())
        left, top, right, bottom = mask.getbbox()
        hits += x0 < right and x1 >= left and y0 < bottom and y1 >= top
    assert hits > 0.8 * len(masked)


@pytest.mark.parametrize(("height", "width"), [(8, 8), (80, 40)])
def test_where_is_in_pixels_of_the_image(height, width):
    map = torch.full((4, 4), -1.0)
    map[1, 2] = 5.0
    map[3, 0] = 4.9
    x0, y0, x1, y1 = where(map, height, width)
    assert (x0, y0, x1, y1) == (width // 2, height // 4, 3 * width // 4 - 1, height // 2 - 1)
    assert where(-torch.ones(4, 4), height, width) is None


def test_a_folder_without_a_table_and_with_files_that_are_no_images(run, squares, tmp_path):
    folder = tmp_path / "photos"
    (folder / "deep").mkdir(parents=True)
    for name in ("1", "2"):
        Image.open(squares / f"images/{name}.png").resize((50, 40)).save(folder / f"deep/{name}.jpg")
    (folder / "broken.png").write_bytes((squares / "images/3.png").read_bytes()[:100])
    (folder / "notes.txt").write_text("not an image")
    out = tmp_path / "new" / "out.csv"
    counts = predict_folder(run, folder, out, overlays=tmp_path / "seen")
    table = read(out)
    assert (counts.images, counts.unreadable) == (2, 1)
    assert table.index.tolist() == ["broken.png", "deep/1.jpg", "deep/2.jpg"]
    assert "broken.png" in table.loc["broken.png", "problem"]
    assert table.loc["broken.png", "class"] == ""
    assert (table.loc[["deep/1.jpg", "deep/2.jpg"], "problem"] == "").all()
    assert Image.open(tmp_path / "seen/deep/1.png").size == (50, 40)


def test_what_fails_leaves_the_file_as_it_was(run, tmp_path, squares):
    out = tmp_path / "out.csv"
    out.write_text("mine")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="No image in"):
        predict_folder(run, tmp_path / "empty", out)
    with pytest.raises(InputError, match="No map 'no_map'"):
        predict_folder(run, squares, out, map="no_map")
    assert out.read_text() == "mine"


def test_the_command(run, squares, tmp_path, capsys):
    out = tmp_path / "out.csv"
    assert main(["predict", str(run.directory), str(squares / "images"), "--out", str(out), "--map", "hires_cam"]) == 0
    assert "90 images" in capsys.readouterr().out
    predict_folder(load_run(run.directory), squares / "images", tmp_path / "again.csv", "hires_cam")
    assert (tmp_path / "again.csv").read_bytes() == out.read_bytes()


def test_maps_go_out_as_pre_annotations_of_what_was_predicted(run, squares, tmp_path, capsys):
    out = tmp_path / "tasks.json"
    arguments = ["data", "export", squares, "label_studio_predictions", "--run", run.directory, "--out", out]
    assert main([str(argument) for argument in arguments]) == 0
    assert capsys.readouterr().out.splitlines() == [str(out), str(out.with_suffix(".xml"))]
    predict_folder(run, squares, tmp_path / "predictions.csv")
    table = read(tmp_path / "predictions.csv")
    tasks = json.loads(out.read_text())
    assert len(tasks) == len(table)
    for task in tasks:
        choice, brush = task["predictions"][0]["result"]
        row = table.loc[task["data"]["image"].removeprefix("/data/local-files/?d=")]
        assert choice["value"]["choices"] == [row["class"]]
        height, width = brush["original_height"], brush["original_width"]
        marked = unpack(bytes(brush["value"]["rle"]), height * width * 4).reshape(height, width, 4)[..., 3] > 0
        x0, y0, x1, y1 = map(int, row["box"].split())
        assert marked[y0 : y1 + 1, x0 : x1 + 1].any()
        assert 0 < marked.mean() < 0.9
