import json
import random
import warnings

import gymnasium
import numpy as np
import pandas as pd
import pytest
import safetensors.torch
import torch
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from hypothesis import given, settings
from hypothesis import strategies as st
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from lookright.classifier import Classifier
from lookright.errors import InputError
from lookright.methods import CAMAL, ERM, Method
from lookright.rl import ppo
from lookright.rl.agent_settings import PPOSettings
from lookright.rl.environments import DoomEnvironments, EngineError
from lookright.rl.policy import NatureCNN, Policy, SmallCNN, as_image


class Toy(gymnasium.Env):
    """What PPO sees of a game, without one: noise that depends on the seed and on all that was done since.

    The mask is the bright half of the newest frame. The variable AMMO2 is 10, and one less after every step.
    """

    observation_space = gymnasium.spaces.Dict(
        {
            "image": gymnasium.spaces.Box(0, 255, (4, 84, 84), np.uint8),
            "mask": gymnasium.spaces.Box(0, 255, (84, 84), np.uint8),
        }
    )
    action_space = gymnasium.spaces.Discrete(4)

    def __init__(self, timeout, shown, actions, last):
        self.timeout, self.shown, self.actions, self.last = timeout, shown, actions, last

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.steps = 0
        return self.observation(), {"AMMO2": 10.0}

    def step(self, action):
        self.actions[self.image.tobytes()] = int(action)
        self.np_random.random(int(action))
        self.steps += 1
        observation, truncated = self.observation(), self.steps == self.timeout
        if truncated:
            self.last.append(self.image)
        return observation, 4.0, False, truncated, {"AMMO2": 10.0 - self.steps}

    def observation(self):
        self.image = self.np_random.integers(256, size=(4, 84, 84), dtype=np.uint8)
        return {"image": self.image, "mask": np.uint8(255 * self.shown) * (self.image[-1] > 127)}


def learn(out, timeout=100, shown=True, actions=None, last=None, **changes):
    """Train on toys.

    Args:
        out: directory of the run.
        timeout: decisions of an episode.
        shown: whether masks show anything.
        actions: is filled with the action taken by the bytes of the stack of frames that it was taken on.
        last: is filled with the stacks of frames at time-outs, in order.
        changes: of the settings.
    """
    actions, last = ({} if actions is None else actions), ([] if last is None else last)
    settings = PPOSettings(
        out, **{"num_envs": 2, "num_steps": 8, "total_timesteps": 16, "checkpoint_episodes": 0, **changes}
    )
    settings.out.mkdir(exist_ok=True)
    environments = SyncVectorEnv(
        [lambda: Toy(timeout, shown, actions, last)] * 2, autoreset_mode=AutoresetMode.SAME_STEP
    )
    ppo._learn(settings, environments)
    return settings


@given(st.integers(1, 12), st.integers(1, 3), st.floats(0, 1), st.floats(0, 1), st.integers(0, 1000))
@settings(max_examples=30)
def test_advantages_are_discounted_sums_of_errors(steps, envs, gamma, gae_lambda, seed):
    torch.manual_seed(seed)
    rewards, values, next_value = torch.randn(steps, envs), torch.randn(steps, envs), torch.randn(envs)
    ended = torch.rand(steps, envs) < 0.3
    result = ppo.advantages(rewards, values, ended, next_value, gamma, gae_lambda)
    for env in range(envs):
        for start in range(steps):
            expected, discount = 0.0, 1.0
            for step in range(start, steps):
                following = values[step + 1, env] if step + 1 < steps else next_value[env]
                error = rewards[step, env] - values[step, env]
                if not ended[step, env]:
                    error = error + gamma * following
                expected += discount * error.item()
                discount *= gamma * gae_lambda
                if ended[step, env]:
                    break
            assert result[start, env].item() == pytest.approx(expected, abs=1e-4)


def test_policy_loss_is_the_clipped_surrogate():
    advantage, ratio = torch.randn(50), torch.rand(50) + 0.5
    expected = 0.0
    for a, r in zip(advantage.tolist(), ratio.tolist(), strict=True):
        expected -= min(r * a, max(0.9, min(1.1, r)) * a) / 50
    assert ppo.policy_loss(advantage, ratio, 0.1).mean().item() == pytest.approx(expected, abs=1e-6)


