import io
import os
import zipfile

import numpy as np
import pytest

from lookright import InputError
from lookright.run_directory import arrays_file, read_arrays


def test_what_is_written_is_read(tmp_path):
    np.savez_compressed(tmp_path / "a.npz", map=np.eye(3), row=np.arange(2))
    found = read_arrays(tmp_path / "a.npz")
    assert (found["map"] == np.eye(3)).all()
    assert found["row"].tolist() == [0, 1]


def announcing(shape):
    """An array file whose header says a shape, with nothing behind it."""
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(file, {"descr": "|u1", "fortran_order": False, "shape": shape})
    return file.getvalue()


@pytest.mark.parametrize("kind", ["zeros", "announced", "objects", "truncated", "empty", "text", "none", "pipe"])
def test_a_foreign_file_is_refused_in_a_sentence(tmp_path, monkeypatch, kind):
    monkeypatch.setattr(arrays_file, "LARGEST", 10_000)
    path = tmp_path / "a.npz"
    if kind == "zeros":
        np.savez_compressed(path, map=np.zeros(20_000, np.uint8))
    if kind == "announced":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("map.npy", announcing((10**12,)))
    if kind == "objects":
        np.savez(path, map=np.array([print], object))
    if kind == "truncated":
        np.savez(path, map=np.eye(9))
        path.write_bytes(path.read_bytes()[:300])
    if kind == "empty":
        path.touch()
    if kind == "text":
        path.write_text("map")
    if kind == "pipe":
        os.mkfifo(path)
    messages = {"zeros": "unpacks to 20,1", "announced": "unpacks to 1,000,000,000,000", "none": "No", "pipe": "No"}
    with pytest.raises(InputError, match=messages.get(kind, "Cannot read .*Evaluate the run again")):
        read_arrays(path)
