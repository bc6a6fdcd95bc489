import threading
import urllib.error
import urllib.request

import pytest

from lookright.cli import main
from lookright.studio.server import LOOPBACK, server_of


@pytest.fixture
def address(bare):
    server, _, address = server_of(bare)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield address
    server.shutdown()
    thread.join()
    server.server_close()


def test_it_listens_on_this_machine_only_and_says_nothing_of_the_token(address, capsys):
    assert address.startswith(f"http://{LOOPBACK}:")
    with urllib.request.urlopen(address) as response:
        assert b"lookright studio" in response.read()
    with pytest.raises(urllib.error.HTTPError, match="404"):
        urllib.request.urlopen(address.rpartition("/")[0][:-1] + "/")
    printed = capsys.readouterr()
    assert address.split("/")[3] not in printed.out + printed.err


def test_two_pages_have_two_tokens(bare):
    found = [server_of(bare) for _ in range(2)]
    for server, _, _ in found:
        server.server_close()
    assert len({address.split("/")[3] for _, _, address in found}) == 2


def test_a_port_that_is_taken_is_told(bare, address, capsys):
    port = address.split(":")[2].split("/")[0]
    assert main(["studio", str(bare), "--port", port]) == 2
    assert "in use" in capsys.readouterr().err


def test_a_folder_without_a_table_is_told(tmp_path, capsys):
    assert main(["studio", str(tmp_path)]) == 2
    assert "labels.csv" in capsys.readouterr().err


def test_a_folder_of_images_alone_is_opened(bare, capsys):
    for number in range(8):
        place = bare / ("cat", "dog")[number % 2]
        place.mkdir(exist_ok=True)
        (bare / f"images/{number}.png").rename(place / f"{number}.png")
    (bare / "labels.csv").unlink()
    server, studio, _ = server_of(bare)
    server.server_close()
    assert "8 images of 2 classes by their folders: cat, dog" in capsys.readouterr().out
    assert set(studio.folder.table["image"]) == {f"{('cat', 'dog')[number % 2]}/{number}.png" for number in range(8)}


def test_annotations_of_another_tool_are_to_be_converted(bare, capsys):
    (bare / "labels.csv").unlink()
    (bare / "images").rename(bare / "cat")
    (bare / "cat/0_mask.png").write_bytes((bare / "cat/1.png").read_bytes())
    assert main(["studio", str(bare)]) == 2
    assert "lookright data convert" in " ".join(capsys.readouterr().err.split())
    assert not (bare / "labels.csv").exists()