def test_policy_that_moved_too_far_in_the_right_direction_is_not_pushed():
    ratio = torch.tensor([1.2, 1.2, 0.8, 0.8], requires_grad=True)
    ppo.policy_loss(torch.tensor([1.0, -1.0, 1.0, -1.0]), ratio, 0.1).mean().backward()
    assert (ratio.grad != 0).tolist() == [False, True, True, False]


@pytest.mark.parametrize("clip_coef", [0.1, None])
def test_value_loss_is_the_worse_of_clipped_and_unclipped(clip_coef):
    value, old, target = torch.randn(3, 50)
    expected = 0.0
    for v, o, t in zip(value.tolist(), old.tolist(), target.tolist(), strict=True):
        errors = [(v - t) ** 2]
        if clip_coef:
            errors.append((max(o - clip_coef, min(o + clip_coef, v)) - t) ** 2)
        expected += 0.5 * max(errors) / 50
    assert ppo.value_loss(value, old, target, clip_coef).mean().item() == pytest.approx(expected, rel=1e-5)


def weights(run):
    return safetensors.torch.load_file(run / "model.safetensors")


def assert_same_run(one, other):
    for name, tensor in weights(one).items():
        assert torch.equal(tensor, weights(other)[name]), name
    assert (one / "metrics.csv").read_bytes() == (other / "metrics.csv").read_bytes()
    for table in ("episodes.csv", "frames.csv", "shifted.csv"):
        assert (one / "evaluation" / table).read_bytes() == (other / "evaluation" / table).read_bytes()


def test_run_directory(run):
    names = {path.name for path in run.iterdir()} - {".lock"}
    assert names == {
        *("config.yaml", "environment.json", "metrics.csv", "result.json", "model.safetensors", "last.ckpt"),
        *("evaluation", "tensorboard"),
    }
    result = json.loads((run / "result.json").read_text())
    assert result["method"] == "CAMAL"
    assert result["timesteps"] == 64
    assert result["frames"] >= result["frames_with_target"] > 0
    assert -1 <= result["attention_gap"] <= 1
    assert result["insertion"] is not None
    assert result["return_textures"] == pytest.approx(
        pd.read_csv(run / "evaluation" / "shifted.csv")["return"].mean(), rel=1e-5
    )
    model = SmallCNN(actions=4, size=64)
    model.load_state_dict(weights(run))


def test_seed_and_method_change_the_run(tmp_path):
    variants = {"guided": {}, "again": {}, "plain": {"method": ERM()}, "other": {"seed": 1}}
    runs = {name: learn(tmp_path / name, **{"method": CAMAL(0.1), **more}).out for name, more in variants.items()}

    def same(name):
        return all(torch.equal(tensor, weights(runs["guided"])[key]) for key, tensor in weights(runs[name]).items())

    assert {name: same(name) for name in variants} == {"guided": True, "again": True, "plain": False, "other": False}
    logged = {name: "train/camal" in (run / "metrics.csv").read_text() for name, run in runs.items()}
    assert logged == {"guided": True, "again": True, "plain": False, "other": True}


def kill(monkeypatch, call, error):
    """Break the environments' step number `call`, counted from 0."""
    step = DoomEnvironments.step

    def killed(environments, actions):
        nonlocal call
        call -= 1
        if call == -1:
            raise error
        return step(environments, actions)

    monkeypatch.setattr(DoomEnvironments, "step", killed)


def test_resumed_run_equals_unbroken_one(run, config, tmp_path, monkeypatch):
    out = tmp_path / "killed"
    with monkeypatch.context() as patch:
        kill(patch, random.randrange(17, 32), KeyboardInterrupt)
        with pytest.raises(KeyboardInterrupt):
            ppo.train({"out": str(out), **config})
    assert torch.load(out / "last.ckpt")["update"] == 2
    assert not (out / "model.safetensors").exists()
    assert_same_run(ppo.resume(out), run)


AHEAD = {"play_ahead": True, "checkpoint_every": 2, "total_timesteps": 96}


