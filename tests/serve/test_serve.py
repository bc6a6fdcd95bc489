"""Ask as a browser or a program would."""

import io
import json
import threading
from urllib.parse import urlsplit
from urllib.request import urlopen

import numpy as np
import pytest
from PIL import Image
from werkzeug.test import Client

from lookright import InputError
from lookright.cli import main
from lookright.predict import predict_folder
from lookright.serve.app import LARGEST_BODY, LOOPBACK, Server
from lookright.serve.server import server_of
from lookright.training.run import train

HOST = "127.0.0.1:8000"


@pytest.fixture(scope="module")
def run(tmp_path_factory, squares, settings):
    return train(settings(squares, tmp_path_factory.mktemp("runs") / "run", epochs=1))


@pytest.fixture
def client(run):
    return Client(Server(run, hosts=frozenset(f"{name}:8000" for name in LOOPBACK)))


def ask(client, body, **more):
    response = client.post("/explain", data=body, base_url=f"http://{HOST}", **more)
    return response.status_code, json.loads(response.text)


def test_the_answer_is_that_of_predict(client, run, squares, tmp_path):
    (tmp_path / "one").mkdir()
    (tmp_path / "one/1.png").write_bytes((squares / "images/1.png").read_bytes())
    predict_folder(run, tmp_path / "one", tmp_path / "out.csv")
    _, name, confidence, box, *_ = (tmp_path / "out.csv").read_text().splitlines()[1].split(",")
    status, answer = ask(client, (squares / "images/1.png").read_bytes())
    assert status == 200
    assert (answer["class"], answer["confidence"]) == (name, float(confidence))
    assert answer["box"] == ([int(corner) for corner in box.split()] or None)
    assert np.array(answer["map"]).shape == (4, 4)
    assert answer["overlay"].startswith("data:image/png;base64,")


def test_the_page_is_served_and_asks_nobody_else(client):
    for path in ("/", "/serve.js", "/serve.css"):
        response = client.get(path, base_url=f"http://{HOST}")
        assert response.status_code == 200
        assert "http" not in response.text
        assert "default-src 'none'" in response.headers["Content-Security-Policy"]
    assert client.get("/../app.py", base_url=f"http://{HOST}").status_code == 404


@pytest.mark.browser
def test_a_picture_is_dropped_and_nothing_keeps_anybody_out(client, squares, browser, barriers):
    def answer(route):
        asked = urlsplit(route.request.url)
        reply = client.open(
            asked.path, method=route.request.method, data=route.request.post_data_buffer, base_url=f"http://{HOST}"
        )
        route.fulfill(status=reply.status_code, headers=dict(reply.headers), body=reply.data)

    page = browser.new_page()
    page.route("**/*", answer)
    page.goto(f"http://{HOST}/")
    page.locator("#file").set_input_files(squares / "images/1.png")
    page.locator("#overlay").wait_for()
    assert page.locator("#said").inner_text().endswith("% sure")
    assert page.evaluate("document.querySelector('#overlay').naturalWidth") > 0
    assert barriers(page) == []
    page.close()


def png(size, mode="RGB"):
    file = io.BytesIO()
    Image.new(mode, size).save(file, "PNG")
    return file.getvalue()


def test_what_is_no_picture_is_one_sentence(client):
    status, answer = ask(client, b"no picture")
    assert status == 400
    assert answer["error"].startswith("Cannot read the picture as an image")
    assert "/" not in answer["error"]  # no path of this machine
    assert ask(client, b"")[0] in (400, 411)
    assert ask(client, png((300, 200))[:100])[0] == 400


def test_many_pixels_are_not_decoded(client):
    body = png((7000, 7000), "1")
    assert len(body) < 20_000
    status, answer = ask(client, body)
    assert status == 413
    assert "7000 x 7000 pixels" in answer["error"]


def test_a_large_file_is_not_read(client):
    response = client.post(
        "/explain", data=b"x", base_url=f"http://{HOST}", environ_overrides={"CONTENT_LENGTH": str(LARGEST_BODY + 1)}
    )
    assert response.status_code == 413
    assert str(LARGEST_BODY) in json.loads(response.text)["error"]


@pytest.mark.parametrize(
    ("headers", "host"),
    [
        ({"Origin": "http://elsewhere.example"}, HOST),
        ({"Sec-Fetch-Site": "cross-site"}, HOST),
        ({}, "elsewhere.example:8000"),
        ({}, "127.0.0.1:9000"),
    ],
)
def test_other_origins_and_hosts_are_refused(client, squares, headers, host):
    body = (squares / "images/1.png").read_bytes()
    assert client.post("/explain", data=body, headers=headers, base_url=f"http://{host}").status_code == 403


def test_methods_that_do_not_fit(client):
    assert client.get("/explain", base_url=f"http://{HOST}").status_code == 405
    assert client.post("/", base_url=f"http://{HOST}").status_code == 405


def test_it_listens_on_this_machine_alone(run):
    server, address = server_of(run)
    assert address == f"http://127.0.0.1:{server.port}/"
    assert server.server_address[0] == "127.0.0.1"
    thread = threading.Thread(target=server.handle_request)
    thread.start()
    with urlopen(address) as page:
        assert b"Where does it look?" in page.read()
    thread.join()
    server.server_close()
    with pytest.warns(UserWarning, match="no password"):
        server_of(run, host="0.0.0.0")[0].server_close()
    with pytest.raises(InputError, match="expected an address"):
        server_of(run, host="everywhere")


def test_a_port_that_is_taken_is_told(run, capsys):
    server, address = server_of(run)
    try:
        port = address.rstrip("/").rsplit(":", 1)[1]
        assert main(["serve", str(run.directory), "--port", port]) == 2
    finally:
        server.server_close()
    assert "in use" in capsys.readouterr().err
