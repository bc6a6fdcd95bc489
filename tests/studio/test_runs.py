"""What the page shows of a run, and trains: one small run for all tests of this file."""

import io
import shutil
import time

import numpy as np
import pytest
import torch
from PIL import Image

from lookright.errors import InputError
from lookright.studio.scores import RunScores, disagreement, grown
from lookright.studio.server import server_of
from lookright.training.run import load_run, train

ONE = "images/1.png"


@pytest.fixture
def studio(studio_of, bare, trained, segmenter):
    studio = studio_of(bare, runs={"first": trained}, segmenter="tests_segmenter.segment")
    yield studio
    studio.stop()


@pytest.fixture
def segmenter(tmp_path, monkeypatch):
    (tmp_path / "tests_segmenter.py").write_text(
        "import numpy as np\n\ndef segment(image, x, y):\n    return abs(image.astype(int) - image[y, x]).max(2) < 60\n"
    )
    monkeypatch.syspath_prepend(tmp_path)


@pytest.fixture
def page(page_of, studio):
    return page_of(studio)


def wait(ready, seconds=60):
    end = time.monotonic() + seconds
    while not ready():
        assert time.monotonic() < end
        time.sleep(0.05)


def picture(response):
    assert response.status_code == 200, response.data
    return np.array(Image.open(io.BytesIO(response.data)))


def draw(page, version="", **operation):
    return page.post("api/draw", {"image": ONE, "annotator": "Ada", "version": version, "operation": operation})


def test_scores_are_those_of_the_run_and_are_kept(studio, page, bare, trained):
    studio.start()
    wait(lambda: not studio.runs[0]._thread.is_alive())
    found = page.get("api/scores").json["runs"][0]
    assert found["done"] == 8
    image = studio.folder.sample(ONE).image
    expected = trained.classifier(trained.preprocessing([image])).logits.softmax(1)[0]
    assert found["predicted"][1] == trained.classes[int(expected.argmax())]
    assert found["confidence"][1] == pytest.approx(expected.max().item(), abs=1e-3)
    assert found["alignment"] == [None] * 8
    again = RunScores("again", trained, studio.folder)
    again._load()
    assert set(again.by_image) == set(studio.folder.table["image"])
    assert np.array_equal(again.of(ONE).map, studio.runs[0].of(ONE).map)


def test_alignment_follows_the_mask_that_is_drawn(studio, page):
    studio.runs[0].of(ONE)
    draw(page, shape="box", paint="evidence", points=[[0, 0], [32, 32]])
    assert page.get("api/scores").json["runs"][0]["alignment"][1] == 1
    version = page.get("api/annotation", image=ONE, annotator="Ada").json["version"]
    draw(page, version, shape="nothing")
    assert page.get("api/scores").json["runs"][0]["alignment"][1] is None


def test_the_difference_is_orange_outside_of_the_mask_and_blue_inside(page):
    assert page.get("api/difference", image=ONE).status_code == 404
    draw(page, shape="box", paint="evidence", points=[[0, 0], [16, 32]])
    found = picture(page.get("api/difference", image=ONE))
    seen = found[..., 3] > 100
    assert seen[:, :14].any()
    assert (found[:, :14][seen[:, :14]][:, 2] == 201).all()
    assert (found[:, 18:][seen[:, 18:]][:, 0] == 217).all()


def test_a_thresholded_map_is_drawn_as_it_was_shown(studio, page):
    map = grown(studio.runs[0].of(ONE).map, 32, 32)
    shown = picture(page.get("api/map", image=ONE, plain="1"))
    assert np.abs(shown / 255 - map).max() <= 1 / 255
    assert draw(page, shape="map", run=0, source="map", threshold=0.4, paint="evidence").status_code == 200
    assert np.array_equal(studio.annotations.read(ONE, "Ada").codes == 255, map >= 0.4)


def test_regions_are_drawn_by_their_numbers(studio, page):
    pytest.importorskip("skimage")
    shown = picture(page.get("api/regions", image=ONE)).astype(int)
    numbers = shown[..., 0] + 256 * shown[..., 1]
    assert len(np.unique(numbers)) > 10
    wanted = [int(numbers[3, 4]), int(numbers[20, 20])]
    assert draw(page, shape="superpixels", regions=wanted, paint="evidence").status_code == 200
    assert np.array_equal(studio.annotations.read(ONE, "Ada").codes == 255, np.isin(numbers, wanted))


