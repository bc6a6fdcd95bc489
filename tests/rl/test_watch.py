import numpy as np
import pytest
import torch
from PIL import Image

from lookright.errors import InputError
from lookright.rl.watch import Film, _outline, watch


@pytest.mark.parametrize("name", [None, "film.gif"])
def test_film_shows_the_episode_frame_by_frame(own_run, name):
    path = watch(own_run, own_run / name if name else None)
    assert path == own_run / (name or "watch.webp")
    with Image.open(path) as film:
        decisions = len((own_run / "evaluation" / "frames.csv").read_text().splitlines()) - 1
        assert film.n_frames == decisions
        assert film.size == (2 * 480, 360 + 18 + 48)
        film.seek(decisions - 1)
        picture = np.asarray(film.convert("RGB")).astype(int)
    left, right, curve = picture[:360, :480], picture[:360, 480:], picture[378:]
    assert np.ptp(left, axis=2).mean() < 10  # grey
    green = right[..., 1] - np.maximum(right[..., 0], right[..., 2])
    assert (green > 60).sum() > 20  # the target's outline
    red = (curve[..., 0] - curve[..., 1] > 40).any(axis=0)
    assert red[-10:].any()  # the present, at the end
    assert not red[:-10].any()
    assert (curve.max(axis=2) < 160).any(axis=0).mean() > 0.9  # the values that were


def test_film_is_a_video_where_its_name_says_so(own_run):
    av = pytest.importorskip("av")
    (own_run / "last.ckpt").unlink()  # no value, and no curve
    with av.open(str(watch(own_run, own_run / "film.mp4"))) as film:
        pictures = [frame.to_ndarray(format="rgb24") for frame in film.decode(video=0)]
        rate = film.streams.video[0].average_rate
    decisions = len((own_run / "evaluation" / "frames.csv").read_text().splitlines()) - 1
    assert len(pictures) == decisions
    assert pictures[0].shape == (360 + 18, 2 * 480, 3)
    assert float(rate) == pytest.approx(35 / 4, rel=1e-3)
    green = pictures[-1][:360, 480:].astype(int)
    assert (green[..., 1] - np.maximum(green[..., 0], green[..., 2]) > 60).sum() > 20


def test_film_of_any_number_of_tics_a_decision(own_run):
    av = pytest.importorskip("av")
    settings = own_run / "config.yaml"
    settings.write_text(settings.read_text().replace("frame_skip: null", "frame_skip: 9"))
    with av.open(str(watch(own_run, own_run / "film.mp4"))) as film:
        assert float(film.streams.video[0].average_rate) == pytest.approx(35 / 9, rel=1e-3)


def test_checkpoint_of_another_agent_is_refused(own_run):
    state = torch.load(own_run / "last.ckpt")
    for policy in ({}, state["policy"] | {"critic.weight": torch.zeros(1, 7)}):
        torch.save(state | {"policy": policy}, own_run / "last.ckpt")
        with pytest.raises(InputError, match="not that of its agent"):
            watch(own_run)


def test_other_kinds_of_film_are_refused(run):
    with pytest.raises(InputError, match=r"film\.avi.*\.webp, \.gif, \.mp4"):
        watch(run, run / "film.avi")
    with pytest.raises(InputError, match="episode = -1; expected 0 or more"):
        watch(run, episode=-1)


def test_film_draws_a_picture_when_it_is_turned_to():
    drawn = []

    def picture(index):
        drawn.append(index)
        return Image.new("RGB", (3, 2), (index, 0, 0))

    film = Film(picture, 3)
    assert (film.size, film.mode, film.n_frames, film.tell(), drawn) == ((3, 2), "RGB", 3, 0, [0])
    film.seek(2)
    assert (film.getpixel((0, 0)), film.tell(), drawn) == ((2, 0, 0), 2, [0, 2])
    with pytest.raises(EOFError):
        film.seek(3)


def test_outline_is_on_both_sides_of_the_rim_of_a_region():
    mask = np.zeros((7, 7), bool)
    mask[2:5, 2:5] = True
    outline = np.zeros((7, 7), bool)
    outline[1:6, 2:5] = outline[2:5, 1:6] = True
    outline[3, 3] = False
    np.testing.assert_array_equal(_outline(mask), outline)
    assert not _outline(np.ones((3, 3), bool)).any()
