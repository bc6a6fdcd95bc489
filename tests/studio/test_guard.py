"""Harmless strings of the kinds that are sent to break out of a folder: all are refused, and nothing is written."""

import itertools
import json

import pytest

from lookright.studio.guard import LARGEST_BODY

PATHS = [
    "../labels.csv",
    "..",
    "/etc/hostname",
    "file:///etc/hostname",
    "images/../../outside.png",
    "images/%2e%2e/labels.csv",
    "..%2flabels.csv",
    "..\\labels.csv",
    "labels.csv",
    "masks",
    ".studio/places.json",
    "images/1.png/",
    "images/1.png\0.jpg",
    "images/1.PNG",
    "",
    "/",
    "//images/1.png",
    "~",
    "$HOME",
    "images/" + "a" * 3000,
    "\U0001f600",
    "con",
    "images/\n1.png",
    "link.png",
    "loop.png",
]
READING = ["api/thumbnail", "api/picture", "api/annotation", "api/mask"]
WRITING = ["api/draw", "api/undo", "api/place"]
DOT = {"shape": "stroke", "paint": "evidence", "points": [[4, 4]], "width": 3}


def everything(folder):
    """Files and what is in them, but for the lock, which is empty."""
    files = (path for path in sorted(folder.rglob("*")) if path.is_file() and not path.is_symlink())
    return {path: path.read_bytes() for path in files if path.name != "lock"}


@pytest.fixture
def fenced(fenced_page):
    """The page; in the end nothing may have been written in the folder or around it."""
    page, folder = fenced_page
    before = everything(folder.parent)
    yield page
    assert everything(folder.parent) == before


@pytest.mark.parametrize("path", PATHS, ids=range(len(PATHS)))
def test_no_image_but_those_of_the_table_inside_the_folder(fenced, path):
    for name in READING:
        response = fenced.get(name, image=path, annotator="Ada")
        assert response.status_code in (400, 404, 414)
        assert "error" in response.json
    for name in WRITING:
        body = {"image": path, "annotator": "Ada", "version": "", "operation": DOT}
        assert fenced.post(name, body).status_code in (400, 404)


def test_a_row_that_leads_outside_is_not_followed(fenced):
    assert fenced.get("api/picture", image="../outside.png").status_code == 404
    assert fenced.get("api/thumbnail", image="link.png", side=64).status_code == 404


@pytest.mark.parametrize("name", ["../Ada", "/tmp/Ada", "..", ".history", "a/b", "", "A" * 41, "a\0b", "%2e%2e"])
def test_no_annotator_whose_name_is_a_path(fenced, name):
    assert fenced.get("api/annotation", image="images/1.png", annotator=name).status_code == 400
    for path in WRITING:
        body = {"image": "images/1.png", "annotator": name, "version": "", "operation": DOT}
        assert fenced.post(path, body).status_code == 400


BODIES = [
    b"",
    b"null",
    b"[]",
    b"3",
    b"{",
    b"\xff\xfe",
    b"[" * 100_000,
    b'{"image": 3}',
    b'{"image": ["images/1.png"], "annotator": "Ada"}',
    b'{"image": "images/1.png", "annotator": {"a": 1}}',
    b'{"image": "images/1.png", "annotator": "Ada", "version": 1e999}',
    b'{"image": "images/1.png", "annotator": "\\ud800", "version": ""}',
    b'{"image": "\\ud800", "annotator": "Ada", "version": ""}',
    b'{"__proto__": {}, "image": "images/1.png"}',
]


@pytest.mark.parametrize(("path", "body"), list(itertools.product(WRITING, BODIES)), ids=lambda value: None)
def test_bodies_that_are_not_what_is_expected(fenced, path, body):
    headers = {"Host": fenced.host, "Origin": f"http://{fenced.host}"}
    address = f"/token-of-the-test/{path}"
    response = fenced.client.post(address, data=body, content_type="application/json", headers=headers)
    assert response.status_code in (400, 404)