def test_playing_ahead_is_resumed_exactly_too(tmp_path, monkeypatch):
    learn(tmp_path / "unbroken", **AHEAD)
    updates = []

    def interrupt(*arguments):
        updates.append(arguments)
        if len(updates) == 4:
            raise KeyboardInterrupt
        return advantages(*arguments)

    advantages = ppo.advantages
    with monkeypatch.context() as patch:
        patch.setattr(ppo, "advantages", interrupt)
        with pytest.raises(KeyboardInterrupt):
            learn(tmp_path / "killed", **AHEAD)
    assert torch.load(tmp_path / "killed" / "last.ckpt")["update"] == 2
    learn(tmp_path / "killed", **AHEAD)
    for name, tensor in weights(tmp_path / "unbroken").items():
        assert torch.equal(tensor, weights(tmp_path / "killed")[name]), name
    assert (tmp_path / "unbroken" / "metrics.csv").read_bytes() == (tmp_path / "killed" / "metrics.csv").read_bytes()


def test_who_plays_ahead_is_the_policy_as_it_was_before_except_after_a_checkpoint(tmp_path):
    learn(tmp_path, update_epochs=1, num_minibatches=1, learning_rate=1e-3, anneal_lr=False, **AHEAD)
    moved = pd.read_csv(tmp_path / "metrics.csv")["train/approximate_kl"].abs()
    assert (moved > 1e-5).tolist() == [False, True] * 3


def test_run_goes_on_by_itself_when_a_game_dies(run, config, tmp_path, monkeypatch):
    kill(monkeypatch, random.randrange(16), EngineError("A game died."))
    with pytest.warns(UserWarning, match=r"A game died\. This one goes on"):
        assert_same_run(ppo.train({"out": str(tmp_path / "run"), **config}), run)


def test_run_whose_evaluation_died_goes_on_with_it(own_run, monkeypatch):
    measure, model = ppo.measure, own_run / "model.safetensors"
    trained, expected = model.stat().st_mtime_ns, (own_run / "result.json").read_text()
    (own_run / "result.json").unlink()
    calls = []

    def die_once(run, agent):
        calls.append(run)
        if len(calls) == 1:
            raise EngineError("A game died.")
        return measure(run, agent)

    monkeypatch.setattr(ppo, "measure", die_once)
    with pytest.warns(UserWarning, match=r"A game died\. This one goes on"):
        assert ppo.resume(own_run) == own_run
    assert calls == [own_run, own_run]
    assert (own_run / "result.json").read_text() == expected
    assert model.stat().st_mtime_ns == trained


def test_engine_that_dies_every_time_ends_the_run(config, tmp_path, monkeypatch):
    calls = []

    def die(*arguments, **options):
        calls.append((*arguments, options))
        raise EngineError("No environments.")

    monkeypatch.setattr(ppo, "vectorised", die)
    with pytest.warns(UserWarning, match="goes on"), pytest.raises(EngineError, match="No environments"):
        ppo.train({"out": str(tmp_path / "run"), **config})
    options = {"targets": None, "objects": "all", "size": 64, "skip": 4, "variables": [], "mask": True}
    assert calls == [("basic", 2, options)] * ppo.ATTEMPTS


class Spy(Method):
    """Keeps what PPO hands to a method."""

    needs = frozenset({"mask"})

    def __init__(self):
        super().__init__()
        self.batches, self.logits, self.tasks = [], [], []

    def guidance(self, classifier, output, batch, views=None):
        assert isinstance(classifier, Classifier)
        torch.testing.assert_close(output.embedding, classifier(batch["image"]).embedding)
        self.batches.append(batch)
        self.logits.append(output.logits.detach())
        return {"spy": output.logits.sum() * 0}

    def balance(self, classifier, task, terms):
        self.tasks.append(task.item())
        return {name: term + 1 for name, term in terms.items()}


