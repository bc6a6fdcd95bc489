import faulthandler
import math
import os
import shutil
import signal
import sys
from pathlib import Path

import numpy as np
import pytest
import vizdoom
from gymnasium.utils.env_checker import check_env
from hypothesis import given, settings
from hypothesis import strategies as st

from lookright.data.bestiary.engine import start
from lookright.errors import InputError
from lookright.rl import environments as module
from lookright.rl.environments import (
    SCENARIOS,
    DoomEnvironment,
    DoomEnvironments,
    EngineError,
    area_weights,
    seeds,
    target_mask,
    vectorised,
)


@pytest.fixture
def environment(request):
    """A scenario in which cheats may move and remove things."""
    environment = DoomEnvironment(request.param)
    environment.game.add_game_args("+sv_cheats 1")
    environment.game.set_objects_info_enabled(True)
    yield environment
    environment.close()


def assert_shown_by(mask, changed):
    """The mask is what changed when its objects vanished, but for the few pixels whose grey the wall behind shares."""
    assert (mask > 0).sum() > 100
    assert not (changed & (mask == 0)).any()
    assert changed.sum() >= 0.97 * (mask > 0).sum()


def resized_naively(image, size):
    """Each new pixel is the mean over the area that it covers of the old image."""
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


@given(st.integers(1, 12), st.integers(1, 12), st.integers(1, 9), st.integers(0, 1000))
@settings(max_examples=30, deadline=None)
def test_area_weights_average_over_the_covered_area(height, width, size, seed):
    image = np.random.default_rng(seed).integers(0, 256, (height, width))
    result = area_weights(height, width, size) @ image.ravel().astype(np.float32) / image.size
    np.testing.assert_allclose(result.reshape(size, size), resized_naively(image, size), rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("environment", ["basic"], indirect=True)
def test_mask_is_the_pixels_that_vanish_with_the_object(environment):
    environment.reset(seed=3)
    for _ in range(10):  # the weapon comes to rest
        observation = environment.step(0)[0]
    with_object = environment.screen.copy()
    mask = target_mask(environment.game.get_state(), ["Cacodemon"])
    environment.game.send_game_command("remove Cacodemon")
    without = environment.step(0)[0]
    assert_shown_by(mask, with_object != environment.screen)
    np.testing.assert_allclose(observation["mask"], resized_naively(mask, 84), atol=0.501)
    np.testing.assert_allclose(observation["image"][-1], resized_naively(with_object, 84), atol=0.501)
    assert not without["mask"].any()


@pytest.mark.parametrize("environment", ["health_gathering_supreme"], indirect=True)
def test_objects_behind_walls_have_no_mask(environment):
    environment.reset(seed=3)
    forward, turn = environment.actions.index("MOVE_FORWARD"), environment.actions.index("TURN_LEFT")
    for action in [forward] * 10 + [turn] * 8 + [0] * 8:
        environment.step(action)
    state = environment.game.get_state()
    before, mask = environment.screen.copy(), target_mask(state, ["Health"])

    player = next(thing for thing in state.objects if thing.name == "DoomPlayer")
    ahead = 0
    for thing in state.objects:
        direction = math.degrees(math.atan2(thing.position_y - player.position_y, thing.position_x - player.position_x))
        ahead += thing.name == "CustomMedikit" and abs((direction - player.angle + 180) % 360 - 180) < 40
    seen = sum(label.object_name == "CustomMedikit" for label in state.labels)
    assert 0 < seen < ahead

    for name in ("CustomMedikit", "Poison"):
        environment.game.send_game_command(f"remove {name}")
    environment.step(0)
    assert_shown_by(mask, before != environment.screen)


def test_target_is_a_name_or_a_category_in_any_case():
    environment = DoomEnvironment("defend_the_line", targets=["Monster"])
    environment.reset(seed=0)
    state = environment.game.get_state()
    by_category = target_mask(state, ["monster"])
    by_name = target_mask(state, ["demon"]) + target_mask(state, ["DoomImp"])
    np.testing.assert_array_equal(by_category, by_name)
    assert target_mask(state, ["Demon"]).any()
    assert target_mask(state, ["DoomImp"]).any()
    assert not target_mask(state, ["Medikit"]).any()
    environment.close()


@pytest.mark.parametrize("timeout", [40, 30])
def test_time_out_keeps_the_real_frame(timeout):
    environment, endless = DoomEnvironment("basic"), DoomEnvironment("basic")
    environment.timeout, endless.timeout = timeout, 0
    environment.reset(seed=5)
    endless.reset(seed=5)
    for step in range(1, math.ceil(timeout / 4) + 1):
        observation, _, terminated, truncated, _ = environment.step(1)
        assert not terminated
        assert truncated == (step >= timeout / 4)
    for _ in range(timeout // 4):
        reference = endless.step(1)[0]
    if timeout % 4:
        endless.game.make_action([True, False, False], timeout % 4)
        endless._see()
        reference = endless._observation()
    np.testing.assert_array_equal(observation["image"], reference["image"])
    np.testing.assert_array_equal(observation["mask"], reference["mask"])
    environment.close()
    endless.close()


def test_time_out_comes_when_vizdoom_itself_would_end_the_episode():
    environment = DoomEnvironment("basic")
    environment.reset(seed=0)
    steps, truncated, rewards = 0, False, 0.0
    while not truncated:
        _, reward, terminated, truncated, _ = environment.step(0)
        steps, rewards = steps + 1, rewards + reward
        assert not terminated
    assert (steps, rewards) == (75, -300)  # 300 tics, each costs 1
    environment.close()


def test_death_terminates_and_leaves_the_last_observation():
    environment = DoomEnvironment("health_gathering")
    observation, _ = environment.reset(seed=0)
    terminated = False
    while not terminated:
        previous = observation
        observation, reward, terminated, truncated, _ = environment.step(0)
        assert not truncated
    assert reward < -90
    assert observation["image"].any()
    np.testing.assert_array_equal(observation["image"], previous["image"])
    environment.close()


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_same_seed_same_episodes_whatever_was_played_before(scenario):
    def play(environment, seed):
        generator = np.random.default_rng(seed)
        observations, rewards = [environment.reset(seed=seed)[0]], []
        for _ in range(60):
            observation, reward, terminated, truncated, _ = environment.step(
                int(generator.integers(environment.action_space.n))
            )
            if terminated or truncated:
                observation, _ = environment.reset()
            observations.append(observation)
            rewards.append(reward)
        images, masks = (np.stack([observation[key] for observation in observations]) for key in ("image", "mask"))
        return images, masks, rewards

    fresh, used = DoomEnvironment(scenario), DoomEnvironment(scenario)
    play(used, 8)
    images, masks, rewards = play(fresh, 7)
    same_images, same_masks, same_rewards = play(used, 7)
    other_images, _, _ = play(used, 8)
    np.testing.assert_array_equal(images, same_images)
    np.testing.assert_array_equal(masks, same_masks)
    assert rewards == same_rewards
    assert (images != other_images).any()
    fresh.close()
    used.close()


def test_masks_change_nothing_else():
    with_mask, without = DoomEnvironment("defend_the_center"), DoomEnvironment("defend_the_center", mask=False)
    observation, plain = with_mask.reset(seed=1)[0], without.reset(seed=1)[0]
    for action in [1, 2, 3, 0] * 5:
        assert set(plain) == {"image"}
        np.testing.assert_array_equal(observation["image"], plain["image"])
        observation, reward, *_ = with_mask.step(action)
        plain, plain_reward, *_ = without.step(action)
        assert reward == plain_reward
    with_mask.close()
    without.close()


def test_follows_the_gymnasium_interface():
    environment = DoomEnvironment("take_cover")
    check_env(environment, skip_render_check=True)
    assert environment.actions == ["NONE", "MOVE_LEFT", "MOVE_RIGHT"]
    assert environment.render().shape == (120, 160, 3)
    environment.close()


def test_processes_give_what_single_environments_give():
    environments, single = vectorised("basic", 2), DoomEnvironment("basic")
    reset_seeds = seeds(0, 0, 2)
    observations, _ = environments.reset(seed=reset_seeds)
    observation, _ = single.reset(seed=reset_seeds[1])
    for _ in range(75):
        np.testing.assert_array_equal(observations["image"][1], observation["image"])
        np.testing.assert_array_equal(observations["mask"][1], observation["mask"])
        observations, _, _, truncated, infos = environments.step(np.zeros(2, int))
        observation, *_ = single.step(0)
    assert truncated.all()
    np.testing.assert_array_equal(infos["final_obs"][1]["image"], observation["image"])
    np.testing.assert_array_equal(observations["image"][1], single.reset()[0]["image"])
    environments.close()
    single.close()


def game_of(process):
    """The number of the game that the process with this number plays."""
    paths = Path(f"/proc/{process}/task").glob("*/children")
    children = [child for path in paths for child in path.read_text().split()]
    return next(int(child) for child in children if Path(f"/proc/{child}/comm").read_text() == "vizdoom\n")


@pytest.mark.skipif(sys.platform != "linux", reason="finds games in /proc")
@pytest.mark.parametrize("victim", ["process", "game", "silent game"])
def test_processes_are_not_waited_for_in_vain(monkeypatch, victim):
    environments = vectorised("basic", 2)
    environments.reset(seed=[0, 1])
    first = environments.processes[0]
    game = game_of(first.pid)
    if victim == "process":
        first.kill()
    elif victim == "game":
        os.kill(game, signal.SIGKILL)
    else:
        monkeypatch.setattr(module, "PATIENCE", 1)
        os.kill(game, signal.SIGSTOP)
    with pytest.raises(EngineError, match="died or was silent"):
        environments.step(np.zeros(2, int))
    environments.close()
    assert not any(process.is_alive() for process in environments.processes)
    if victim != "game":
        os.kill(game, signal.SIGKILL)


@pytest.mark.skipif(sys.platform != "linux", reason="finds games in /proc")
def test_game_that_dies_is_reported_in_the_same_process():
    environment = DoomEnvironment("basic")
    environment.reset(seed=0)
    os.kill(game_of(os.getpid()), signal.SIGKILL)
    with pytest.raises(EngineError, match="died"):
        environment.step(0)


def test_game_that_dies_at_its_start_is_reported(monkeypatch):
    def die(game):
        faulthandler.disable()  # ViZDoom brings its process down, which is no news here
        game.set_vizdoom_path("/bin/false")
        start(game)

    monkeypatch.setattr(module, "start", die)
    monkeypatch.setattr(module, "start_method", lambda preload: "fork")  # takes what was replaced along
    environments = vectorised("basic", 2)
    with pytest.raises(EngineError, match="died or was silent"):
        environments.reset(seed=[0, 1])


def test_process_that_dies_before_it_has_a_game_is_reported():
    owner = os.getpid()

    def make():
        if os.getpid() != owner:
            os._exit(1)
        return DoomEnvironment("basic")

    with pytest.raises(EngineError, match="died or was silent"):
        DoomEnvironments([make, make], context="fork")


def test_only_the_processes_of_the_environments_exit_when_terminated(monkeypatch):
    set_for = []
    monkeypatch.setattr(signal, "signal", lambda *arguments: set_for.append(arguments))
    module._environment_of_process(os.getpid(), "basic", None, mask=True)
    assert not set_for
    module._environment_of_process(os.getppid(), "basic", None, mask=True)
    assert [number for number, _ in set_for] == [signal.SIGTERM]


def test_seeds_differ_in_every_argument():
    assert len({seed for update in range(5) for run in range(5) for seed in seeds(run, update, 8)}) == 200


def test_reads_a_scenario_of_the_users(tmp_path):
    shutil.copy(f"{vizdoom.scenarios_path}/basic.wad", tmp_path)
    config = tmp_path / "mine.cfg"
    config.write_text("doom_scenario_path = basic.wad\nepisode_timeout = 20\navailable_buttons = { ATTACK }\n")
    environment = DoomEnvironment(str(config), targets=["Cacodemon"])
    assert environment.reset(seed=0)[0]["mask"].any()
    assert environment.actions == ["NONE", "ATTACK"]
    environment.close()
    with pytest.raises(InputError, match="no default objects"):
        DoomEnvironment(str(config))


def test_unknown_scenario_is_refused():
    with pytest.raises(InputError, match=r"No scenario 'basik'.*basic"):
        DoomEnvironment("basik")
