import json
import runpy
from pathlib import Path

import numpy as np
import pytest
import torch

from lookright import InputError, attribution
from lookright.cli import main
from lookright.export.onnx import export_onnx
from lookright.training.run import load_run, train

onnxruntime = pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")


@pytest.fixture(scope="module")
def run(tmp_path_factory, squares, settings):
    out = tmp_path_factory.mktemp("runs") / "camal"
    return train(settings(squares, out, method="CAMAL", epochs=2))


@pytest.fixture(scope="module")
def exported(run, squares, tmp_path_factory):
    folder = tmp_path_factory.mktemp("onnx")
    out = folder / "camal.onnx"
    return export_onnx(run, out, squares / "images"), onnxruntime.InferenceSession(str(out))


@pytest.mark.parametrize("batch", [1, 2, 11])
def test_the_graph_says_what_the_run_says(run, exported, batch):
    image = torch.randn(batch, 3, 32, 32)
    logits, map = exported[1].run(None, {"image": image.numpy()})
    output, expected = attribution.explain_prediction(run.classifier, image, "class_map")
    assert np.abs(logits - output.logits.detach().numpy()).max() < 1e-4
    assert np.abs(map - expected.numpy()).max() < 1e-4
    assert map.shape == (batch, 4, 4)


def test_the_export_tells_how_it_compares(run, exported):
    export, session = exported
    assert [path.name for path in export.path.parent.iterdir()] == ["camal.onnx"]
    assert export.difference < 1e-4
    assert "32 images of" in export.compared
    assert export.megabytes == pytest.approx(export.path.stat().st_size / 1e6)
    facts = session.get_modelmeta().custom_metadata_map
    assert json.loads(facts["classes"]) == run.classes
    assert json.loads(facts["mean"]) == list(run.preprocessing.mean)
    assert json.loads(facts["map"]) == "class_map"


def test_a_model_without_a_closed_form_gives_logits_alone(run, squares, settings, tmp_path, capsys):
    model = {"img_size": 32, "patch_size": 8, "embed_dim": 16, "depth": 1, "num_heads": 2}
    vit = train(settings(squares, tmp_path / "vit", model="vit_tiny_patch16_224", model_arguments=model, epochs=1))
    assert main(["export", str(vit.directory), "--out", str(tmp_path / "vit.onnx")]) == 0
    assert "logits alone: the map of this model has no closed form" in capsys.readouterr().out
    session = onnxruntime.InferenceSession(str(tmp_path / "vit.onnx"))
    image = torch.randn(3, 3, 32, 32)
    (logits,) = session.run(None, {"image": image.numpy()})
    assert np.abs(logits - load_run(vit.directory).classifier(image).logits.detach().numpy()).max() < 1e-4
    with pytest.raises(InputError, match=r"not average pooling \+ Linear"):
        export_onnx(vit, tmp_path / "other.onnx", map="cam")
    assert not (tmp_path / "other.onnx").exists()


def test_a_graph_that_differs_is_not_written(run, tmp_path, monkeypatch):
    class Wrong:
        def __init__(self, *_, **__):
            pass

        def run(self, _, inputs):
            output = run.classifier(torch.tensor(inputs["image"]))
            map = attribution.class_map(run.classifier, output, output.logits.argmax(1))
            return [output.logits.detach().numpy(), map.detach().numpy() + 0.1]

    monkeypatch.setattr(onnxruntime, "InferenceSession", Wrong)
    with pytest.raises(InputError, match="differ from the run's by"):
        export_onnx(run, tmp_path / "wrong.onnx")
    assert list(tmp_path.iterdir()) == []


def test_maps_that_need_gradients_are_refused(run, tmp_path):
    with pytest.raises(InputError, match="no closed form"):
        export_onnx(run, tmp_path / "x.onnx", map="grad_cam")


def test_the_page_has_the_table_that_the_benchmark_prints():
    root = Path(__file__).parents[2]
    rows = json.loads((root / "benchmarks/results/onnx_export.json").read_text())["models"]
    printed = runpy.run_path(str(root / "benchmarks/onnx_export.py"))["table"](rows)
    assert printed in (root / "docs/use.md").read_text()