@pytest.mark.parametrize("shown", [True, False])
def test_method_gets_image_action_and_mask(tmp_path, shown):
    actions = {}
    method = learn(tmp_path, method=Spy(), shown=shown, actions=actions).method
    assert method.step == len(method.batches) == 4 * 4
    assert len(set(actions.values())) > 1
    last = pd.read_csv(tmp_path / "metrics.csv").iloc[-1]
    assert last["train/spy"] == 1
    task = last[["train/policy", "train/value", "train/entropy"]].sum()
    assert [method.tasks[-1], last["train/loss"] - 1] == pytest.approx([task, task], rel=1e-4)
    seen = []
    for batch in method.batches:
        image, mask = batch["image"], batch["mask"]
        assert image.shape == (4, 4, 84, 84)
        assert torch.equal(mask, shown * (image[:, -1] > 0.5).float())
        assert batch["mask_weight"].tolist() == [float(shown)] * 4
        stacks = [stack.numpy().tobytes() for stack in (255 * image).round().to(torch.uint8)]
        assert [actions[stack] for stack in stacks] == batch["label"].tolist()
        seen += stacks
    for epoch in range(4):  # passes over all that was played
        assert sorted(seen[16 * epoch : 16 * (epoch + 1)]) == sorted(actions)


def test_method_gets_the_value_and_wrong_masks_where_settings_say_so(tmp_path):
    method = learn(tmp_path, method=Spy(), guided="value", mask_control="empty").method
    for batch in method.batches:
        assert not batch["mask"].any()
        assert batch["mask_weight"].tolist() == [1] * 4
    for logits, batch in zip(method.logits, method.batches):
        assert logits.shape == (4, 1)
        assert batch["label"].tolist() == (logits[:, 0] > 0).tolist()
    assert len({logit for logits in method.logits for logit in logits[:, 0].tolist()}) > 16


def test_time_out_adds_the_value_of_the_last_frame(tmp_path, monkeypatch):
    seen, last = [], []

    def record(rewards, values, ended, next_value, gamma, gae_lambda):
        seen.append((rewards.clone(), ended.clone()))
        return torch.zeros_like(rewards)

    monkeypatch.setattr(ppo, "advantages", record)
    learn(tmp_path / "with", timeout=3, last=last, reward_scale=1.0)
    learn(tmp_path / "without", timeout=3, reward_scale=1.0, bootstrap_truncated=False)
    (rewards, ended), (plain, same_ended) = seen
    assert torch.equal(ended, same_ended)
    assert ended.nonzero()[:, 0].tolist() == [2, 2, 5, 5]
    assert torch.equal(plain, torch.ones_like(plain))  # 4, clipped
    assert torch.equal(rewards[~ended], plain[~ended])
    torch.manual_seed(0)
    policy = Policy(NatureCNN(actions=4))  # as it is before the first update
    with torch.no_grad():
        value = policy(as_image(torch.from_numpy(np.stack(last))))[1]
    assert value.std() > 1e-3  # enough to tell frames apart
    torch.testing.assert_close(rewards[ended], 1 + 0.99 * value, atol=1e-5, rtol=0)


def test_rewards_are_scaled_shaped_and_then_clipped(tmp_path, monkeypatch):
    seen = []

    def record(rewards, values, ended, next_value, gamma, gae_lambda):
        seen.append((rewards.clone(), ended.clone()))
        return torch.zeros_like(rewards)

    monkeypatch.setattr(ppo, "advantages", record)
    common = {"timeout": 3, "bootstrap_truncated": False}
    learn(tmp_path / "scenario", **common, scenario="basic")
    learn(tmp_path / "shaped", **common, reward_scale=0.1, shaping={"AMMO2": 0.25})
    learn(tmp_path / "clipped", **common, reward_scale=0.5, shaping={"AMMO2": -3.0})
    (scaled, _), (shaped, ended), (clipped, _) = seen
    torch.testing.assert_close(scaled, torch.full_like(scaled, 0.04))  # 4, by what suits the scenario
    # One less after every step; with an episode's last step the next one begins, and nothing is added.
    torch.testing.assert_close(shaped, torch.where(ended, 0.4, 0.4 - 0.25))
    torch.testing.assert_close(clipped, torch.ones_like(clipped))
    log = pd.read_csv(tmp_path / "shaped" / "metrics.csv")
    assert log["train/return"].tolist() == [12.0]  # as the game gives them


