import inspect
import math

import gymnasium
import numpy as np
import pytest
import vizdoom.gymnasium_wrapper  # registers its environments
from gymnasium.utils.env_checker import check_env
from gymnasium.wrappers import FrameStackObservation, TransformObservation

from lookright.errors import InputError
from lookright.rl.environments import DoomEnvironment
from lookright.rl.masks import ObjectMasks, object_mask


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


@pytest.mark.parametrize("environment", ["basic"], indirect=True)
def test_mask_is_the_pixels_that_vanish_with_the_object(environment, resized_naively):
    environment.reset(seed=3)
    for _ in range(10):  # the weapon comes to rest
        observation = environment.step(0)[0]
    with_object = environment.screen.copy()
    mask = object_mask(environment.game, ["Cacodemon"])
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
    before, mask = environment.screen.copy(), object_mask(environment.game, ["Health"])

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
    by_category = object_mask(environment.game, ["monster"])
    by_name = object_mask(environment.game, ["demon"]) + object_mask(environment.game, ["DoomImp"])
    np.testing.assert_array_equal(by_category, by_name)
    assert object_mask(environment.game, ["Demon"]).any()
    assert object_mask(environment.game, ["DoomImp"]).any()
    assert not object_mask(environment.game, ["Medikit"]).any()
    environment.close()


@pytest.fixture
def line():
    """Three monsters and three imps in a row, seen from afar."""
    environment = DoomEnvironment("defend_the_line")
    environment.reset(seed=0)
    yield environment
    environment.close()


def shown(mask, state):
    """The objects in sight of which a mask shows every pixel, and no other pixel."""
    values = set(np.unique(state.labels_buffer[mask == 255]).tolist())
    objects = [label for label in state.labels if label.value in values]
    assert (mask > 0).sum() == sum((state.labels_buffer == label.value).sum() for label in objects)
    return objects


def test_nearest_is_the_one_target_at_the_smallest_distance(line):
    line.step(0)
    state = line.game.get_state()
    x, y = (
        line.game.get_game_variable(vizdoom.GameVariable.POSITION_X),
        line.game.get_game_variable(vizdoom.GameVariable.POSITION_Y),
    )
    distance = {
        label.object_id: math.dist((x, y), (label.object_position_x, label.object_position_y))
        for label in state.labels
        if label.object_category == "Monster"
    }
    assert len(shown(object_mask(line.game, ["Monster"]), state)) == len(distance) > 3
    (nearest,) = shown(object_mask(line.game, ["Monster"], "nearest"), state)
    assert distance[nearest.object_id] == min(distance.values())
    assert not object_mask(line.game, ["Medikit"], "nearest").any()


def test_moving_are_those_that_changed_their_place_and_missiles_that_are_new():
    environment = DoomEnvironment("defend_the_line", objects="moving", size=84)
    whole = DoomEnvironment("defend_the_line", size=84)
    environment.reset(seed=3)
    whole.reset(seed=3)
    before, names = {}, set()
    for _ in range(40):
        state = environment.game.get_state()
        moves = set()
        for label in state.labels:
            place = label.object_position_x, label.object_position_y, label.object_position_z
            flies = label.object_name == "DoomImpBall" and label.object_velocity_x != 0
            if place != before.get(label.object_id, place) or (label.object_id not in before and flies):
                moves.add(label.value)
                names |= {label.object_name}
        targets = {label.value for label in state.labels if label.object_name in ("Demon", "DoomImp", "DoomImpBall")}
        expected = environment.resize(255 * np.isin(state.labels_buffer, list(moves & targets)).astype(np.uint8))
        np.testing.assert_array_equal(environment.mask, expected)
        assert (environment.mask <= whole.mask).all()
        before |= {one.id: (one.position_x, one.position_y, one.position_z) for one in state.objects}
        environment.step(0)
        whole.step(0)
    assert {"Demon", "DoomImpBall"} <= names
    assert "DoomImp" not in names  # they stand and throw
    environment.reset(seed=3)
    assert not environment.mask.any()  # nothing is known of where they were
    environment.close()
    whole.close()


def test_wrapped_environments_show_what_moves(make):
    environment = ObjectMasks(make("VizdoomDefendLine-v1", frame_skip=4), objects="moving", size=84)
    masks = [environment.reset(seed=3)[0]["mask"], *(environment.step(0)[0]["mask"] for _ in range(20))]
    assert not masks[0].any()
    assert any(mask.any() for mask in masks)
    assert not environment.reset(seed=3)[0]["mask"].any()