def test_a_segmenter_of_the_users_is_asked(studio, page):
    image = studio.folder.sample(ONE).image.permute(1, 2, 0).numpy()
    y, x = np.argwhere(image.max(2) == 255)[20]
    assert draw(page, shape="segmenter", point=[float(x), float(y)], paint="evidence").status_code == 200
    marked = studio.annotations.read(ONE, "Ada").codes == 255
    assert marked[y, x]
    assert 80 <= marked.sum() <= 120  # the square of ten by ten


@pytest.mark.parametrize(
    "operation",
    [
        {"shape": "map", "run": 1, "source": "map", "threshold": 0.5},
        {"shape": "map", "run": "0", "source": "map", "threshold": 0.5},
        {"shape": "map", "run": 0, "source": "masker", "threshold": 0.5},
        {"shape": "map", "run": 0, "source": "map", "threshold": 2},
        {"shape": "map", "run": 0, "source": "map"},
        {"shape": "superpixels", "regions": "all"},
        {"shape": "superpixels", "regions": [0.5]},
        {"shape": "segmenter", "point": [32, 0]},
        {"shape": "segmenter", "point": [0]},
    ],
    ids=range(9),
)
def test_proposals_that_are_none_are_refused(page, operation):
    assert draw(page, paint="evidence", **operation).status_code == 400


def test_what_teaches_most_is_asked_for_among_images_to_train_on(studio, page):
    for image in studio.folder.table["image"]:
        studio.runs[0].of(image)
    draw(page, shape="box", paint="evidence", points=[[0, 0], [16, 32]])
    found = page.get("api/teach").json
    table = studio.folder.table
    assert sorted(found["images"]) == sorted(set(table["image"][table["split"] == "train"]) - {ONE})
    assert "held-out" in page.get("api/folder").json["enough"]


def test_annotators_agree_as_far_as_their_masks_overlap(page):
    for name, right in (("Ada", 20), ("Grace", 10)):
        box = {"shape": "box", "paint": "evidence", "points": [[0, 0], [right, 32]]}
        page.post("api/draw", {"image": ONE, "annotator": name, "version": "", "operation": box})
    found = page.get("api/findings").json["agreement"]
    assert found == [{"image": ONE, "annotators": ["Ada", "Grace"], "iou": 0.5}]


def test_the_check_of_the_folder_is_a_view(studio, page):
    draw(page, shape="nothing")
    box = {"shape": "box", "paint": "evidence", "points": [[0, 0], [16, 16]]}
    for image in ("images/4.png", "images/7.png"):  # of the same label: an empty mask is unusual
        page.post("api/draw", {"image": image, "annotator": "Ada", "version": "", "operation": box})
    assert page.get("api/findings").json["state"] == "not asked"
    assert page.post("api/findings", {}).status_code == 200
    wait(lambda: studio.findings.read()["state"] != "running")
    found = page.get("api/findings").json
    assert found["state"] == "done"
    assert "8, 32 to 32 pixels wide" in found["text"]
    assert [(fault["image"], fault["fault"]) for fault in found["faults"]] == [(ONE, "empty mask")]


def test_training_without_a_mask_is_refused(page):
    response = page.post("api/train", {})
    assert response.status_code == 400
    assert "Draw some" in response.json["error"]


def test_one_key_trains_on_what_there_is_and_shows_the_change(studio, page, training_here):
    for image in studio.folder.table["image"]:
        studio.runs[0].of(image)
    draw(page, shape="box", paint="evidence", points=[[0, 0], [16, 32]])
    box = {"shape": "box", "paint": "evidence", "points": [[0, 0], [16, 32]]}
    page.post("api/draw", {"image": "images/7.png", "annotator": "Ada", "version": "", "operation": box})
    assert page.post("api/train", {}).status_code == 200
    wait(lambda: studio.trainer.read()["state"] != "running")
    assert studio.trainer.read()["state"] == "done", studio.trainer.read()
    new = studio.runs[-1]
    assert type(new.run.settings.method).__name__ == "CAMAL"  # the first run's method needs no masks
    wait(lambda: not new._thread.is_alive())
    found = page.get("api/train").json["change"]
    assert found["images"] == 2  # of the split test
    assert found["with_mask"] == 1
    table = studio.folder.table
    held_out = table[table["split"] == "test"]
    for scores, accuracy in zip((studio.runs[0], new), found["accuracy"]["means"]):
        said = [scores.run.classes[scores.of(image).probability.argmax()] for image in held_out["image"]]
        assert accuracy == (held_out["label"] == said).mean()
    aligned = [scores.align("images/7.png") for scores in (studio.runs[0], new)]
    assert found["alignment"] == {"means": pytest.approx(aligned), "interval": None}  # of one image there is none
    looked = {
        image: disagreement(*(scores.of(image) for scores in (studio.runs[0], new)))[1] for image in held_out["image"]
    }
    assert [one["image"] for one in found["moved"]] == sorted(looked, key=lambda image: -looked[image])


