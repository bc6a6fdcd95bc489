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

from lookright.data.bestiary.engine import start
from lookright.errors import InputError
from lookright.rl import environments as module
from lookright.rl.environments import DoomEnvironment, DoomEnvironments, EngineError, seeds, vectorised
from lookright.rl.scenarios import SCENARIOS


@pytest.mark.parametrize("timeout", [40, 30])
def test_time_out_keeps_the_real_frame(timeout):
    environment, endless = DoomEnvironment("basic"), DoomEnvironment("basic")
    environment.timeout, endless.timeout = timeout, 10**6
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
    module._environment_of_process(os.getpid(), "basic", {"mask": True})
    assert not set_for
    module._environment_of_process(os.getppid(), "basic", {"mask": True})
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


@pytest.mark.parametrize("line", ["", "doom_scenario_path = none.wad\n"])
def test_scenario_without_a_wad_cannot_be_shifted(tmp_path, line):
    (tmp_path / "own.cfg").write_text(f"{line}available_buttons = {{ ATTACK }}\n")
    with pytest.raises(InputError, match=r"own\.cfg' has no WAD to be shifted"):
        DoomEnvironment(str(tmp_path / "own.cfg"), targets=["Monster"], shift="dark")


def test_unknown_scenario_is_refused():
    with pytest.raises(InputError, match=r"No scenario 'basik'.*basic"):
        DoomEnvironment("basik")


def test_game_variables_are_in_every_info():
    environment = DoomEnvironment("health_gathering", skip=31, variables=["HEALTH", "SELECTED_WEAPON"])
    _, info = environment.reset(seed=0)
    assert info.keys() == {"HEALTH", "SELECTED_WEAPON"}
    health = [info["HEALTH"]]
    for _ in range(3):
        health.append(environment.step(0)[-1]["HEALTH"])
    environment.close()
    assert health == sorted(health, reverse=True)  # the floor is acid
    assert health[-1] < health[0] <= 100
    with pytest.raises(InputError, match=r"no game variable 'HELTH'; expected a name such as HEALTH"):
        DoomEnvironment("basic", variables=["HELTH"])