def test_aimed_at_is_the_nearest_target_in_the_middle_of_the_frame(line):
    found = []
    for action in [1] * 12 + [2] * 24:
        line.step(action)
        state = line.game.get_state()
        mask = object_mask(line.game, ["Monster"], "aimed_at")
        aimed_at = shown(mask, state)
        assert len(aimed_at) <= 1
        assert bool(aimed_at) == object_mask(line.game, ["Monster"])[:, 79:81].any()
        if aimed_at:
            assert mask[:, 79:81].any()
        found.append(bool(aimed_at))
    assert 0 < sum(found) < len(found)


@pytest.fixture
def make(tmp_path, monkeypatch):
    """Environments of ViZDoom's own, small, and closed at the end."""
    monkeypatch.chdir(tmp_path)  # the game writes its settings into the working directory
    made = []

    def make(name="VizdoomDefendLine-v1", **arguments):
        made.append(gymnasium.make(name, screen_resolution="RES_160X120", screen_format="GRAY8", **arguments))
        return made[-1]

    yield make
    for environment in made:
        environment.close()


def frames_alone(environment):
    """Observations that are arrays: the last two screens."""
    space = gymnasium.spaces.Box(0, 255, (120, 160), np.uint8)
    return FrameStackObservation(
        TransformObservation(environment, lambda observation: observation["screen"][..., 0], space), 2
    )


def test_masks_join_the_observations_of_vizdooms_own_environments(make):
    plain, masked = make(), ObjectMasks(make())
    assert masked.observation_space["mask"].shape == (120, 160)
    expected, (observation, _) = plain.reset(seed=1), masked.reset(seed=1)
    for _ in range(30):
        assert set(observation) == {*expected[0], "mask"}
        np.testing.assert_array_equal(observation["screen"], expected[0]["screen"])
        np.testing.assert_array_equal(
            observation["mask"], object_mask(masked.unwrapped.game, ["Monster", "DoomImpBall"])
        )
        assert observation["mask"].any()
        expected = plain.step(0)
        observation, reward, *_ = masked.step(0)
        assert reward == expected[1]


def test_masks_of_an_array_join_it_in_a_dict_or_go_into_the_info(make, resized_naively):
    inside = ObjectMasks(frames_alone(make()), size=30)
    beside = ObjectMasks(frames_alone(make()), size=30, into="info")
    assert set(inside.observation_space.spaces) == {"image", "mask"}
    assert beside.observation_space == inside.observation_space["image"]
    observation, array = inside.reset(seed=1)[0], beside.reset(seed=1)
    for _ in range(3):
        assert observation in inside.observation_space
        np.testing.assert_array_equal(observation["image"], array[0])
        np.testing.assert_array_equal(observation["mask"], array[-1]["mask"])
        rendered = object_mask(inside.unwrapped.game, ["Monster", "DoomImpBall"])
        np.testing.assert_allclose(observation["mask"], resized_naively(rendered, 30), atol=0.501)
        observation, array = inside.step(0)[0], beside.step(0)


def test_masks_of_another_environment_are_those_of_our_own(make):
    wrapped, own = ObjectMasks(DoomEnvironment("take_cover", mask=False), size=84), DoomEnvironment("take_cover")
    ours, (theirs, _) = own.reset(seed=2)[0], wrapped.reset(seed=2)
    for _ in range(10):
        np.testing.assert_array_equal(theirs["mask"], ours["mask"])
        np.testing.assert_array_equal(theirs["image"], ours["image"])
        ours, theirs = own.step(1)[0], wrapped.step(1)[0]
    own.close()
    wrapped.close()


def test_mask_is_empty_where_the_game_has_no_frame(make):
    environment = ObjectMasks(make("VizdoomBasic-v1", frame_skip=300))
    assert environment.reset(seed=0)[0]["mask"].any()
    observation, _, _, truncated, _ = environment.step(0)
    assert truncated
    assert not observation["screen"].any()
    assert not observation["mask"].any()


@pytest.mark.filterwarnings("ignore:.*is different from the unwrapped version")
@pytest.mark.parametrize("into", ["observation", "info"])
def test_follows_the_gymnasium_interface(make, into):
    environment = make("VizdoomTakeCover-v1")
    check_env(ObjectMasks(environment, size=84, into=into), skip_render_check=True)


