"""All settings of an agent's training."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from lookright.errors import InputError
from lookright.methods import ERM, Method
from lookright.methods.method import changes_forward, has_views
from lookright.ranges import Checked, within
from lookright.rl.guidance import Guided, MaskControl
from lookright.rl.masks import Objects
from lookright.rl.scenarios import scenario_of
from lookright.rl.shifts import Shift
from lookright.run_directory.settings_file import SettingsFile


@dataclass
class PPOSettings(Checked):
    """What a run is made of. Names and defaults of the algorithm are those of CleanRL's `ppo_atari.py`.

    Attributes:
        out: directory of the run.
        scenario: a scenario of the vizdoom package, or the path of a `.cfg` file.
        targets: names or categories of the objects in the masks; None: what suits the scenario.
        method: what the attention is trained with, besides PPO's loss: a class name and its arguments.
        guided: whose map the method guides: of the `action` taken, the same weighed by its `advantage`, or of the
            `value`, see `lookright.rl.guidance`.
        objects: which of the targets in sight are in the masks that guide: `all`, the `nearest`, the one `aimed_at`,
            those `moving`. An evaluation measures against all of them.
        mask_control: wrong masks on purpose, while training alone: `shifted`, `random` or `empty`.
        name: what reports call the run's method; its class name unless given.
        seed: of everything random.
        network: `nature`, or the `small` one before it, see `lookright.rl.policy`.
        size: height and width of the frames that the agent sees.
        frame_skip: game tics (1/35 s) per decision, during which the button stays pressed; None: what
            suits the scenario, see `lookright.rl.scenarios`.
        precision: of the network's multiplications: fp32, or bf16, which takes half the time where a processor has it.
        play_ahead: while learning from the decisions of an update, already play those of the next one, with the policy
            as it was before; the ratio of PPO corrects for that.
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
        reward_scale: factor of the rewards, before they are clipped to [-1, 1]; None: what suits the scenario.
        shaping: by names of ViZDoom's game variables, what a change of each by 1 adds to the scaled reward while
            training: `{HEALTH: 0.01}`. Returns are told without it. None: what suits the scenario; `{}`: nothing.
        checkpoint_every: updates between two checkpoints. At each one all environments start new episodes, so that a
            resumed run equals an unbroken one.
        checkpoint_episodes: episodes played at each checkpoint to follow return and alignment.
        episodes: of the evaluation at the end.
        shifts: other looks of the scenario in which the evaluation measures the return, too, see `lookright.rl.shifts`.
        device: auto, cpu or cuda.

    Raises:
        InputError: a setting out of its range, or settings that do not fit together.
    """

    out: Path
    scenario: str = "basic"
    targets: list[str] | None = None
    method: Method = field(default_factory=ERM)
    guided: Guided = "action"
    objects: Objects = "all"
    mask_control: MaskControl | None = None
    name: str | None = None
    seed: int = within(0, least=0, most=2**32 - 1)
    network: Literal["nature", "small"] = "nature"
    size: int = within(84, least=44, most=512)
    frame_skip: int | None = within(None, least=1, most=1000)
    precision: Literal["fp32", "bf16"] = "fp32"
    play_ahead: bool = False
    total_timesteps: int = within(10_000_000, least=1, most=10**12)
    learning_rate: float = within(2.5e-4, least=0, most=1e4)
    num_envs: int = within(8, least=1, most=1024)
    num_steps: int = within(128, least=1, most=10**5)
    anneal_lr: bool = True
    gamma: float = within(0.99, least=0, most=1)
    gae_lambda: float = within(0.95, least=0, most=1)
    num_minibatches: int = within(4, least=1)
    update_epochs: int = within(4, least=1, most=10**4)
    norm_adv: bool = True
    clip_coef: float = within(0.1, least=0)
    clip_vloss: bool = True
    ent_coef: float = within(0.01, least=0)
    vf_coef: float = within(0.5, least=0)
    max_grad_norm: float = within(0.5, above=0)
    target_kl: float | None = within(None, above=0)
    bootstrap_truncated: bool = True
    reward_scale: float | None = within(None, above=0)
    shaping: dict[str, float] | None = None
    checkpoint_every: int = within(20, least=1, most=10**9)
    checkpoint_episodes: int = within(4, least=0, most=10**5)
    episodes: int = within(20, least=1, most=10**5)
    shifts: list[Shift] = field(default_factory=list)
    device: Literal["auto", "cpu", "cuda"] = "auto"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.updates < 1:
            raise InputError(
                f"total_timesteps = {self.total_timesteps} is less than one update of num_envs x num_steps = "
                f"{self.num_envs} x {self.num_steps} = {self.batch_size} decisions; raise it."
            )
        if self.batch_size % self.num_minibatches or self.batch_size < 2 * self.num_minibatches:
            raise InputError(
                f"num_minibatches = {self.num_minibatches} does not divide num_envs x num_steps = "
                f"{self.batch_size} into parts of two or more decisions; take one that does."
            )
        if changes_forward(self.method):
            raise InputError(
                f"{type(self.method).__name__} changes what the model sees or computes while it learns, and a policy "
                "has to learn as it played; use CAMAL, CYBORG or ERM."
            )
        if self.guided == "value" and has_views(self.method):
            raise InputError(
                f"{type(self.method).__name__} compares views of a frame, and guided='value' guides one map a frame. "
                "Use CAMAL or CYBORG, or guide the action."
            )
        if "label" in self.method.needs:
            raise InputError(
                f"{type(self.method).__name__} trains towards the labels, and those of a policy are the actions that "
                "it took, good or bad; use CAMAL, CYBORG or ERM."
            )

    @property
    def scale(self) -> float:
        """Of the rewards."""
        return self.reward_scale or scenario_of(self.scenario).reward_scale

    @property
    def shaped(self) -> Mapping[str, float]:
        """What changes of game variables are worth."""
        return scenario_of(self.scenario).shaping if self.shaping is None else self.shaping

    @property
    def seen(self) -> dict[str, Any]:
        """Arguments of `DoomEnvironment` for what the agent sees, in training and in evaluation."""
        skip = self.frame_skip or scenario_of(self.scenario).frame_skip
        return {"targets": self.targets, "size": self.size, "skip": skip}

    @property
    def batch_size(self) -> int:
        """Decisions of an update."""
        return self.num_envs * self.num_steps

    @property
    def updates(self) -> int:
        """Of the whole training; what remains below one update is not played."""
        return self.total_timesteps // self.batch_size


settings_file = SettingsFile(PPOSettings, {"method": "ERM"})
parse_settings = settings_file.parse
instantiate = settings_file.instantiate
write_settings = settings_file.write
read_settings = settings_file.read