def test_update_of_one_step_is_made_with_the_policy_that_played(tmp_path):
    settings = {"update_epochs": 1, "num_minibatches": 1, "total_timesteps": 64}
    learn(tmp_path / "falling", **settings)
    log = pd.read_csv(tmp_path / "falling" / "metrics.csv")
    assert log["train/learning_rate"].tolist() == pytest.approx([2.5e-4, 1.875e-4, 1.25e-4, 6.25e-5])
    assert log["train/approximate_kl"].abs().max() < 1e-6
    assert log["train/clip_fraction"].tolist() == [0] * 4
    assert log["train/policy"].abs().max() < 1e-5  # the mean of normalised advantages
    assert log["train/entropy"][0] == pytest.approx(-0.01 * np.log(4), rel=1e-3)
    terms = log[["train/policy", "train/value", "train/entropy"]].sum(axis=1)
    assert log["train/loss"].tolist() == pytest.approx(terms.tolist(), rel=1e-4)
    learn(tmp_path / "constant", anneal_lr=False, **settings)
    log = pd.read_csv(tmp_path / "constant" / "metrics.csv")
    assert log["train/learning_rate"].tolist() == pytest.approx([2.5e-4] * 4)


def test_learning_rates_of_a_methods_own_parameters_fall_too(tmp_path):
    class Learning(Spy):
        def __init__(self):
            super().__init__()
            self.factor, self.rates = torch.nn.Parameter(torch.ones(1, 1)), []

        def options(self):
            return {"lr": 0.5}

        def attach(self, classifier, optimizer=None):
            super().attach(classifier, optimizer)
            self.groups = optimizer.param_groups

        def guidance(self, classifier, output, batch, views=None):
            self.rates.append([group["lr"] for group in self.groups])
            return {"learning": self.factor.sum()}

    method = learn(tmp_path, method=Learning(), update_epochs=1, num_minibatches=1, total_timesteps=32).method
    assert method.rates == [[2.5e-4, 0.5], [1.25e-4, 0.25]]


def test_loss_that_is_not_finite_is_named_and_what_was_logged_is_kept(tmp_path):
    class Broken(Spy):
        def guidance(self, classifier, output, batch, views=None):
            return {"broken": output.logits.sum() * (torch.inf if self.step == 2 * 16 else 1)}

    with pytest.raises(InputError, match=r"in update 3 .*broken"):
        learn(tmp_path, method=Broken(), total_timesteps=64)
    assert pd.read_csv(tmp_path / "metrics.csv")["step"].tolist() == [16, 32]
    events = EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    assert [event.step for event in events.Scalars("train/loss")] == [16, 32]


def test_targets_that_are_never_in_sight_are_reported_once(tmp_path):
    with pytest.warns(UserWarning, match=r"in 16 decisions \('Monstre', 'Medikit'\), so Spy has guided") as found:
        learn(
            *(tmp_path / "misspelt", 100, False),
            **{"targets": ["Monstre", "Medikit"], "method": Spy(), "total_timesteps": 32, "checkpoint_every": 1},
        )
    assert len(found) == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        learn(tmp_path / "seen", method=Spy())
        learn(tmp_path / "unguided", shown=False)


def test_bad_settings_are_refused(tmp_path, run, config, monkeypatch):
    for wrong, message in (({"scenario": "basik"}, "No scenario 'basik'"), ({"scenery": "basic"}, "scenery")):
        with pytest.raises(InputError, match=message):
            ppo.train({"out": str(tmp_path / "a"), **config, **wrong})
    assert not (tmp_path / "a").exists()
    with pytest.raises(InputError, match="already holds files"):
        ppo.train({"out": str(run), **config})
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(InputError, match="device = 'cuda', which PyTorch does not find here"):
        ppo.train({"out": str(tmp_path / "a"), **config, "device": "cuda"})
    assert not (tmp_path / "a").exists()
    with pytest.raises(InputError, match="is finished"):
        ppo.resume(run)
    with pytest.raises(InputError, match=r"No config\.yaml"):
        ppo.resume(tmp_path)
