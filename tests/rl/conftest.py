"""A run of an agent that takes seconds, for whoever needs one."""

import shutil

import pytest

CONFIG = {
    "scenario": "basic",
    "method": {"class_path": "CAMAL", "init_args": {"weight": 0.1}},
    "num_envs": 2,
    "num_steps": 8,
    "total_timesteps": 64,
    "update_epochs": 1,
    "checkpoint_every": 2,
    "checkpoint_episodes": 0,
    "episodes": 1,
}


@pytest.fixture(scope="session")
def config():
    """Its settings, but for `out`."""
    return CONFIG


@pytest.fixture(scope="session")
def run(tmp_path_factory):
    """A finished run that no test changes."""
    from lookright.rl.ppo import train

    return train({"out": str(tmp_path_factory.mktemp("runs") / "run"), **CONFIG})


@pytest.fixture
def own_run(run, tmp_path):
    """A finished run to change."""
    return shutil.copytree(run, tmp_path / "run")
