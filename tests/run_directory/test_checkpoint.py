import pytest
import torch

from lookright import InputError
from lookright.run_directory import save_model
from lookright.run_directory.checkpoint import read_checkpoint, write_checkpoint


class Foreign:
    """Notes that it was unpickled; harmless."""

    woken = False

    def __reduce__(self):
        return wake, ()


def wake():
    Foreign.woken = True


def test_what_is_written_is_read(tmp_path):
    state = {"step": 3, "weights": {"a": torch.arange(3)}, "draws": [1, 2.5, "x", None]}
    write_checkpoint(tmp_path / "last.ckpt", state)
    again = read_checkpoint(tmp_path / "last.ckpt", ("step", "weights"))
    assert torch.equal(again["weights"].pop("a"), state["weights"].pop("a"))
    assert again == state


def test_a_foreign_pickle_is_refused_and_not_run(tmp_path):
    torch.save({"step": Foreign()}, tmp_path / "last.ckpt")
    with pytest.raises(InputError, match=r"last.ckpt.*could run code"):
        read_checkpoint(tmp_path / "last.ckpt")
    assert not Foreign.woken


def test_a_damaged_or_foreign_file_is_refused_in_a_sentence(tmp_path):
    path = tmp_path / "last.ckpt"
    write_checkpoint(path, {"step": 3})
    whole = path.read_bytes()
    for content in (b"", b"no checkpoint", whole[: len(whole) // 2]):
        path.write_bytes(content)
        with pytest.raises(InputError, match="Cannot read the checkpoint"):
            read_checkpoint(path)
    path.write_bytes(whole)
    with pytest.raises(InputError, match="has no 'epoch'"):
        read_checkpoint(path, ("epoch",))
    with pytest.raises(InputError, match="No checkpoint"):
        read_checkpoint(tmp_path / "nowhere.ckpt")


@pytest.mark.parametrize("write", ["checkpoint", "weights"])
def test_a_full_disk_is_the_systems_error_and_keeps_what_was_there(tmp_path, write, fill_disk):
    path, model = tmp_path / "file", torch.nn.Linear(100, 100)
    path.write_bytes(b"before")
    fill_disk(True)
    with pytest.raises(OSError, match="too large"):
        write_checkpoint(path, model.state_dict()) if write == "checkpoint" else save_model(path, model, {})
    fill_disk(False)
    assert [one.read_bytes() for one in tmp_path.iterdir()] == [b"before"]
