"""PPO of lookright beside CleanRL's `ppo_atari.py`: environment steps a second, the cost of masks, and what is learnt.

    python benchmarks/rl_speed.py speed      # writes benchmarks/results/rl_speed.json
    python benchmarks/rl_speed.py speed --sample_factory PYTHON   # with a third peer
    python benchmarks/rl_speed.py learning   # writes benchmarks/results/rl_learning.csv

The reference follows `ppo_atari.py` line by line where it matters for speed and learning (float32 storage, the same
network, a time-out ends an episode like a death), in the same process layout: one process an environment. It clips
rewards to [-1, 1] as lookright does, where CleanRL's ClipRewardEnv takes their sign. `speed` times the whole training
from outside, so that logging, the checkpoint and the weights written count against lookright. In `learning`
lookright's `bootstrap_truncated` is off, so that both treat a time-out alike. "Fast" is lookright with
`precision: bf16` and `play_ahead: true`.

Sample Factory needs NumPy below 2 and gymnasium below 1, so PYTHON is that of an environment of its own with
`sample-factory[vizdoom]`. It trains on `basic` with CleanRL's network, sight, passes and mini-batches, in two processes
of four games each, asynchronously as it does by default, and says its own speed (frames, four of which are a decision).
"""

import argparse
import json
import os
import re
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import nn
from torch.distributions import Categorical

from lookright.methods import CAMAL, ERM, Method
from lookright.rl import ppo
from lookright.rl.agent_settings import PPOSettings
from lookright.rl.environments import DoomEnvironments, seeds, vectorised
from lookright.run_directory.environment import processor
from lookright.statistics import mean_interval, paired_difference

RESULTS = Path(__file__).parent / "results"
ENVIRONMENTS, STEPS, EPOCHS, MINIBATCHES = 8, 128, 4, 4
BATCH = ENVIRONMENTS * STEPS
UPDATES = {"speed": 4, "learning": 60}
FAST = {"precision": "bf16", "play_ahead": True}
SMALL = {"network": "small", **FAST}
INCLUDED = {
    "lookright, masks rendered": "PPO alone; the games render and resize masks and hand them over, unread",
    "lookright + CAMAL": "rendered masks, kept and batched, and CAMAL's map and loss in every mini-batch",
}


def initialised(layer: nn.Module, std: float = np.sqrt(2)) -> nn.Module:
    nn.init.orthogonal_(layer.weight, std)
    nn.init.constant_(layer.bias, 0.0)
    return layer


class Agent(nn.Module):
    """The agent of `ppo_atari.py`."""

    def __init__(self, actions: int) -> None:
        super().__init__()
        self.network = nn.Sequential(
            *(initialised(nn.Conv2d(4, 32, 8, stride=4)), nn.ReLU()),
            *(initialised(nn.Conv2d(32, 64, 4, stride=2)), nn.ReLU()),
            *(initialised(nn.Conv2d(64, 64, 3, stride=1)), nn.ReLU()),
            *(nn.Flatten(), initialised(nn.Linear(64 * 7 * 7, 512)), nn.ReLU()),
        )
        self.actor = initialised(nn.Linear(512, actions), std=0.01)
        self.critic = initialised(nn.Linear(512, 1), std=1)

    def act(self, frames: torch.Tensor, action: torch.Tensor | None = None) -> tuple[torch.Tensor, ...]:
        """Action, its log-probability, the entropy and the value."""
        hidden = self.network(frames / 255.0)
        distribution = Categorical(logits=self.actor(hidden))
        action = distribution.sample() if action is None else action
        return action, distribution.log_prob(action), distribution.entropy(), self.critic(hidden)


