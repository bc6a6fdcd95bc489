import base64
import hashlib
import http.server
import io
import json
import tarfile
import threading
import zipfile

import pytest

from lookright.data.table import read_table
from lookright.data.terra_incognita import ANNOTATIONS, IMAGES, download_terra_incognita
from lookright.errors import InputError


def archives():
    """Six photographs: of a class that is not asked for, of another place, and one of two classes among them."""
    photographs = {"a": 38, "b": 43, "c": 38, "d": 12, "e": 100, "f": "46"}
    annotated = [("a", 1), ("b", 2), ("c", 3), ("d", 1), ("e", 1), ("e", 2), ("f", 2)]
    annotations = {
        "categories": [{"id": 1, "name": "coyote"}, {"id": 2, "name": "empty"}, {"id": 3, "name": "badger"}],
        "images": [{"id": key, "location": value, "file_name": f"{key}.jpg"} for key, value in photographs.items()],
        "annotations": [{"image_id": image, "category_id": category} for image, category in annotated],
    }
    labels, images = io.BytesIO(), io.BytesIO()
    with zipfile.ZipFile(labels, "w") as file:
        file.writestr("caltech_images_20210113.json", json.dumps(annotations))
    with tarfile.open(fileobj=images, mode="w:gz") as tar:
        for key in photographs:
            entry = tarfile.TarInfo(f"eccv_18_all_images_sm/{key}.jpg")
            entry.size = len(key)
            tar.addfile(entry, io.BytesIO(key.encode()))
    return {f"/{ANNOTATIONS}": labels.getvalue(), f"/{IMAGES}": images.getvalue()}


@pytest.fixture
def server():
    files = archives()
    stated = {name: hashlib.md5(content).digest() for name, content in files.items()}

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200 if self.path in files else 404)
            if self.path in files:
                self.send_header("x-goog-hash", "crc32c=AAAAAA==")
                self.send_header("x-goog-hash", f"md5={base64.b64encode(stated[self.path]).decode()}")
            self.end_headers()
            self.wfile.write(files.get(self.path, b""))

        def log_message(self, *arguments):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    server.files = files
    server.url = f"http://127.0.0.1:{server.server_port}"
    yield server
    server.shutdown()
    server.server_close()


def test_the_selection_becomes_a_native_folder(server, tmp_path):
    out = tmp_path / "terra"
    download_terra_incognita(out, server.url)
    table = read_table(out)
    expected = ["location_100/coyote/e.jpg", "location_100/empty/e.jpg", "location_38/coyote/a.jpg"]
    assert table["image"].tolist() == [*expected, "location_43/empty/b.jpg", "location_46/empty/f.jpg"]
    assert all((out / name).read_text() == name[-5] for name in table["image"])
    assert [path.name for path in tmp_path.iterdir()] == ["terra"]
    with pytest.raises(InputError, match="exists"):
        download_terra_incognita(out, server.url)


def test_a_damaged_archive_is_refused(server, tmp_path):
    server.files[f"/{IMAGES}"] = server.files[f"/{IMAGES}"][:-5]
    with pytest.raises(InputError, match="MD5"):
        download_terra_incognita(tmp_path / "terra", server.url)
    assert list(tmp_path.iterdir()) == []


def test_no_network_is_said_in_a_sentence(server, tmp_path):
    with pytest.raises(InputError, match="Cannot download"):
        download_terra_incognita(tmp_path / "terra", f"{server.url}/nothing")
