"""The decisions that are gathered between two updates."""

from dataclasses import dataclass, field

import numpy as np
import torch
from gymnasium.vector import AsyncVectorEnv, SyncVectorEnv
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor

from lookright.rl.agent_settings import PPOSettings
from lookright.rl.environments import seeds
from lookright.rl.policy import Policy, as_image


@dataclass
class Rollout:
    """T decisions in each of E environments.

    Attributes:
        frames: the stacks of frames that were decided on.
        masks: of the newest frames; None where no method asks for them.
        actions: taken.
        log_probabilities: of these, by the policy that played.
        values: of the states, by the same.
        rewards: scaled, shaped and clipped to [-1, 1]; at a time-out with the discounted value of the last frame, where
            that is asked for.
        ended: whether the episode ended with the decision.
        next_value: of the states after the last decisions.
        returns: of the episodes that ended, rewards not clipped.
        lengths: of these, in decisions.
    """

    frames: UInt8[Tensor, "T E stack h w"]
    masks: UInt8[Tensor, "T E h w"] | None
    actions: Int[Tensor, "T E"]
    log_probabilities: Float[Tensor, "T E"]
    values: Float[Tensor, "T E"]
    rewards: Float[Tensor, "T E"]
    ended: Bool[Tensor, "T E"]
    next_value: Float[Tensor, " E"]
    returns: list[float] = field(default_factory=list)
    lengths: list[float] = field(default_factory=list)


class Player:
    """Plays in all environments at once, rollout after rollout.

    Args:
        environments: to play in.
        settings: of the run.
        masked: keep the masks.
        device: of the policy and of what is gathered.
    """

    def __init__(
        self, environments: AsyncVectorEnv | SyncVectorEnv, settings: PPOSettings, masked: bool, device: torch.device
    ) -> None:
        self.environments, self.settings, self.masked, self.device = environments, settings, masked, device
        self.episode_return, self.episode_length = np.zeros(settings.num_envs), np.zeros(settings.num_envs)

    @torch.no_grad()
    def play(self, policy: Policy, update: int) -> Rollout:
        """The decisions of an update (1, 2, ...).

        Everything random is a function of the seed and the update. An episode cannot be taken up in its middle: after a
        checkpoint all environments start anew, whether the run was interrupted there or not.
        """
        settings, device = self.settings, self.device
        *environment_seeds, own_seed = seeds(settings.seed, update, settings.num_envs + 1)
        generator = torch.Generator(device).manual_seed(own_seed)
        if (update - 1) % settings.checkpoint_every == 0:
            self.observation, self.infos = self.environments.reset(seed=[*environment_seeds])
            self.episode_return[:], self.episode_length[:] = 0, 0

        shape, sight = (settings.num_steps, settings.num_envs), (settings.size, settings.size)
        rollout = Rollout(
            frames=torch.empty((*shape, 4, *sight), dtype=torch.uint8, device=device),
            masks=torch.empty((*shape, *sight), dtype=torch.uint8, device=device) if self.masked else None,
            actions=torch.empty(shape, dtype=torch.long, device=device),
            log_probabilities=torch.empty(shape, device=device),
            values=torch.empty(shape, device=device),
            rewards=torch.empty(shape, device=device),
            ended=torch.empty(shape, dtype=torch.bool, device=device),
            next_value=torch.empty(settings.num_envs, device=device),
        )
        for step in range(settings.num_steps):
            rollout.frames[step] = torch.as_tensor(self.observation["image"])
            if rollout.masks is not None:
                rollout.masks[step] = torch.as_tensor(self.observation["mask"])
            output, rollout.values[step] = policy(as_image(rollout.frames[step]))
            log_probability = output.logits.log_softmax(1)
            chosen = torch.multinomial(log_probability.exp(), 1, generator=generator)
            rollout.actions[step] = chosen[:, 0]
            rollout.log_probabilities[step] = log_probability.gather(1, chosen)[:, 0]

            actions = rollout.actions[step].cpu().numpy()
            before = self.infos
            self.observation, reward, terminated, truncated, self.infos = self.environments.step(actions)
            over = terminated | truncated
            shaped = settings.scale * reward
            for name, worth in settings.shaped.items():  # after the end of an episode the values are the next one's
                shaped += np.where(over, 0, worth * (self.infos[name] - before[name]))
            rollout.rewards[step] = torch.as_tensor(shaped.clip(-1, 1))
            rollout.ended[step] = torch.as_tensor(over)
            self.episode_return, self.episode_length = self.episode_return + reward, self.episode_length + 1
            rollout.returns += self.episode_return[over].tolist()
            rollout.lengths += self.episode_length[over].tolist()
            self.episode_return[over] = self.episode_length[over] = 0
            if settings.bootstrap_truncated:
                for index in np.flatnonzero(truncated):
                    last = torch.as_tensor(self.infos["final_obs"][index]["image"], device=device)
                    rollout.rewards[step, index] += settings.gamma * policy(as_image(last[None]))[1][0]
        rollout.next_value[:] = policy(as_image(torch.as_tensor(self.observation["image"], device=device)))[1]
        return rollout
