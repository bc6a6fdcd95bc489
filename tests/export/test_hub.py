import json

import pytest
import timm
import torch

from lookright import InputError
from lookright.cli import main
from lookright.export.hub import export_folder, read_folder
from lookright.training.results import evaluate_run
from lookright.training.run import load_run, train


@pytest.fixture(scope="module")
def small(tmp_path_factory, squares, settings):
    run = train(settings(squares, tmp_path_factory.mktemp("runs") / "small", method="CAMAL", epochs=1))
    evaluate_run(run, splits=["test"])
    return run


def test_a_model_comes_back_as_it_was(small, tmp_path):
    model, config = read_folder(export_folder(small, tmp_path / "model"))
    image = torch.randn(3, 3, 32, 32)
    with torch.no_grad():
        assert torch.equal(model(image), small.classifier.model(image))
    assert config["label_names"] == small.classes
    assert config["pretrained_cfg"]["mean"] == list(small.preprocessing.mean)


def test_timm_reads_a_timm_model_without_lookright(tmp_path, squares, settings):
    run = train(settings(squares, tmp_path / "run", epochs=1, model="resnet18", model_arguments={}, size=64))
    folder = export_folder(run, tmp_path / "model")
    theirs = timm.create_model(f"local-dir:{folder}", pretrained=True).eval()
    image = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        assert torch.equal(theirs(image), run.classifier.model(image))
    transform = timm.data.create_transform(**timm.data.resolve_model_data_config(theirs))
    assert "size=(64, 64)" in str(transform)
    assert theirs.pretrained_cfg["label_names"] == run.classes


def test_the_card_is_filled_and_the_hub_reads_it(small, tmp_path):
    hub = pytest.importorskip("huggingface_hub")
    folder = export_folder(small, tmp_path / "squares")
    card = hub.ModelCard.load(folder / "README.md")
    assert card.data.pipeline_tag == "image-classification"
    accuracy = json.loads((small.directory / "result.json").read_text())["splits"]["test"]["accuracy"]
    for text in ("red", "CAMAL(", small.fingerprint, f"| accuracy | {accuracy:.3f} |", "32 × 32"):
        assert text in card.text


def test_the_code_of_the_card_runs(small, tmp_path, monkeypatch):
    folder = export_folder(small, tmp_path / "squares")
    monkeypatch.chdir(tmp_path)
    code = (folder / "README.md").read_text().split("```python\n")[1].split("```")[0]
    names: dict = {}
    exec(code, names)
    assert names["model"](torch.zeros(1, 3, 32, 32)).shape == (1, 3)


def test_nothing_is_overwritten(small, tmp_path, capsys):
    (tmp_path / "there").mkdir()
    with pytest.raises(InputError, match="exists"):
        export_folder(small, tmp_path / "there")
    with pytest.raises(InputError, match=r"no config\.json"):
        read_folder(tmp_path / "there")


def test_the_command(small, tmp_path):
    arguments = ["export", str(small.directory), "--out", str(tmp_path / "model"), "--format", "safetensors"]
    assert main(arguments) == 0
    model, _ = read_folder(tmp_path / "model")
    own = load_run(small.directory).classifier.model.state_dict()
    assert all(torch.equal(value, own[key]) for key, value in model.state_dict().items())
