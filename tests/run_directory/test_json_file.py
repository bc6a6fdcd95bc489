import pytest

from lookright import InputError
from lookright.run_directory import json_file
from lookright.run_directory.json_file import read_json, write_json


def test_what_is_written_is_read(tmp_path):
    write_json(tmp_path / "a.json", {"ü": [1, None]})
    assert read_json(tmp_path / "a.json", ["ü"]) == {"ü": [1, None]}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "as JSON"),
        (b'{"a": 1', "as JSON"),
        (b"\xff\xfe\x00{", "as JSON"),
        (b"[" * 100_000, "as JSON"),
        (b"[1]", "holds a list"),
        (b"{}", "no 'splits'"),
    ],
)
def test_a_foreign_file_is_refused_in_a_sentence(tmp_path, content, message):
    (tmp_path / "result.json").write_bytes(content)
    with pytest.raises(InputError, match=f"result.json.*{message}"):
        read_json(tmp_path / "result.json", ["splits"])


def test_a_file_too_large_is_not_read(tmp_path, monkeypatch):
    monkeypatch.setattr(json_file, "LARGEST", 10)
    (tmp_path / "result.json").write_text('{"a": "0123456789"}')
    with pytest.raises(InputError, match="19 bytes; expected at most 10"):
        read_json(tmp_path / "result.json")
