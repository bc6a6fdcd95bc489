import re
from pathlib import Path

import pytest

from lookright.cli import main
from lookright.errors import InputError
from lookright.methods import ALIGN, CAMAL, DRE, GRADIA, SAGE
from lookright.rl.agent_settings import PPOSettings, instantiate, parse_settings, read_settings, write_settings


def test_a_file_gives_the_same_settings_back(tmp_path):
    config = {
        **{"out": "run", "scenario": "take_cover", "targets": ["Monster"], "target_kl": 0.1},
        "method": {"class_path": "CAMAL", "init_args": {"weight": 0.5}},
    }
    namespace = parse_settings(config)
    write_settings(namespace, tmp_path / "config.yaml")
    assert read_settings(tmp_path / "config.yaml") == namespace
    built = instantiate(namespace)
    assert (built.out, built.targets, built.target_kl) == (Path("run"), ["Monster"], 0.1)
    assert (type(built.method).__name__, built.method.weight) == ("CAMAL", 0.5)
    assert (built.batch_size, built.updates) == (1024, 9765)
    assert type(instantiate(parse_settings({"out": "run"})).method).__name__ == "ERM"


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"total_timesteps": 1000}, "less than one update of num_envs x num_steps = 8 x 128"),
        ({"num_minibatches": 5}, "num_minibatches = 5 does not divide"),
        ({"num_envs": 1, "num_steps": 4}, "num_minibatches = 4 does not divide .* into parts of two or more"),
        ({"method": ALIGN()}, "ALIGN changes what the model sees"),
        ({"method": GRADIA()}, "GRADIA trains towards the labels"),
        ({"method": CAMAL() + DRE()}, "Sum trains towards the labels"),
        ({"method": CAMAL() + SAGE(), "guided": "value"}, "Sum compares views of a frame"),
        *(
            ({name: 0}, f"{name} = 0; expected")
            for name in ("total_timesteps", "num_envs", "num_steps", "num_minibatches", "update_epochs", "episodes")
        ),
        ({"checkpoint_every": -3}, "checkpoint_every = -3; expected a number from 1 to 1000000000"),
        ({"checkpoint_episodes": -1}, "checkpoint_episodes = -1; expected a number from 0 to 100000"),
        ({"seed": -1}, "seed = -1; expected"),
        ({"gamma": 1.1}, r"gamma = 1\.1; expected a number from 0 to 1"),
        ({"gae_lambda": -0.5}, r"gae_lambda = -0\.5; expected a number from 0 to 1"),
        ({"reward_scale": 0}, "reward_scale = 0; expected"),
        ({"frame_skip": 0}, "frame_skip = 0; expected"),
        ({"gamma": float("nan")}, "gamma = nan; expected"),
    ],
)
def test_settings_that_do_not_fit_together_are_refused(wrong, message):
    with pytest.raises(InputError, match=message):
        PPOSettings(Path("run"), **wrong)


def test_what_is_not_said_is_what_suits_the_scenario():
    settings = PPOSettings(Path("run"), scenario="health_gathering")
    assert (settings.scale, settings.shaped, settings.seen["skip"]) == (0.01, {"HEALTH": 0.01}, 4)
    settings = PPOSettings(Path("run"), scenario="health_gathering", reward_scale=2.0, shaping={}, frame_skip=8)
    assert (settings.scale, settings.shaped, settings.seen["skip"]) == (2.0, {}, 8)
    settings = PPOSettings(Path("run"), scenario="my/own.cfg")
    assert (settings.scale, settings.shaped, settings.seen["skip"]) == (1.0, {}, 4)


def test_limits_of_the_ranges_are_allowed():
    edges = {"checkpoint_episodes": 0, "seed": 0, "gamma": 1.0, "gae_lambda": 0.0, "checkpoint_every": 1, "episodes": 1}
    assert PPOSettings(Path("run"), **edges).checkpoint_every == 1


@pytest.mark.parametrize("command", ["train --data images", "rl train"])
@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ("--method Foo", "No method 'Foo'. Expected ABN, ADL, .*ALIGN, .*CAMAL.*, or an import path."),
        ("--method CAMAL --method.wieght 1", "wieght"),
        ("--seed one", "one"),
        ("--epocs 3", "epocs"),
    ],
)
def test_both_kinds_of_training_complain_alike(tmp_path, monkeypatch, capsys, command, wrong, message):
    monkeypatch.chdir(tmp_path)
    assert main([*command.split(), "--out", "run", *wrong.split()]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert re.search(message, error)
    assert not any(tmp_path.iterdir())
