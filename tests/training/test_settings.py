import pytest

from lookright import InputError
from lookright.training.settings import instantiate, parse_settings, read_settings, today_names, write_settings


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
    assert built.images.augmentation.crop == 0.3
    assert built.images.augmentation.flip


def test_methods_can_be_summed():
    parts = {"class_path": "Sum", "init_args": {"methods": [{"class_path": "CAMAL"}, {"class_path": "CYBORG"}]}}
    method = instantiate(parse_settings({"data": "d", "out": "o", "method": parts})).method
    assert [type(member).__name__ for member in method.members] == ["CAMAL", "CYBORG"]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"method": "CAMEL"}, r"No method 'CAMEL'. Do you mean CAMAL\? Expected .*CAMAL.*ERM"),
        ({"protocol": "Shrtcut"}, r"No protocol 'Shrtcut'. Do you mean Shortcut\? Expected"),
        (
            {"mask_control": "Invert"},
            r"No mask control 'Invert'. Do you mean Inverted\? Expected Boxed, Dilated, Inverted",
        ),
        ({"method": {"class_path": "CAMAL", "init_args": {"wieght": 1}}}, "wieght"),
        ({"epoch": 3}, "epoch"),
        ({"epochs": "three"}, "three"),
        ({"method": {"class_path": "CAMAL", "init_args": {"mode": "median"}}}, "median"),
        ({"epochs": 0}, "epochs = 0; expected a number from 1 to 1000000"),
        ({"batch_size": 0}, "batch_size = 0; expected a number from 1 to 1000000"),
        ({"lr": -1.0}, r"lr = -1\.0; expected a number from 0 to 10000"),
        ({"lr": float("nan")}, "lr = nan; expected a number from 0 to 10000"),
        ({"size": -5}, "size = -5; expected a number from 1 to 8192"),
        ({"mask_share": 2.0}, r"mask_share = 2\.0; expected a number from 0 to 1"),
        ({"warmup": 500.0}, r"lr_warmup = 500\.0; expected a number from 0 to 1"),
        ({"seed": 2**32}, "seed = 4294967296; expected a number from 0 to"),
        ({"steps": 8, "curve_points": 8}, "'curve_points' and another name both set 'curve_points'"),
        ({"schedule": {"epochs": 0}}, "epochs = 0; expected a number from 1 to 1000000"),
        ({"protocol": {"class_path": "LeaveOneDomainOut", "init_args": {"held_out": 2}}}, "numbers .* need quotes"),
        ({"protocol": {"class_path": "LeaveOneDomainOut", "init_args": {"held_out": False}}}, "words .* need quotes"),
        ({"protocol": {"class_path": "OpenSet", "init_args": {"unknown": [3]}}}, "numbers .* need quotes"),
        ({"protocol": {"class_path": "OpenSet", "init_args": {"unknown": "cat"}}}, "lists brackets"),
    ],
)
def test_mistakes_are_quoted(wrong, message):
    with pytest.raises(InputError, match=message):
        parse_settings({"data": "d", "out": "o"} | wrong)


def test_a_folder_without_settings_is_no_run(tmp_path):
    with pytest.raises(InputError, match=r"No config\.yaml"):
        read_settings(tmp_path / "config.yaml")


def test_a_file_of_an_earlier_version_is_read(tmp_path):
    (tmp_path / "config.yaml").write_text("data: d\nout: o\nsteps: 8\nwarmup: 0.2\nepochs: 3\n")
    settings = instantiate(read_settings(tmp_path / "config.yaml"))
    found = settings.evaluation.curve_points, settings.schedule.lr_warmup, settings.schedule.epochs
    assert found == (8, 0.2, 3)


def test_groups_may_be_named_and_left_out():
    grouped = {"data": "d", "out": "o", "schedule": {"epochs": 3}, "optimisation": {"lr": 0.5}}
    assert today_names(grouped) == {"data": "d", "out": "o", "epochs": 3, "lr": 0.5}
    assert parse_settings(grouped) == parse_settings({"data": "d", "out": "o", "epochs": 3, "lr": 0.5})


def test_settings_that_do_not_fit_together_are_refused():
    namespace = parse_settings({"data": "d", "out": "o", "optimizer": "SGD", "momentum": 0.0})
    with pytest.raises(InputError, match="momentum = 0; SGD"):
        instantiate(namespace)
