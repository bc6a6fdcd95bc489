import json
import random

import pytest
import safetensors.torch
import torch
from gymnasium.vector import AsyncVectorEnv
from hypothesis import given, settings
from hypothesis import strategies as st

from lookright.classifier import Classifier
from lookright.errors import InputError
from lookright.methods import CAMAL, Method
from lookright.rl import ppo
from lookright.rl.environments import vectorised
from lookright.rl.policy import NatureCNN
from lookright.rl.settings import PPOSettings

TINY = {
    "scenario": "basic",
    "num_envs": 2,
    "num_steps": 8,
    "total_timesteps": 64,
    "checkpoint_every": 2,
    "checkpoint_episodes": 0,
    "episodes": 1,
}
GUIDED = {"method": {"class_path": "CAMAL", "init_args": {"weight": 0.1}}}


@given(st.integers(1, 12), st.integers(1, 3), st.floats(0, 1), st.floats(0, 1), st.integers(0, 1000))
@settings(max_examples=30, deadline=None)
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
    assert ppo.policy_loss(advantage, ratio, 0.1).item() == pytest.approx(expected, abs=1e-6)


def test_policy_that_moved_too_far_in_the_right_direction_is_not_pushed():
    ratio = torch.tensor([1.2, 1.2, 0.8, 0.8], requires_grad=True)
    ppo.policy_loss(torch.tensor([1.0, -1.0, 1.0, -1.0]), ratio, 0.1).backward()
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
    assert ppo.value_loss(value, old, target, clip_coef).item() == pytest.approx(expected, rel=1e-5)


def weights(run):
    return safetensors.torch.load_file(run / "model.safetensors")


def assert_same_run(one, other):
    for name, tensor in weights(one).items():
        assert torch.equal(tensor, weights(other)[name]), name
    assert (one / "metrics.csv").read_bytes() == (other / "metrics.csv").read_bytes()
    for table in ("episodes.csv", "frames.csv"):
        assert (one / "evaluation" / table).read_bytes() == (other / "evaluation" / table).read_bytes()


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory):
    return ppo.train({"out": str(tmp_path_factory.mktemp("runs") / "unbroken"), **TINY, **GUIDED})


def test_run_directory(unbroken):
    names = {path.name for path in unbroken.iterdir()}
    assert names == {
        *("config.yaml", "environment.json", "metrics.csv", "result.json", "model.safetensors", "last.ckpt"),
        *("evaluation", "tensorboard"),
    }
    result = json.loads((unbroken / "result.json").read_text())
    assert result["method"] == "CAMAL"
    assert result["timesteps"] == 64
    assert result["frames"] >= result["frames_with_target"] > 0
    assert -1 <= result["attention_gap"] <= 1
    assert result["insertion"] is not None
    model = NatureCNN(actions=4)
    model.load_state_dict(weights(unbroken))


def test_seed_and_method_change_the_run(unbroken, tmp_path):
    guided = learn(tmp_path / "guided", total_timesteps=64, method=CAMAL(weight=0.1))
    assert all(torch.equal(tensor, weights(unbroken)[name]) for name, tensor in weights(guided.out).items())
    assert "train/camal" in (guided.out / "metrics.csv").read_text()
    plain = learn(tmp_path / "plain", total_timesteps=64)
    assert "train/camal" not in (plain.out / "metrics.csv").read_text()
    other = learn(tmp_path / "other", total_timesteps=64, method=CAMAL(weight=0.1), seed=1)
    for run in (plain, other):
        assert any(not torch.equal(tensor, weights(unbroken)[name]) for name, tensor in weights(run.out).items())


@pytest.mark.parametrize(("first", "last", "update"), [(0, 16, None), (17, 32, 2)])
def test_resumed_run_equals_unbroken_one(unbroken, tmp_path, monkeypatch, first, last, update):
    calls = random.randrange(first, last)
    step = AsyncVectorEnv.step

    def killed(environments, actions):
        nonlocal calls
        calls -= 1
        if calls < 0:
            raise KeyboardInterrupt
        return step(environments, actions)

    out = tmp_path / "killed"
    with monkeypatch.context() as patch:
        patch.setattr(AsyncVectorEnv, "step", killed)
        with pytest.raises(KeyboardInterrupt):
            ppo.train({"out": str(out), **TINY, **GUIDED})
    if update:
        assert torch.load(out / "last.ckpt")["update"] == update
    else:
        assert not (out / "last.ckpt").exists()
    assert not (out / "model.safetensors").exists()
    assert_same_run(ppo.resume(out), unbroken)


