import numpy as np
import pytest
from PIL import Image

from lookright.errors import InputError
from lookright.rl import ppo
from lookright.rl.watch import _outline, watch


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    tiny = {"scenario": "basic", "num_envs": 1, "num_steps": 4, "total_timesteps": 4, "checkpoint_episodes": 0}
    return ppo.train({"out": str(tmp_path_factory.mktemp("runs") / "run"), **tiny, "episodes": 1})


@pytest.mark.parametrize("name", [None, "film.gif"])
def test_film_shows_the_episode_frame_by_frame(run, name):
    path = watch(run, run / name if name else None)
    assert path == run / (name or "watch.webp")
    with Image.open(path) as film:
        decisions = len((run / "evaluation" / "frames.csv").read_text().splitlines()) - 1
        assert film.n_frames == decisions
        assert film.size == (2 * 480, 360 + 18)
        picture = np.asarray(film.convert("RGB")).astype(int)
    left, right = picture[:360, :480], picture[:360, 480:]
    assert np.ptp(left, axis=2).max() < 40  # grey
    green = (right[..., 1] > 200) & (right[..., 0] < 100) & (right[..., 2] < 100)
    assert green.sum() > 20  # the target's outline


def test_other_kinds_of_film_are_refused(run):
    with pytest.raises(InputError, match=r"film\.mp4.*\.webp or \.gif"):
        watch(run, run / "film.mp4")


def test_outline_is_the_rim_of_a_region():
    mask = np.zeros((5, 5), bool)
    mask[1:4, 1:4] = True
    rim = mask.copy()
    rim[2, 2] = False
    np.testing.assert_array_equal(_outline(mask), rim)
    assert _outline(np.ones((3, 3), bool)).sum() == 8
