# ruff: noqa: D102
"""Masks and CAMAL in Sample Factory's learner, on ViZDoom's `basic`; see docs/masks-for-agents.md.

    python benchmarks/masks_in_sample_factory.py DIR [OPTIONS OF SAMPLE FACTORY]

The interpreter is that of an environment with `sample-factory` and `vizdoom`, and lookright without extras.
"""

import sys

import cv2
import gymnasium
import numpy as np
import vizdoom.gymnasium_wrapper  # noqa: F401, registers ViZDoom's environments
from sample_factory.algo.learning import learner_worker
from sample_factory.algo.learning.learner import Learner
from sample_factory.algo.utils.context import global_model_factory
from sample_factory.cfg.arguments import parse_full_cfg, parse_sf_args
from sample_factory.envs.env_utils import register_env
from sample_factory.model.encoder import Encoder
from sample_factory.train import run_rl
from torch import nn

import lookright
from lookright.rl.masks import ObjectMasks


class Screen(gymnasium.ObservationWrapper):
    """The screen alone, (3, 84, 84), by the name that Sample Factory scales: `obs`."""

    def __init__(self, environment):
        super().__init__(environment)
        screen = gymnasium.spaces.Box(0, 255, (3, 84, 84), np.uint8)
        self.observation_space = gymnasium.spaces.Dict(obs=screen)

    def observation(self, seen):
        small = cv2.resize(seen["screen"], (84, 84), interpolation=cv2.INTER_AREA)
        return {"obs": np.moveaxis(small, -1, 0)}


def make(name, cfg=None, env_config=None, render_mode=None):
    return ObjectMasks(Screen(gymnasium.make(name, frame_skip=4, render_mode=render_mode)), size=84)


class Frames(Encoder):
    """Features of the frame alone: the mask stays a target of training."""

    def __init__(self, cfg, spaces):
        super().__init__(cfg)
        layers = [
            nn.Conv2d(3, 32, 8, 4),
            nn.ReLU(),
            nn.Conv2d(32, 64, 4, 2),
            nn.ReLU(),
            nn.Conv2d(64, 64, 3),
            nn.ReLU(),
        ]
        self.cnn = nn.Sequential(*layers, nn.Flatten(), nn.Linear(64 * 7 * 7, 512), nn.ReLU())

    def forward(self, observations):
        return self.cnn(observations["obs"])

    def get_out_size(self):
        return 512


class Actor(nn.Module):
    """The policy as a classifier of frames into actions."""

    def __init__(self, policy):
        super().__init__()
        self.features, self.decoder, self.action = policy.encoder, policy.decoder, policy.action_parameterization

    def forward(self, image):
        return self.action(self.decoder(self.features({"obs": image})))[0]


class GuidedLearner(Learner):
    """PPO with guidance in every mini-batch. `_calculate_losses` is no public interface of Sample Factory."""

    def init(self):
        found = super().init()
        self.classifier = lookright.Classifier(
            Actor(self.actor_critic), features="features.cnn.5", input_size=(3, 84, 84)
        )
        self.method = lookright.CAMAL(weight=0.1)
        self.method.attach(self.classifier, self.optimizer)
        return found

    def _calculate_losses(self, mb, num_invalids):
        distribution, policy_loss, *others = super()._calculate_losses(mb, num_invalids)
        image, mask = mb.normalized_obs["obs"], mb.normalized_obs["mask"] / 255
        shows_target = ((mask.amax((1, 2)) > 0) & mb.valids).float()
        batch = {"image": image, "mask": mask, "mask_weight": shows_target, "label": mb.actions.flatten().long()}
        guidance = sum(self.method.guidance(self.classifier, self.classifier(image), batch).values())
        return distribution, policy_loss + guidance, *others


def main(folder, *arguments):
    learner_worker.Learner = GuidedLearner
    register_env("VizdoomBasic-v1", make)
    global_model_factory().register_encoder_factory(Frames)
    options = {
        **{"env": "VizdoomBasic-v1", "experiment": "guided", "train_dir": folder, "device": "cpu", "seed": 0},
        **{"serial_mode": True, "num_workers": 1, "num_envs_per_worker": 4, "worker_num_splits": 1, "use_rnn": False},
        **{"rollout": 32, "recurrence": 1, "batch_size": 128, "train_for_env_steps": 2048},
        **{"obs_scale": 255.0, "normalize_input": False},  # or the mask would be normalised, too
    }
    arguments = [f"--{name}={value}" for name, value in options.items()] + list(arguments)
    parser, _ = parse_sf_args(arguments)
    return run_rl(parse_full_cfg(parser, arguments))


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
