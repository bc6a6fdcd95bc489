import pytest
import safetensors.torch

from lookright import InputError
from lookright.run_directory import read_facts, read_weights, save_model
from lookright.training.model import build_model


def test_weights_that_no_run_wrote_are_refused(tmp_path):
    model, *_ = build_model("small_cnn", 3, arguments={"width": 8})
    safetensors.torch.save_file(model.state_dict(), tmp_path / "model.safetensors")
    with pytest.raises(InputError, match=r"model.safetensors' holds weights without"):
        read_facts(tmp_path / "model.safetensors")


def test_the_same_weights_and_facts_are_the_same_bytes(tmp_path):
    model, *_ = build_model("small_cnn", 3, arguments={"width": 8})
    for number in range(4):
        save_model(tmp_path / f"{number}", model, dict.fromkeys("abcdefgh", 1))
    assert len({(tmp_path / f"{number}").read_bytes() for number in range(4)}) == 1


def test_a_truncated_file_is_refused_in_a_sentence(tmp_path):
    path = tmp_path / "model.safetensors"
    save_model(path, build_model("small_cnn", 3, arguments={"width": 8})[0], {"classes": ["a"]})
    with pytest.raises(InputError, match="has no 'mean'"):
        read_facts(path, ("classes", "mean"))
    whole = path.read_bytes()
    for content in (b"", whole[:100], whole[:-100]):
        path.write_bytes(content)
        for read in (read_facts, read_weights):
            with pytest.raises(InputError, match="Cannot read the weights"):
                read(path)