@pytest.mark.parametrize(
    "operation",
    [None, [], "box", {"shape": "system"}, {"shape": "box", "paint": "evidence", "points": [[1e400, 0], [None, 1]]}]
    + [DOT | {"paint": paint} for paint in ("", 255, "../evidence", ["evidence"])]
    + [DOT | {"width": width} for width in (0, -1, "9", None, 1e300)],
    ids=range(14),
)
def test_operations_that_are_none(fenced, operation):
    body = {"image": "images/1.png", "annotator": "Ada", "version": "", "operation": operation}
    assert fenced.post("api/draw", body).status_code == 400


@pytest.mark.parametrize("side", ["0", "-1", "15", "2001", "1" * 3000, "1e9"])
def test_sizes_are_bounded(fenced, side):
    response = fenced.get("api/picture", image="images/../x", side=side)
    assert response.status_code in (400, 404, 414)
    answered = fenced.get("api/mask", image="images/1.png", annotator="Ada", side=side).status_code
    assert answered == (200 if side == "1e9" else 400)  # what is no number is not read


HEADERS = [
    {"Host": "example.org:8000"},
    {"Host": "127.0.0.1"},
    {"Host": "127.0.0.1:8001"},
    {"Host": "127.0.0.1.example.org:8000"},
    {"Host": ""},
    {"Origin": "http://example.org"},
    {"Origin": "null"},
    {"Origin": ""},
    {"Origin": "http://127.0.0.1:8001"},
    {"Origin": "https://127.0.0.1:8000"},
    {"Origin": "http://127.0.0.1:8000.example.org"},
    {"Origin": "http://["},
    {"Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "same-site"},
]


@pytest.mark.parametrize("headers", HEADERS, ids=range(len(HEADERS)))
@pytest.mark.parametrize("path", ["", "api/folder", "api/draw", "konva.min.js"])
def test_other_hosts_and_origins_are_refused(fenced, headers, path):
    own = {"Host": fenced.host, "Origin": f"http://{fenced.host}"} | headers
    method = "POST" if path == "api/draw" else "GET"
    body = json.dumps({"image": "images/1.png", "annotator": "Ada", "version": "", "operation": DOT})
    address = f"/token-of-the-test/{path}"
    response = fenced.client.open(address, method=method, data=body, content_type="application/json", headers=own)
    assert response.status_code == 403
    assert b"images/1" not in response.data


@pytest.mark.parametrize(
    "token", ["", "token", "token-of-the-tesu", "TOKEN-OF-THE-TEST", "ü", "token-of-the-test%00", ".."]
)
@pytest.mark.parametrize("path", ["api/folder", "index.html", "api/picture?image=images/1.png"])
def test_without_the_token_there_is_nothing(fenced, token, path):
    assert fenced.client.get(f"/{token}/{path}", headers={"Host": fenced.host}).status_code == 404


@pytest.mark.parametrize(
    "path", ["../app.py", "..%2fapp.py", "app.py", "page/main.js", "main.js/", "/etc/hostname", "api/", "api"]
)
def test_no_file_but_those_of_the_page(fenced, path):
    assert fenced.client.get(f"/token-of-the-test/{path}", headers={"Host": fenced.host}).status_code == 404


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "HEAD", "PROPFIND"])
def test_other_methods_are_refused(fenced, method):
    headers = {"Host": fenced.host, "Origin": f"http://{fenced.host}"}
    assert fenced.client.open("/token-of-the-test/api/folder", method=method, headers=headers).status_code == 405


def test_a_form_of_another_page_cannot_write(fenced):
    headers = {"Host": fenced.host, "Origin": f"http://{fenced.host}"}
    for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""):
        response = fenced.client.post("/token-of-the-test/api/draw", data=b"{}", content_type=kind, headers=headers)
        assert response.status_code == 415
    without = {"Host": fenced.host}
    answered = fenced.client.post("/token-of-the-test/api/draw", json={}, headers=without)
    assert answered.status_code == 403


def test_large_requests_are_refused_unread(fenced):
    headers = {"Host": fenced.host, "Origin": f"http://{fenced.host}"}
    response = fenced.client.post(
        "/token-of-the-test/api/draw", data=b" " * (LARGEST_BODY + 1), content_type="application/json", headers=headers
    )
    assert response.status_code == 413
    assert fenced.client.get("/token-of-the-test/" + "a" * 5000, headers=headers).status_code == 414
    assert fenced.get("api/picture", image="a" * 5000).status_code == 414