class Spy(Method):
    """Keeps what PPO hands to a method."""

    needs_mask = True

    def __init__(self):
        super().__init__()
        self.batches = []
        self.steps = 0

    def guidance(self, classifier, output, batch, views=None):
        assert isinstance(classifier, Classifier)
        torch.testing.assert_close(output.logits, classifier(batch["image"]).logits)
        self.batches.append(batch)
        return {"spy": output.logits.sum() * 0}

    def after_step(self):
        self.steps += 1


def learn(out, **changes):
    """Train without evaluation."""
    timeout = changes.pop("timeout", 300)
    settings = PPOSettings(**{**TINY, "out": out, "total_timesteps": 16, **changes})
    settings.out.mkdir(exist_ok=True)
    environments = vectorised(settings.scenario, settings.num_envs, settings.targets, settings.method.needs_mask)
    try:
        environments.set_attr("timeout", timeout)
        ppo._learn(settings, environments)
    finally:
        environments.close()
    return settings


@pytest.mark.parametrize(("targets", "shown"), [(None, 1.0), (["Medikit"], 0.0)])
def test_method_gets_image_action_and_mask(tmp_path, targets, shown):
    method = learn(tmp_path, method=Spy(), targets=targets).method
    assert method.steps == len(method.batches) == 4 * 4
    image, action, mask, weight = (
        torch.cat([batch[key] for batch in method.batches]) for key in ("image", "label", "mask", "mask_weight")
    )
    assert image.shape == (64, 4, 84, 84)
    assert 0 <= image.min() < image.max() <= 1
    assert set(action.tolist()) <= {0, 1, 2, 3}
    assert mask.shape == (64, 84, 84)
    assert (mask.flatten(1).amax(1) > 0).all() == bool(shown)
    assert set(weight.tolist()) == {shown}


def test_time_out_adds_the_value_of_the_last_frame(tmp_path, monkeypatch):
    seen = []

    def record(rewards, values, ended, next_value, gamma, gae_lambda):
        seen.append((rewards.clone(), ended.clone(), values.clone()))
        return torch.zeros_like(rewards)

    monkeypatch.setattr(ppo, "advantages", record)
    for name, bootstrap in (("with", True), ("without", False)):
        learn(tmp_path / name, scenario="health_gathering", timeout=12, bootstrap_truncated=bootstrap)
    (rewards, ended, values), (plain, same_ended, _) = seen
    assert torch.equal(ended, same_ended)
    assert ended.nonzero()[:, 0].tolist() == [2, 2, 5, 5]
    assert torch.equal(plain, torch.ones_like(plain))  # 4 tics alive give 4, clipped to 1
    assert torch.equal(rewards[~ended], plain[~ended])
    added = (rewards - plain)[ended] / 0.99
    assert (added != 0).all()
    assert (added - values[ended]).abs().max() < 0.5 * values.abs().max() + 0.05  # frames four tics apart look alike


def test_loss_that_is_not_finite_is_named(tmp_path):
    class Broken(Spy):
        def guidance(self, classifier, output, batch, views=None):
            return {"broken": output.logits.sum() * torch.inf}

    with pytest.raises(InputError, match=r"in update 1 .*broken"):
        learn(tmp_path, method=Broken())


def test_bad_settings_are_refused(tmp_path, unbroken):
    with pytest.raises(InputError, match="less than one update of num_envs x num_steps = 2 x 8"):
        ppo.train({"out": str(tmp_path / "a"), **TINY, "total_timesteps": 15})
    with pytest.raises(InputError, match="num_minibatches = 5 does not divide"):
        ppo.train({"out": str(tmp_path / "a"), **TINY, "num_minibatches": 5})
    with pytest.raises(InputError, match="No scenario 'basik'"):
        ppo.train({"out": str(tmp_path / "a"), **TINY, "scenario": "basik"})
    with pytest.raises(InputError, match="Settings"):
        ppo.train({"out": str(tmp_path / "a"), "scenery": "basic"})
    assert not (tmp_path / "a").exists()
    with pytest.raises(InputError, match="already holds files"):
        ppo.train({"out": str(unbroken), **TINY})
    with pytest.raises(InputError, match="is finished"):
        ppo.resume(unbroken)
    with pytest.raises(InputError, match=r"No config\.yaml"):
        ppo.resume(tmp_path)
