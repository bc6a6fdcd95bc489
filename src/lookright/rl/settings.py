"""All settings of an agent's training, from the command line, a YAML file or a dict, and back."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import jsonargparse
import yaml

from lookright.errors import InputError
from lookright.methods import ERM, Method


@dataclass
class PPOSettings:
    """What a run is made of. Names and defaults of the algorithm are those of CleanRL's `ppo_atari.py`.

    Attributes:
        out: directory of the run.
        scenario: a scenario of the vizdoom package, or the path of a `.cfg` file.
        targets: names or categories of the objects in the masks; None: the scenario's own.
        method: what the attention is trained with, besides PPO's loss: a class name and its arguments.
        name: what reports call the run's method; its class name unless given.
        seed: of everything random.
        total_timesteps: decisions over all environments.
        learning_rate: of Adam.
        num_envs: environments that play at the same time, each in its own process.
        num_steps: decisions per environment between two updates.
        anneal_lr: let the learning rate fall to 0 linearly.
        gamma: discount factor.
        gae_lambda: λ of generalised advantage estimation.
        num_minibatches: parts into which the decisions of an update are shuffled.
        update_epochs: passes over the decisions of an update.
        norm_adv: give the advantages of a mini-batch mean 0 and standard deviation 1.
        clip_coef: ε, how far the probability ratio may leave 1.
        clip_vloss: clip the change of the value, too, by the same ε.
        ent_coef: factor of the entropy.
        vf_coef: factor of the value's loss.
        max_grad_norm: largest norm of the gradient.
        target_kl: end an update's passes when the policy has moved so far (Kullback-Leibler divergence); None: never.
        bootstrap_truncated: at a time-out, add the discounted value of the last frame to the reward; CleanRL does not.
        checkpoint_every: updates between two checkpoints. At each one all environments start new episodes, so that a
            resumed run equals an unbroken one.
        checkpoint_episodes: episodes played at each checkpoint to follow return and alignment.
        episodes: of the evaluation at the end.
        device: auto, cpu or cuda.
    """

    out: Path
    scenario: str = "basic"
    targets: list[str] | None = None
    method: Method = field(default_factory=ERM)
    name: str | None = None
    seed: int = 0
    total_timesteps: int = 10_000_000
    learning_rate: float = 2.5e-4
    num_envs: int = 8
    num_steps: int = 128
    anneal_lr: bool = True
    gamma: float = 0.99
    gae_lambda: float = 0.95
    num_minibatches: int = 4
    update_epochs: int = 4
    norm_adv: bool = True
    clip_coef: float = 0.1
    clip_vloss: bool = True
    ent_coef: float = 0.01
    vf_coef: float = 0.5
    max_grad_norm: float = 0.5
    target_kl: float | None = None
    bootstrap_truncated: bool = True
    checkpoint_every: int = 20
    checkpoint_episodes: int = 4
    episodes: int = 20
    device: Literal["auto", "cpu", "cuda"] = "auto"

    @property
    def batch_size(self) -> int:
        """Decisions of an update."""
        return self.num_envs * self.num_steps

    @property
    def updates(self) -> int:
        """Of the whole training; what remains below one update is not played."""
        return self.total_timesteps // self.batch_size


def settings_parser() -> jsonargparse.ArgumentParser:
    """The parser whose arguments are those of `PPOSettings`."""
    parser = jsonargparse.ArgumentParser(exit_on_error=False)
    add_settings(parser)
    return parser


def add_settings(parser: jsonargparse.ArgumentParser) -> None:
    """Add the arguments of `PPOSettings` to a parser, and `--config FILE`."""
    parser.add_argument("--config", action=jsonargparse.ActionConfigFile, help="YAML file with any of these settings.")
    parser.add_class_arguments(PPOSettings)
    parser.set_defaults({"method": {"class_path": "ERM"}})


def parse_settings(config: Mapping[str, Any]) -> jsonargparse.Namespace:
    """Check a nested dict of settings, fill in the defaults.

    Raises:
        InputError: an unknown or missing setting, or a value of the wrong type.
    """
    try:
        return settings_parser().parse_object(dict(config))
    except (jsonargparse.ArgumentError, ValueError, KeyError) as error:
        raise InputError(f"Settings: {error}") from error


def instantiate(namespace: jsonargparse.Namespace) -> PPOSettings:
    """The settings as an object, with its method built.

    Raises:
        InputError: settings that do not fit together.
    """
    names = PPOSettings.__dataclass_fields__
    known = jsonargparse.Namespace(**{key: value for key, value in namespace.items() if key.split(".")[0] in names})
    built = settings_parser().instantiate_classes(known)
    settings = PPOSettings(**{key: built[key] for key in names})
    if settings.updates < 1:
        raise InputError(
            f"total_timesteps = {settings.total_timesteps} is less than one update of num_envs x num_steps = "
            f"{settings.num_envs} x {settings.num_steps} = {settings.batch_size} decisions; raise it."
        )
    if settings.batch_size % settings.num_minibatches or settings.batch_size < 2 * settings.num_minibatches:
        raise InputError(
            f"num_minibatches = {settings.num_minibatches} does not divide num_envs x num_steps = "
            f"{settings.batch_size} into parts of two or more decisions; take one that does."
        )
    if settings.method.takes_turns:
        raise InputError(
            f"{type(settings.method).__name__} takes turns with the classifier and cannot guide a policy; "
            "use CAMAL, CYBORG or ERM."
        )
    return settings


def write_settings(namespace: jsonargparse.Namespace, path: Path) -> None:
    """Write `config.yaml`, from which `read_settings` gives the same settings."""
    path.write_text(settings_parser().dump(namespace, skip_none=False))


def read_settings(path: Path) -> jsonargparse.Namespace:
    """Read what `write_settings` wrote.

    Raises:
        InputError: there is no such file, or it is not what `write_settings` writes.
    """
    if not path.is_file():
        raise InputError(f"No {path.name} in {str(path.parent)!r}. Expected the directory of an agent's run.")
    return parse_settings(yaml.safe_load(path.read_text()))