def reference(environments: DoomEnvironments, seed: int, updates: int) -> np.ndarray:
    """Train as `ppo_atari.py` does; for each update the mean return of the episodes that ended in it, or NaN."""
    torch.manual_seed(seed)
    np.random.seed(seed)  # noqa: NPY002, as CleanRL
    agent = Agent(int(environments.single_action_space.n))
    optimizer = torch.optim.Adam(agent.parameters(), lr=2.5e-4, eps=1e-5)
    obs = torch.zeros(STEPS, ENVIRONMENTS, 4, 84, 84)
    actions, logprobs, rewards, dones, values = torch.zeros(5, STEPS, ENVIRONMENTS)
    episode, means = np.zeros(ENVIRONMENTS), np.full(updates, np.nan)
    observation, _ = environments.reset(seed=seeds(seed, 1, ENVIRONMENTS))
    next_obs, next_done = torch.Tensor(observation["image"]), torch.zeros(ENVIRONMENTS)
    for update in range(updates):
        optimizer.param_groups[0]["lr"] = (1 - update / updates) * 2.5e-4
        returns: list[float] = []
        for step in range(STEPS):
            obs[step], dones[step] = next_obs, next_done
            with torch.no_grad():
                action, logprob, _, value = agent.act(next_obs)
                values[step] = value.flatten()
            actions[step], logprobs[step] = action, logprob
            observation, reward, terminated, truncated, _ = environments.step(action.numpy())
            done = np.logical_or(terminated, truncated)
            rewards[step] = torch.tensor(reward.clip(-1, 1))
            next_obs, next_done = torch.Tensor(observation["image"]), torch.Tensor(done)
            episode += reward
            returns += episode[done].tolist()
            episode[done] = 0
        if returns:
            means[update] = np.mean(returns)

        with torch.no_grad():
            next_value = agent.act(next_obs)[3].reshape(1, -1)
            advantages = torch.zeros_like(rewards)
            last = 0
            for t in reversed(range(STEPS)):
                continues = 1.0 - (next_done if t == STEPS - 1 else dones[t + 1])
                following = next_value if t == STEPS - 1 else values[t + 1]
                delta = rewards[t] + 0.99 * following * continues - values[t]
                advantages[t] = last = delta + 0.99 * 0.95 * continues * last
            targets = advantages + values
        b_obs = obs.reshape(-1, 4, 84, 84)
        b_logprobs, b_actions, b_advantages, b_targets, b_values = (
            tensor.reshape(-1) for tensor in (logprobs, actions, advantages, targets, values)
        )
        order = np.arange(BATCH)
        for _ in range(EPOCHS):
            np.random.shuffle(order)  # noqa: NPY002, as CleanRL
            for start in range(0, BATCH, BATCH // MINIBATCHES):
                chosen = order[start : start + BATCH // MINIBATCHES]
                _, logprob, entropy, value = agent.act(b_obs[chosen], b_actions.long()[chosen])
                ratio = (logprob - b_logprobs[chosen]).exp()
                weight = b_advantages[chosen]
                weight = (weight - weight.mean()) / (weight.std() + 1e-8)
                policy_loss = torch.max(-weight * ratio, -weight * torch.clamp(ratio, 0.9, 1.1)).mean()
                value = value.view(-1)
                unclipped = (value - b_targets[chosen]) ** 2
                clipped = b_values[chosen] + torch.clamp(value - b_values[chosen], -0.1, 0.1)
                value_loss = 0.5 * torch.max(unclipped, (clipped - b_targets[chosen]) ** 2).mean()
                loss = policy_loss - 0.01 * entropy.mean() + 0.5 * value_loss
                optimizer.zero_grad()
                loss.backward()
                nn.utils.clip_grad_norm_(agent.parameters(), 0.5)
                optimizer.step()
    return means


def ours(
    environments: DoomEnvironments, seed: int, updates: int, method: Method | None = None, **changes: Any
) -> np.ndarray:
    """Train with lookright; for each update the mean return of the episodes that ended in it, or NaN."""
    with tempfile.TemporaryDirectory() as folder:
        settings = PPOSettings(
            Path(folder),
            method=method or ERM(),
            seed=seed,
            total_timesteps=updates * BATCH,
            checkpoint_every=updates,
            checkpoint_episodes=0,
            device="cpu",
            reward_scale=1.0,
            shaping={},
            **changes,
        )
        ppo._learn(settings, environments)
        log = pd.read_csv(Path(folder) / "metrics.csv")
    return log.reindex(columns=["train/return"]).to_numpy()[:, 0]


def sample_factory(python: str, updates: int) -> float:
    """Decisions a second of Sample Factory on `basic`, as it reports them."""
    frames = 4 * updates * BATCH
    options = {
        **{"env": "doom_basic", "device": "cpu", "experiment": "speed", "train_for_env_steps": frames},
        **{"num_workers": 2, "num_envs_per_worker": ENVIRONMENTS // 2, "rollout": STEPS, "num_epochs": EPOCHS},
        **{"batch_size": BATCH // MINIBATCHES, "num_batches_per_epoch": MINIBATCHES, "use_rnn": False},
        **{"encoder_conv_architecture": "convnet_atari", "res_w": 84, "res_h": 84, "save_every_sec": 10**6},
    }
    with tempfile.TemporaryDirectory() as folder:
        command = [python, "-m", "sf_examples.vizdoom.train_vizdoom", f"--train_dir={folder}"]
        command += [f"--{name}={value}" for name, value in options.items()]
        run = subprocess.run(command, capture_output=True, text=True, check=True)
    return float(re.findall(r"FPS: ([\d.]+)", run.stdout + run.stderr)[-1]) / 4


def play_at_random(environments: DoomEnvironments, updates: int) -> None:
    """What the environments do in so many updates, without an agent."""
    generator = np.random.default_rng(0)
    environments.reset(seed=seeds(0, 1, ENVIRONMENTS))
    for _ in range(updates * STEPS):
        environments.step(generator.integers(environments.single_action_space.n, size=ENVIRONMENTS))


def device() -> str:
    """What computes."""
    return f"{os.cpu_count()} cores of {processor()}, torch {torch.__version__}, threads: {torch.get_num_threads()}"


def speed(scenario: str, rounds: int, updates: int, other_python: str | None) -> None:
    """All variants, each round in another order; a quotient is the median of those within a round."""
    with (
        closing(vectorised(scenario, ENVIRONMENTS, mask=False)) as plain,
        closing(vectorised(scenario, ENVIRONMENTS, mask=True)) as masked,
        closing(vectorised(scenario, ENVIRONMENTS, mask=False, size=64)) as smaller,
        closing(vectorised(scenario, ENVIRONMENTS, mask=True, size=64)) as smaller_masked,
    ):
        variants: dict[str, Callable[[int], object]] = {
            "CleanRL": lambda updates: reference(plain, 0, updates),
            "lookright": lambda updates: ours(plain, 0, updates),
            "lookright, masks rendered": lambda updates: ours(masked, 0, updates),
            "lookright + CAMAL": lambda updates: ours(masked, 0, updates, CAMAL(weight=0.1)),
            "lookright, fast": lambda updates: ours(plain, 0, updates, **FAST),
            "lookright + CAMAL, fast": lambda updates: ours(masked, 0, updates, CAMAL(weight=0.1), **FAST),
            "lookright, fast, small network": lambda updates: ours(plain, 0, updates, **SMALL),
            "lookright + CAMAL, fast, small network": lambda updates: ours(
                masked, 0, updates, CAMAL(weight=0.1), **SMALL
            ),
            "lookright, fast, small network, 64 × 64": lambda updates: ours(smaller, 0, updates, size=64, **SMALL),
            "lookright + CAMAL, fast, small network, 64 × 64": lambda updates: ours(
                smaller_masked, 0, updates, CAMAL(weight=0.1), size=64, **SMALL
            ),
            "environments": lambda updates: play_at_random(plain, updates),
            "environments with masks": lambda updates: play_at_random(masked, updates),
        }
        names = list(variants)
        for variant in variants.values():  # the games start, and whatever is slow the first time
            variant(1)
        rates: dict[str, list[float]] = {name: [] for name in names}
        for turn in range(rounds):
            first = turn % len(names)
            for name in names[first:] + names[:first]:
                started = time.perf_counter()
                variants[name](updates)
                rates[name].append(updates * BATCH / (time.perf_counter() - started))
            if other_python:
                rates.setdefault("Sample Factory", []).append(sample_factory(other_python, 4 * updates))
            print(f"round {turn + 1}:", {name: round(values[-1]) for name, values in rates.items()}, flush=True)

    def quotient(name: str, base: str) -> float:
        return round(statistics.median(a / b for a, b in zip(rates[name], rates[base], strict=True)), 3)

    result = {
        "device": device(),
        "load": os.getloadavg()[0],
        "scenario": scenario,
        "rounds": rounds,
        "updates": updates,
        "steps_per_second": {name: round(statistics.median(values), 1) for name, values in rates.items()},
        "included": INCLUDED,
        **{
            f"{name} / CleanRL": quotient(name, "CleanRL") for name in rates if name.startswith(("lookright", "Sample"))
        },
        "lookright, masks rendered / lookright": quotient("lookright, masks rendered", "lookright"),
        "lookright + CAMAL / lookright": quotient("lookright + CAMAL", "lookright"),
        "environments with masks / without": quotient("environments with masks", "environments"),
    }
    (RESULTS / "rl_speed.json").write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(result, indent=2))


def learning(scenario: str, number: int, updates: int) -> None:
    """The same budget for both: mean training return over the last tenth of the updates, seed by seed."""
    last = slice(-max(1, updates // 10), None)
    rows = []
    for seed in range(number):
        with closing(vectorised(scenario, ENVIRONMENTS, mask=False)) as environments:
            returns = {
                "CleanRL": reference(environments, seed, updates),
                "lookright": ours(environments, seed, updates, bootstrap_truncated=False),
                "lookright, fast": ours(environments, seed, updates, bootstrap_truncated=False, **FAST),
            }
        means = {name: np.nanmean(values[last]) for name, values in returns.items()}
        rows.append({"scenario": scenario, "updates": updates, "seed": seed, **means, "device": device()})
        print(rows[-1], flush=True)
    table = pd.DataFrame(rows)
    path = RESULTS / "rl_learning.csv"
    others = pd.read_csv(path).query("scenario != @scenario") if path.is_file() else None
    pd.concat([others, table]).to_csv(path, index=False, float_format="%.6g")
    for name in returns:
        print(name, mean_interval(table[name]))
    for name in ("lookright", "lookright, fast"):
        print(name, "against CleanRL", paired_difference(table[name], table["CleanRL"]))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=["speed", "learning"])
    parser.add_argument("--scenario", default="basic")
    parser.add_argument("--rounds", type=int, default=5, help="speed: repetitions; learning: seeds")
    parser.add_argument("--updates", type=int, help=f"of {BATCH:,} steps each; default: {UPDATES}")
    parser.add_argument("--sample_factory", metavar="PYTHON", help="speed: the interpreter that has it")
    arguments = parser.parse_args()
    number = arguments.updates or UPDATES[arguments.what]
    if arguments.what == "speed":
        speed(arguments.scenario, arguments.rounds, number, arguments.sample_factory)
    else:
        learning(arguments.scenario, arguments.rounds, number)
