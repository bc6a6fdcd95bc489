"""What a trained agent achieves, where it looks, and whether its maps are faithful."""

from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float64, Int, UInt8
from torch import Tensor

from lookright import metrics
from lookright.attribution import class_map, contrast, minmax, relu
from lookright.classifier import Classifier, evaluating
from lookright.errors import InputError
from lookright.measures import CONTRAST, LOGIT, measures_of
from lookright.replacing import replacing
from lookright.rl.agent_settings import PPOSettings, instantiate, read_settings
from lookright.rl.environments import DoomEnvironment, seeds
from lookright.rl.policy import NETWORKS, Policy, as_image
from lookright.rl.shifts import Shift
from lookright.run_directory import none_for_nan, only_writer, read_facts, read_json, read_weights, write_json

EVALUATION_SEED = 1_000_003
"""Of the episodes of every evaluation, so that all agents of a scenario meet the same ones; no training uses it."""

FAITHFULNESS_FRAMES = 16
"""Frames an episode, evenly spread, on which insertion and deletion are measured."""

STEPS = 16
"""Points of the insertion and deletion curves besides the first."""


@dataclass
class Episode:
    """What an agent saw and did; T decisions.

    Attributes:
        frames: the stacks of frames, as the network gets them.
        mask: of the newest frame, 0 to 255.
        screen: the newest frame as rendered.
        action: taken.
        reward: unclipped.
    """

    frames: UInt8[Tensor, "T stack h w"]
    mask: UInt8[Tensor, "T h w"]
    screen: UInt8[np.ndarray, "T H W 3"]
    action: Int[Tensor, " T"]
    reward: Float64[np.ndarray, " T"]


def play(classifier: Classifier | None, environment: DoomEnvironment, seed: int, greedy: bool = False) -> Episode:
    """Play one episode.

    Args:
        classifier: of frames into actions; None presses buttons at random.
        environment: with masks.
        seed: of the episode and of the actions drawn.
        greedy: take the most probable action instead of drawing from the policy.
    """
    generator = torch.Generator().manual_seed(seed)
    uniform = torch.ones(len(environment.actions))
    device = next(classifier.parameters()).device if classifier else None
    frames, masks, screens, actions, rewards = [], [], [], [], []
    observation, _ = environment.reset(seed=seed)
    over = False
    while not over:
        frames.append(torch.from_numpy(observation["image"]))
        masks.append(torch.from_numpy(observation["mask"]))
        screens.append(environment.render())
        probability = uniform
        if classifier:
            with torch.no_grad():
                probability = classifier(as_image(frames[-1][None].to(device))).logits[0].softmax(0).cpu()
        action = probability.argmax() if greedy else torch.multinomial(probability, 1, generator=generator)[0]
        observation, reward, terminated, truncated, _ = environment.step(int(action))
        over = terminated or truncated
        actions.append(action)
        rewards.append(reward)
    return Episode(torch.stack(frames), torch.stack(masks), np.stack(screens), torch.stack(actions), np.array(rewards))