def test_a_run_alone_is_told_on_held_out_images(studio, page):
    assert page.get("api/train").json["change"]["accuracy"] is None  # nothing is scored yet
    for image in studio.folder.table["image"]:
        studio.runs[0].of(image)
    found = page.get("api/train").json["change"]
    table, scores = studio.folder.table, studio.runs[0]
    held_out = table[table["split"] == "test"]
    right = [scores.run.classes[scores.of(image).probability.argmax()] for image in held_out["image"]] == held_out[
        "label"
    ]
    assert found["accuracy"] == {"means": [right.mean()], "interval": None}
    assert found["alignment"] is None
    assert found["moved"] == []


def test_two_runs_are_compared(studio_of, page_of, bare, trained):
    studio = studio_of(bare, runs={"one": trained, "other": load_run(trained.directory)})
    for scores in studio.runs:
        scores.of(ONE)
    found = page_of(studio).get("api/scores").json
    assert found["judged"][1] == 0
    assert found["looked"][1] == 0
    assert found["judged"][0] is None


def test_runs_that_an_earlier_page_trained_are_shown_again(studio_of, page_of, bare, trained):
    runs = bare / ".studio/runs"
    for number in ("0001", "0002", "0003"):
        shutil.copytree(trained.directory, runs / number)
    (runs / "0002/model.safetensors").write_bytes(b"none")
    (runs / "0004").mkdir()  # of a training that was ended
    named = load_run(trained.directory)
    with pytest.warns(UserWarning, match="0002.* is not shown"):
        studio = studio_of(bare, runs={"one": named, "other": named})
    shown = page_of(studio).get("api/folder").json["runs"]
    assert [run["name"] for run in shown] == ["one", "trained 0001", "trained 0003", "other"]
    with pytest.warns(UserWarning, match="0002"):
        again = studio_of(bare, runs={"again": load_run(runs / "0003")})
    assert [scores.name for scores in again.runs] == ["again", "trained 0001"]


def test_a_segmenter_that_is_none_is_told(bare):
    with pytest.raises(InputError, match="segmenter"):
        server_of(bare, segmenter="math.pi")


def test_a_folder_that_cannot_be_written_is_scored_all_the_same(studio, monkeypatch):
    def refuse(*_, **__):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("lookright.studio.scores.np.savez", refuse)
    studio.start()
    wait(lambda: not studio.runs[0]._thread.is_alive())
    assert len(studio.runs[0].by_image) == 8


def test_what_a_run_of_align_learned_to_mark_is_proposed(studio_of, page_of, bare, squares, settings, tmp_path):
    method = {"class_path": "ALIGN", "init_args": {"warmup": 0, "masker_warmup": 2}}
    run = train(settings(squares, tmp_path / "align", method=method, epochs=2))
    studio = studio_of(bare, runs={"align": run})
    page = page_of(studio)
    assert page.get("api/folder").json["runs"] == [{"name": "align", "has_masker": True}]
    with torch.no_grad():
        images = run.preprocessing([studio.folder.sample(ONE).image])
        learned = run.settings.method.masker.eval()(images)[0].numpy()
    shown = picture(page.get("api/map", image=ONE, source="masker", plain="1"))
    assert np.abs(shown / 255 - learned).max() <= 1 / 255
    threshold = float(np.median(learned))
    assert draw(page, shape="map", run=0, source="masker", threshold=threshold, paint="evidence").status_code == 200
    assert np.array_equal(studio.annotations.read(ONE, "Ada").codes == 255, learned >= threshold)
