"""A run of an agent that takes seconds, for whoever needs one."""

import math
import shutil

import numpy as np
import pytest

CONFIG = {
    "scenario": "basic",
    "method": {"class_path": "CAMAL", "init_args": {"weight": 0.1}},
    "network": "small",
    "size": 64,
    "shifts": ["textures"],
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


@pytest.fixture(scope="session")
def resized_naively():
    """Resizes an image to a square: each new pixel is the mean over the area that it covers of the old image."""

    def resized(image, size):
        height, width = image.shape
        result = np.zeros((size, size))
        for i in range(size):
            for j in range(size):
                top, bottom = i * height / size, (i + 1) * height / size
                left, right = j * width / size, (j + 1) * width / size
                for y in range(math.floor(top), math.ceil(bottom)):
                    for x in range(math.floor(left), math.ceil(right)):
                        rows, columns = min(bottom, y + 1) - max(top, y), min(right, x + 1) - max(left, x)
                        result[i, j] += image[y, x] * max(rows, 0) * max(columns, 0)
        return result / (height / size * width / size)

    return resized