def evaluate_policy(
    classifier: Classifier | None,
    scenario: str,
    episodes: int,
    faithfulness_frames: int = FAITHFULNESS_FRAMES,
    **options: Any,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Play episodes and measure them.

    Every map explains the action that was taken. Alignment is defined for frames that show a target.

    Args:
        classifier: of frames into actions; None presses buttons at random, and has no maps.
        scenario: see `DoomEnvironment`.
        episodes: how many; the same ones for every agent.
        faithfulness_frames: frames an episode on which insertion and deletion are measured; 0: none.
        **options: of `DoomEnvironment`.

    Returns:
        A table of episodes and a table of frames.
    """
    rows, frames = [], []
    with closing(DoomEnvironment(scenario, **options)) as environment:
        for index, seed in enumerate(seeds(EVALUATION_SEED, 0, episodes)):
            episode = play(classifier, environment, seed)
            length = len(episode.action)
            rows.append({"episode": index, "return": episode.reward.sum(), "length": length})
            table = {"episode": np.full(length, index), "step": np.arange(length), "action": episode.action.numpy()}
            if classifier:
                table |= _measure(classifier, episode, faithfulness_frames)
            frames.append(pd.DataFrame(table))
    return pd.DataFrame(rows), pd.concat(frames, ignore_index=True)


def play_shifted(agent: "TrainedAgent", shifts: Sequence[Shift], episodes: int) -> pd.DataFrame:
    """Return and length of the evaluation's episodes in scenarios that look different, with rewards as they were.

    Args:
        agent: plays.
        shifts: how they look.
        episodes: how many of each.
    """
    settings, rows = agent.settings, []
    for shift in shifts:
        with closing(DoomEnvironment(settings.scenario, shift=shift, **settings.seen)) as environment:
            for index, seed in enumerate(seeds(EVALUATION_SEED, 0, episodes)):
                reward = play(agent.classifier, environment, seed).reward
                rows.append({"shift": shift, "episode": index, "return": reward.sum(), "length": len(reward)})
    return pd.DataFrame(rows)


def _measure(classifier: Classifier, episode: Episode, faithfulness_frames: int) -> dict[str, np.ndarray]:
    """Alignment and faithfulness of each frame; NaN where it is undefined or not measured."""
    device = next(classifier.parameters()).device
    length = len(episode.action)
    chosen = torch.zeros(length, dtype=torch.bool)
    chosen[torch.linspace(0, length - 1, min(faithfulness_frames, length)).long()] = True
    columns: dict[str, list[Tensor]] = {}
    with evaluating(classifier):
        for part in torch.arange(length).split(256):
            image, action = as_image(episode.frames[part].to(device)), episode.action[part].to(device)
            mask = as_image(episode.mask[part].to(device))
            output = classifier(image)
            signed = class_map(classifier, output, action).detach()
            maps = {"": signed, CONTRAST: contrast(classifier, output, action).detach()}
            values = {"mask_share": torch.where(mask.amax((1, 2)) > 0, mask.mean((1, 2)), torch.nan)}
            for measure in measures_of("alignment", "curves"):
                function = measure.load()
                values |= {prefix + measure.name: function(minmax(relu(map)), mask) for prefix, map in maps.items()}
            subset = chosen[part].to(device)
            arguments = (classifier, image[subset], signed[subset], action[subset])
            for measure, prefix in product(measures_of("faithfulness", "curves"), ("", LOGIT)):
                values[prefix + measure.name] = torch.full_like(values["mask_share"], torch.nan)
                if subset.any():
                    score = "logit" if prefix else "probability"
                    curve = measure.load()(*arguments, steps=STEPS, score=score)
                    values[prefix + measure.name][subset] = metrics.auc(curve)
            for name, value in values.items():
                columns.setdefault(name, []).append(value.cpu())
    return {name: torch.cat(parts).numpy() for name, parts in columns.items()}


def summary(episodes: pd.DataFrame, frames: pd.DataFrame) -> dict[str, float | None]:
    """Means over episodes and over frames. None: defined for no frame.

    Energy in mask has no value where the map has nothing positive, more often for some agents than for others. So
    `frames_with_map` counts the frames that have one, and `mask_share`, what a flat map scores, is over the same ones.
    """
    result: dict[str, float] = {"episodes": len(episodes), "frames": len(frames)}
    result |= {name: float(episodes[name].mean()) for name in ("return", "length")}
    measured = frames.columns.drop(["episode", "step", "action"])
    if len(measured):
        with_map = frames["energy_in_mask"].notna()
        result["frames_with_target"] = int(frames["mask_share"].notna().sum())
        result["frames_with_map"] = int(with_map.sum())
        frames = frames.assign(mask_share=frames["mask_share"].where(with_map))
    result |= {name: float(frames[name].mean()) for name in measured}
    return none_for_nan(result)


@dataclass
class TrainedAgent:
    """A run that has its weights.

    Attributes:
        settings: it was trained with.
        classifier: of frames into actions, in eval mode.
        facts: kept with the weights.
    """

    settings: PPOSettings
    classifier: Classifier
    facts: dict[str, Any]


def load_agent(run: Path) -> TrainedAgent:
    """Load a trained agent.

    Raises:
        InputError: no run, or one without weights.
    """
    settings = instantiate(read_settings(run / "config.yaml"))
    path = run / "model.safetensors"
    if not path.is_file():
        raise InputError(
            f"The run {str(run)!r} has no model.safetensors: it was not finished. "
            f"Continue it with lookright rl train --resume {run}."
        )
    facts = read_facts(path, {"actions": int, "timesteps": int, "steps_per_second": (int, float)})
    weights = read_weights(path)
    try:
        model = NETWORKS[settings.network](facts["actions"], size=settings.size)
        model.load_state_dict(weights)
    except (RuntimeError, ValueError) as error:
        raise InputError(f"The weights {str(path)!r} are not those of an agent: {error}") from error
    return TrainedAgent(settings, Policy(model).classifier.eval(), facts)


def evaluate(run: Path, episodes: int | None = None, shifts: Sequence[Shift] | None = None) -> dict[str, Any]:
    """Play a trained agent's evaluation episodes; write `result.json` and the tables in `evaluation/`.

    Args:
        run: directory of the run.
        episodes: how many; by default as many as its settings say.
        shifts: other looks of the scenario in which it plays as many, too; by default those that its settings say.

    Returns:
        The content of `result.json`.

    Raises:
        InputError: no run, one without weights or that another process is writing, or less than one episode.
    """
    if episodes is not None and episodes < 1:
        raise InputError(f"episodes = {episodes}; expected 1 or more.")
    agent = load_agent(run)
    with only_writer(run):
        return measure(run, agent, episodes, shifts)


def measure(
    run: Path, agent: TrainedAgent, episodes: int | None = None, shifts: Sequence[Shift] | None = None
) -> dict[str, Any]:
    """As `evaluate`, by the run's only writer."""
    settings = agent.settings
    episodes = episodes or settings.episodes
    shifts = settings.shifts if shifts is None else shifts
    if settings.device != "cpu" and torch.cuda.is_available():
        agent.classifier.to("cuda")
    tables = evaluate_policy(agent.classifier, settings.scenario, episodes, **settings.seen)
    shifted = play_shifted(agent, shifts, episodes)
    (run / "evaluation").mkdir(exist_ok=True)
    named = dict(zip(("episodes", "frames"), tables, strict=True)) | ({"shifted": shifted} if shifts else {})
    for name, table in named.items():
        with replacing(run / "evaluation" / f"{name}.csv") as draft:
            table.to_csv(draft, index=False, float_format="%.6g")
    method = type(settings.method).__name__
    result = {
        "scenario": settings.scenario,
        "method": method,
        "name": settings.name or method,
        "seed": settings.seed,
        **{key: agent.facts[key] for key in ("timesteps", "steps_per_second")},
        **summary(*tables),
    }
    for shift in shifts:
        result[f"return_{shift}"] = float(shifted.loc[shifted["shift"] == shift, "return"].mean())
    if not shifts:
        (run / "evaluation" / "shifted.csv").unlink(missing_ok=True)
    write_json(run / "result.json", result)
    return result


def read_result(run: Path) -> dict[str, Any]:
    """The content of `result.json`, with what `summary` says of the tables in `evaluation/`.

    So an agent that was evaluated before something was summarised has it, too.
    """
    paths = [run / "evaluation" / f"{name}.csv" for name in ("episodes", "frames")]
    try:
        measured = summary(*(pd.read_csv(path) for path in paths))
    except (ValueError, KeyError, TypeError, AttributeError) as error:  # pandas' own are ValueErrors
        raise InputError(
            f"Cannot read the tables in {str(run / 'evaluation')!r} ({type(error).__name__}: {error}). Evaluate the "
            f"agent again with lookright rl evaluate {run}."
        ) from error
    return read_json(run / "result.json") | measured
