import pytest

from lookright import InputError
from lookright.training.settings import instantiate, parse_settings, read_settings, write_settings


def test_a_file_gives_the_same_settings_back(tmp_path):
    config = {
        "data": "images",
        "out": "run",
        "method": {"class_path": "CAMAL", "init_args": {"weight": 2, "mode": "energy"}},
        "protocol": {"class_path": "Shortcut", "init_args": {"rho": 0.8}},
        "augmentation": {"crop": 0.3},
        "mask_control": "Inverted",
        "model_arguments": {"width": 8},
    }
    namespace = parse_settings(config)
    write_settings(namespace, tmp_path / "config.yaml")
    assert read_settings(tmp_path / "config.yaml") == namespace
    built = instantiate(namespace)
    assert (type(built.method).__name__, built.method.weight, built.method.mode) == ("CAMAL", 2, "energy")
    assert built.protocol.rho == 0.8
    assert built.augmentation.crop == 0.3
    assert built.augmentation.flip


def test_methods_can_be_summed():
    parts = {"class_path": "Sum", "init_args": {"methods": [{"class_path": "CAMAL"}, {"class_path": "CYBORG"}]}}
    method = instantiate(parse_settings({"data": "d", "out": "o", "method": parts})).method
    assert [type(member).__name__ for member in method.members] == ["CAMAL", "CYBORG"]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"method": "CAMEL"}, r"No method 'CAMEL'. Expected .*CAMAL.*ERM"),
        ({"protocol": "Shrtcut"}, r"No protocol 'Shrtcut'. Expected .*Shortcut"),
        ({"mask_control": "Invert"}, r"No mask control 'Invert'. Expected Inverted"),
        ({"method": {"class_path": "CAMAL", "init_args": {"wieght": 1}}}, "wieght"),
        ({"epoch": 3}, "epoch"),
        ({"epochs": "three"}, "three"),
        ({"method": {"class_path": "CAMAL", "init_args": {"mode": "median"}}}, "median"),
    ],
)
def test_mistakes_are_quoted(wrong, message):
    with pytest.raises(InputError, match=message):
        parse_settings({"data": "d", "out": "o"} | wrong)


def test_a_folder_without_settings_is_no_run(tmp_path):
    with pytest.raises(InputError, match=r"No config\.yaml"):
        read_settings(tmp_path / "config.yaml")
