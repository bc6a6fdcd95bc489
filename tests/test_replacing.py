import os
import subprocess
import sys
from pathlib import Path

import pytest

from lookright import InputError
from lookright.replacing import replacing


@pytest.fixture(params=[0o022, 0o027, 0o077], ids=oct)
def _umask(request):
    before = os.umask(request.param)
    yield
    os.umask(before)


def mode(path):
    return path.stat().st_mode & 0o777


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_file_appears_when_all_is_written(tmp_path):
    path = tmp_path / "results.csv"
    path.write_text("old")
    with replacing(path) as draft:
        draft.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    assert names(tmp_path) == ["results.csv"]


def test_a_folder_appears_when_all_is_written(tmp_path):
    path = tmp_path / "bestiary"
    with replacing(path) as draft:
        (draft / "images").mkdir(parents=True)
        (draft / "labels.csv").write_text("image,label")
        assert not path.exists()
    assert names(path) == ["images", "labels.csv"]
    assert names(tmp_path) == ["bestiary"]


@pytest.mark.parametrize("error", [OSError, KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize("kept", ["old", None])
def test_a_failure_leaves_what_was_there(tmp_path, error, kept):
    path = tmp_path / "results.csv"
    if kept:
        path.write_text(kept)

    def write():
        with replacing(path) as draft:
            draft.write_text("half")
            raise error

    with pytest.raises(error):
        write()
    assert [file.read_text() for file in tmp_path.iterdir()] == ([kept] if kept else [])


def test_a_failure_leaves_nothing_of_a_folder(tmp_path):
    def write():
        with replacing(tmp_path / "bestiary") as draft:
            (draft / "images").mkdir(parents=True)
            (draft / "images/0.png").write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write()
    assert names(tmp_path) == []


@pytest.mark.usefixtures("_umask")
def test_permissions_are_those_of_a_plain_write(tmp_path):
    (tmp_path / "plain.csv").write_text("")
    (tmp_path / "plain").mkdir()
    with replacing(tmp_path / "replaced.csv") as draft:
        draft.write_text("")
    with replacing(tmp_path / "replaced") as draft:
        draft.mkdir()
    assert mode(tmp_path / "replaced.csv") == mode(tmp_path / "plain.csv")
    assert mode(tmp_path / "replaced") == mode(tmp_path / "plain")


def test_an_empty_folder_is_replaced_and_a_full_one_kept(tmp_path):
    path = tmp_path / "bestiary"
    path.mkdir()

    def write(name):
        with replacing(path) as draft:
            draft.mkdir()
            (draft / name).touch()

    write("first.png")
    with pytest.raises(OSError):
        write("second.png")
    assert names(path) == ["first.png"]
    assert names(tmp_path) == ["bestiary"]


def test_the_last_of_two_writers_wins(tmp_path):
    path = tmp_path / "report.html"
    with replacing(path) as late:
        late.write_text("late")
        with replacing(path) as early:
            early.write_text("early")
        assert path.read_text() == "early"
    assert path.read_text() == "late"


def test_the_draft_keeps_the_name_and_what_lies_beside_it_goes(tmp_path):
    with replacing(tmp_path / "watch.webp") as draft:
        assert draft.name == "watch.webp"
        assert names(draft.parent) == []
        draft.with_name("archive.zip").touch()
        draft.touch()
    assert names(tmp_path) == ["watch.webp"]


def test_relative_paths(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with replacing(Path("results.csv")) as draft:
        draft.write_text("here")
    assert (tmp_path / "results.csv").read_text() == "here"


def test_it_imports_no_torch():
    code = "import sys, lookright.replacing; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_pipe_is_not_replaced(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(InputError, match="is a pipe or a device"), replacing(tmp_path / "pipe"):
        pass
    assert (tmp_path / "pipe").is_fifo()