@pytest.mark.parametrize("mode", ["sync", "async"])
def test_vector_environments_stack_masks(tmp_path, monkeypatch, mode):
    monkeypatch.chdir(tmp_path)
    arguments = {"screen_resolution": "RES_160X120", "screen_format": "GRAY8"}
    wrappers = [lambda environment: ObjectMasks(environment, into="info", size=20), ObjectMasks]
    environments = gymnasium.make_vec("VizdoomBasic-v1", 2, mode, wrappers=wrappers, **arguments)
    observation, infos = environments.reset(seed=[3, 4])
    for _ in range(2):
        assert observation["mask"].shape == (2, 120, 160)
        assert infos["mask"].shape == (2, 20, 20)
        assert all(mask.any() for mask in [*observation["mask"], *infos["mask"]])
        observation, *_, infos = environments.step(environments.action_space.sample())
    environments.close()


def test_environments_that_cannot_have_masks_are_refused(make):
    with pytest.raises(InputError, match="no ViZDoom game"):
        ObjectMasks(gymnasium.make("CartPole-v1"))
    environment = make("VizdoomBasic-v1")
    environment.reset()
    with pytest.raises(InputError, match="before its first reset"):
        ObjectMasks(environment)
    running = ObjectMasks(make("VizdoomBasic-v1"))
    running.reset()
    with pytest.raises(InputError, match="before its first reset"):
        ObjectMasks(running.env, objects="moving")
    with pytest.raises(InputError, match="has a mask already"):
        ObjectMasks(ObjectMasks(make()))
    unchecked = inspect.unwrap(ObjectMasks.__init__)  # the import hook of the tests would be first
    with pytest.raises(InputError, match="objects.*'farthest'"):
        unchecked(object.__new__(ObjectMasks), make(), objects="farthest")
    with pytest.raises(InputError, match="'deathmatch' has no default objects"):
        ObjectMasks(make("VizdoomDeathmatch-v1"))
    assert ObjectMasks(make("VizdoomDeathmatch-v1"), ["Monster"]).targets == ("Monster",)


def test_rollouts_of_stable_baselines_hold_the_masks(make):
    baselines = pytest.importorskip("stable_baselines3")
    arguments = {"policy": "MultiInputPolicy", "n_steps": 8, "batch_size": 8, "n_epochs": 1, "seed": 0, "device": "cpu"}
    arguments |= {"policy_kwargs": {"net_arch": [8], "features_extractor_kwargs": {"cnn_output_dim": 8}}}
    environment = ObjectMasks(frames_alone(make("VizdoomBasic-v1")), size=40)
    agent = baselines.PPO(env=environment, **arguments).learn(8)
    again = ObjectMasks(frames_alone(make("VizdoomBasic-v1")), size=40)
    observation, _ = again.reset(seed=0)
    buffer = agent.rollout_buffer
    for step, action in enumerate(buffer.actions.flatten().astype(int)):
        np.testing.assert_array_equal(buffer.observations["image"].reshape(8, 2, 120, 160)[step], observation["image"])
        np.testing.assert_array_equal(buffer.observations["mask"].reshape(8, 40, 40)[step], observation["mask"])
        assert observation["mask"].any()
        observation, *_ = again.step(action)


@pytest.mark.parametrize("mode", ["SAME_STEP", "NEXT_STEP"])
def test_stacked_masks_are_of_the_frames_they_come_with_over_an_end(tmp_path, monkeypatch, mode):
    """As in CleanRL's `ppo_atari.py`, which keeps `infos["mask"]` beside the observation of a step."""
    monkeypatch.chdir(tmp_path)

    def make():
        environment = gymnasium.make(
            "VizdoomBasic-v1", frame_skip=100, screen_resolution="RES_160X120", screen_format="GRAY8"
        )
        return ObjectMasks(ObjectMasks(environment), into="info")  # in both places, to be compared

    autoreset = gymnasium.vector.AutoresetMode[mode]
    environments = gymnasium.vector.SyncVectorEnv([make, make], autoreset_mode=autoreset)
    observation, infos = environments.reset(seed=[3, 4])
    empty = []
    for _ in range(8):
        np.testing.assert_array_equal(infos["mask"], observation["mask"])
        empty.append(not infos["mask"].any())
        observation, _, _, truncated, infos = environments.step(np.zeros(2, np.int64))
        assert not infos["mask"][truncated].any() or mode == "SAME_STEP"
        if mode == "SAME_STEP" and truncated.any():
            assert infos["mask"].any((1, 2)).all()  # of the next episode's first frame
            assert not infos["final_info"]["mask"].any()
    environments.close()
    assert any(empty) == (mode == "NEXT_STEP")
