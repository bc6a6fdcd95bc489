import io
import shutil

import numpy as np
from PIL import Image

ONE = "images/1.png"
BOX = {"shape": "box", "paint": "evidence", "points": [[0, 0], [16, 8]]}


def drawing(version="", **more):
    return {"image": ONE, "annotator": "Ada", "version": version, "operation": BOX} | more


def picture(response):
    assert response.status_code == 200
    return Image.open(io.BytesIO(response.data))


def test_the_page_and_all_that_it_needs_come_from_the_package(page):
    index = page.get("")
    assert index.status_code == 200
    for name in ("konva.min.js", "konva.LICENSE.txt", "main.js", "grid.js", "annotate.js", "api.js", "studio.css"):
        assert page.get(name).status_code == 200
    assert "default-src 'none'" in index.headers["Content-Security-Policy"]
    assert index.headers["Referrer-Policy"] == "no-referrer"


def test_the_folder_tells_its_columns(page):
    found = page.get("api/folder").json
    assert len(found["columns"]["image"]) == 8
    assert set(found["columns"]["label"]) == {"red", "green", "blue"}
    assert not any(found["columns"]["has_mask"])
    page.post("api/draw", drawing())
    columns = page.get("api/folder").json["columns"]
    assert [image for image, has in zip(columns["image"], columns["has_mask"]) if has] == [ONE]
    assert columns["annotators"][1] == ["Ada"]


def test_a_shape_is_drawn_and_undone(page):
    first = page.post("api/draw", drawing())
    assert first.json["share"] == 0.125
    mask = np.array(picture(page.get("api/mask", image=ONE, annotator="Ada")))
    assert (mask[:8, :16, 3] > 0).all()
    assert not mask[8:, :, 3].any()
    assert picture(page.get("api/mask", image=ONE, side=16)).size == (16, 16)
    outdated = page.post("api/draw", drawing())
    assert outdated.status_code == 409
    assert outdated.json["version"] == first.json["version"]
    back = page.post("api/undo", drawing(first.json["version"])).json
    assert back["version"] == ""
    assert not back["can_undo"]
    assert page.get("api/mask", image=ONE).status_code == 404


def test_thumbnails_are_kept_until_the_image_changes(page, bare):
    first = page.get("api/thumbnail", image=ONE, side=64).data
    assert len(list((bare / ".studio/thumbnails").iterdir())) == 1
    assert page.get("api/thumbnail", image=ONE, side=64).data == first
    shutil.copy(bare / "images/2.png", bare / ONE)
    assert page.get("api/thumbnail", image=ONE, side=64).data != first


def test_it_goes_on_where_each_annotator_was(page):
    page.post("api/place", {"image": ONE, "annotator": "Ada"})
    page.post("api/place", {"image": "images/7.png", "annotator": "Grace"})
    assert page.get("api/folder").json["places"] == {"Ada": ONE, "Grace": "images/7.png"}


def test_a_broken_image_is_told_in_a_sentence(page, bare):
    (bare / ONE).write_bytes(b"no image")
    for name in ("thumbnail", "picture", "annotation"):
        response = page.get(f"api/{name}", image=ONE, annotator="Ada")
        assert response.status_code == 400
        assert "Pillow" in response.json["error"]


def test_a_table_that_was_changed_outside_is_read_again(page, bare):
    text = (bare / "labels.csv").read_text()
    (bare / "labels.csv").write_text(text.replace("images/1.png,green", "images/1.png,blue"))
    assert page.get("api/annotation", image=ONE, annotator="Ada").json["label"] == "blue"
