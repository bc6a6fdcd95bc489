"""Proximal policy optimisation with an attention loss: CleanRL's `ppo_atari.py` plus the guidance of a method.

Schulman et al., "Proximal Policy Optimization Algorithms", arXiv 1707.06347, with the details of Huang et al., "The 37
Implementation Details of Proximal Policy Optimization", ICLR blog track 2022. Reads from top to bottom.
"""

import time
import warnings
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from functools import partial
from pathlib import Path
from statistics import fmean
from typing import Any

import jsonargparse
import torch
from gymnasium.vector import AsyncVectorEnv, SyncVectorEnv
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.distributions import Categorical
from torch.utils.tensorboard import SummaryWriter

from lookright.batch import Batch
from lookright.data.bestiary.engine import ATTEMPTS
from lookright.errors import InputError
from lookright.methods import Method
from lookright.methods.stochastic import add_to_seeds
from lookright.rl.agent_settings import PPOSettings, instantiate, parse_settings, read_settings, write_settings
from lookright.rl.environments import DoomEnvironment, EngineError, seeds, vectorised
from lookright.rl.evaluate import evaluate_policy, load_agent, measure, summary
from lookright.rl.guidance import controlled, decision, guided_weight
from lookright.rl.policy import NETWORKS, Policy, as_image
from lookright.rl.rollout import Player, Rollout
from lookright.rl.scenarios import scenario_of
from lookright.run_directory import (
    MetricsLog,
    environment,
    only_writer,
    read_checkpoint,
    require_empty,
    save_model,
    write_checkpoint,
    write_json,
)
from lookright.time_left import with_time_left
from lookright.trust import trusting

PACKAGES = ("lookright", "torch", "numpy", "vizdoom", "gymnasium")


def advantages(
    rewards: Float[Tensor, "steps envs"],
    values: Float[Tensor, "steps envs"],
    ended: Bool[Tensor, "steps envs"],
    next_value: Float[Tensor, " envs"],
    gamma: float,
    gae_lambda: float,
) -> Float[Tensor, "steps envs"]:
    """Generalised advantage estimation: A_t = δ_t + γλ A_{t+1}, δ_t = r_t + γ V_{t+1} − V_t, within an episode.

    Schulman et al., "High-Dimensional Continuous Control Using Generalized Advantage Estimation", ICLR 2016.

    Args:
        rewards: r_t.
        values: V_t.
        ended: whether the episode ended with step t, so that nothing follows.
        next_value: the value after the last step.
        gamma: γ.
        gae_lambda: λ.
    """
    following = torch.cat([values[1:], next_value[None]])
    delta = rewards + gamma * following * ~ended - values
    result = torch.zeros_like(rewards)
    advantage = torch.zeros_like(next_value)
    for step in reversed(range(len(rewards))):
        result[step] = advantage = delta[step] + gamma * gae_lambda * ~ended[step] * advantage
    return result


def policy_loss(advantage: Float[Tensor, " B"], ratio: Float[Tensor, " B"], clip_coef: float) -> Float[Tensor, " B"]:
    """−min(r A, clip(r, 1 − ε, 1 + ε) A) of each decision, the clipped surrogate (Schulman et al. 2017, equation 7)."""
    return torch.max(-advantage * ratio, -advantage * ratio.clamp(1 - clip_coef, 1 + clip_coef))


def value_loss(
    value: Float[Tensor, " B"], old: Float[Tensor, " B"], target: Float[Tensor, " B"], clip_coef: float | None
) -> Float[Tensor, " B"]:
    """½ max((V − R)², (clip(V, V_old − ε, V_old + ε) − R)²) of each decision; without clipping ½ (V − R)²."""
    error = (value - target).square()
    if clip_coef is not None:
        error = torch.max(error, (old + (value - old).clamp(-clip_coef, clip_coef) - target).square())
    return 0.5 * error


def train(config: Mapping[str, Any] | jsonargparse.Namespace) -> Path:
    """Train from a dict with the keys of `PPOSettings`, evaluate, and write the run's directory.

    Raises:
        InputError: bad settings, a device that is not there, `out` already holds files or is written by another
            process, or the loss is not finite.
    """
    namespace = config if isinstance(config, jsonargparse.Namespace) else parse_settings(config)
    settings = instantiate(namespace)
    _device(settings)
    require_empty(settings.out)
    for shift in (None, *settings.shifts):  # complains before anything is written
        DoomEnvironment(settings.scenario, shift=shift, variables=list(settings.shaped), **settings.seen).close()
    settings.out.mkdir(parents=True, exist_ok=True)
    with only_writer(settings.out), trusting():  # what the user asked for
        require_empty(settings.out)
        write_settings(namespace, settings.out / "config.yaml")
        return _run(settings.out)


def resume(out: Path) -> Path:
    """Continue an interrupted run from its last checkpoint; one without a checkpoint starts again.

    On the CPU the result equals that of an unbroken run bit for bit. A run that is trained is only evaluated.

    Raises:
        InputError: no run, a finished one, or one that another process is writing.
    """
    read_settings(out / "config.yaml")
    with only_writer(out):
        if (out / "result.json").is_file():
            raise InputError(f"The run {str(out)!r} is finished. Evaluate it, or train a new one with another --out.")
        return _run(out)


def _run(out: Path) -> Path:
    for attempt in range(ATTEMPTS):
        try:
            if not (out / "model.safetensors").is_file():
                settings = instantiate(read_settings(out / "config.yaml"))
                settings.out = out
                options = settings.seen | {"objects": settings.objects, "variables": list(settings.shaped)}
                options["mask"] = "mask" in settings.method.needs
                with closing(vectorised(settings.scenario, settings.num_envs, **options)) as environments:
                    _learn(settings, environments)
            measure(out, load_agent(out))
            break
        except EngineError as error:
            if attempt == ATTEMPTS - 1:
                raise
            warnings.warn(f"{error} This one goes on by itself.", stacklevel=2)
    return out


def _learn(settings: PPOSettings, environments: AsyncVectorEnv | SyncVectorEnv) -> None:
    device = _device(settings)
    write_json(
        settings.out / "environment.json", environment(PACKAGES, device.type == "cuda") | {"seed": settings.seed}
    )

    # The agent: a classifier of frames into actions, guided by the method, and a critic.
    torch.manual_seed(settings.seed)
    actions_number = int(environments.single_action_space.n)  # type: ignore[attr-defined]
    network = partial(NETWORKS[settings.network], actions_number, size=settings.size, half=settings.precision == "bf16")
    policy = Policy(network()).to(device)
    classifier, method = policy.classifier, settings.method
    add_to_seeds(method, settings.seed)
    optimizer = torch.optim.Adam(policy.parameters(), lr=settings.learning_rate, eps=1e-5, fused=True)
    method.attach(classifier, optimizer)
    parameters = [*policy.parameters(), *method.parameters()]
    rates = [group["lr"] for group in optimizer.param_groups]  # a method's own parameters are groups of their own

    # Where the run was left.
    checkpoint = settings.out / "last.ckpt"
    done, seconds = _take_up(checkpoint, policy, method, optimizer, device)
    log = MetricsLog(settings.out / "metrics.csv", done * settings.batch_size + 1)

    # What is played, and by whom. One that plays ahead needs the policy as it was before.
    player = Player(environments, settings, "mask" in method.needs, device)
    former = Policy(network()).to(device) if settings.play_ahead else policy
    ahead: Future[Rollout] | None = None
    target_seen = not player.masked or done > 0

    updates = range(done + 1, settings.updates + 1)
    with (
        SummaryWriter(str(settings.out / "tensorboard"), purge_step=done * settings.batch_size + 1) as board,
        ThreadPoolExecutor(max_workers=1) as executor,
    ):
        for update in with_time_left(updates, settings.out.name, len(updates)):
            started = time.perf_counter()
            at_checkpoint = update % settings.checkpoint_every == 0 or update == settings.updates
            torch.manual_seed(seeds(settings.seed, update, settings.num_envs + 2)[-1])
            if settings.anneal_lr:
                for group, rate in zip(optimizer.param_groups, rates, strict=True):
                    group["lr"] = (1 - (update - 1) / settings.updates) * rate

            # Play.
            rollout = ahead.result() if ahead else player.play(policy, update)
            ahead = None
            if settings.play_ahead and not at_checkpoint:
                former.load_state_dict(policy.state_dict())
                ahead = executor.submit(player.play, former, update + 1)
            frames, masks, actions, values = rollout.frames, rollout.masks, rollout.actions, rollout.values
            target_seen = target_seen or bool(masks.any())  # type: ignore[union-attr]
            advantage = advantages(
                rollout.rewards, values, rollout.ended, rollout.next_value, settings.gamma, settings.gae_lambda
            )
            target = advantage + values

            # Learn.
            clip_fractions = []
            for _ in range(settings.update_epochs):
                order = torch.randperm(settings.batch_size, device=device)
                for chosen in order.chunk(settings.num_minibatches):
                    image, action = as_image(frames.flatten(0, 1)[chosen]), actions.flatten()[chosen]
                    image.requires_grad_("image_gradient" in method.needs)
                    output, value = policy(image)
                    distribution = Categorical(logits=output.logits)
                    log_ratio = distribution.log_prob(action) - rollout.log_probabilities.flatten()[chosen]
                    ratio = log_ratio.exp()
                    with torch.no_grad():
                        # http://joschu.net/blog/kl-approx.html
                        approximate_kl = ((ratio - 1) - log_ratio).mean()
                        clip_fractions.append(((ratio - 1).abs() > settings.clip_coef).float().mean())

                    weight = advantage.flatten()[chosen]
                    if settings.norm_adv:
                        weight = (weight - weight.mean()) / (weight.std() + 1e-8)
                    task = {
                        "policy": policy_loss(weight, ratio, settings.clip_coef),
                        "value": settings.vf_coef
                        * value_loss(
                            value,
                            values.flatten()[chosen],
                            target.flatten()[chosen],
                            settings.clip_coef if settings.clip_vloss else None,
                        ),
                        "entropy": -settings.ent_coef * distribution.entropy(),
                    }

                    # What the decision rests on, where something that matters is in sight.
                    batch: Batch = {"image": image, "label": action}
                    if masks is not None:
                        mask = as_image(masks.flatten(0, 1)[chosen])
                        in_sight = mask.amax((1, 2)) > 0
                        batch["mask"] = controlled(mask, in_sight, settings.mask_control)
                        batch["mask_weight"] = guided_weight(in_sight, weight, settings.guided)
                    explained, target_logit = decision(settings.guided, output, value, action)
                    task_weight = method.weigh(classifier, output, batch)
                    terms = {name: (task_weight * loss).mean() for name, loss in task.items()}
                    guidance = method.guidance(classifier, explained, {**batch, "label": target_logit})
                    terms |= method.balance(classifier, torch.stack(list(terms.values())).sum(), guidance)

                    loss = torch.stack(list(terms.values())).sum()
                    if not loss.isfinite():
                        log.save()
                        raise InputError(
                            f"The loss became {loss.item():g} in update {update} "
                            f"({', '.join(f'{name} {term.item():g}' for name, term in terms.items())}). "
                            "The last checkpoint is kept. Lower learning_rate or the weight of the method."
                        )
                    optimizer.zero_grad()
                    loss.backward()
                    nn.utils.clip_grad_norm_(parameters, settings.max_grad_norm)
                    optimizer.step()
                if settings.target_kl is not None and approximate_kl > settings.target_kl:
                    break

            # Report.
            seconds += time.perf_counter() - started
            step = update * settings.batch_size
            row = {f"train/{name}": term.item() for name, term in terms.items()} | {
                "train/loss": loss.item(),
                "train/approximate_kl": approximate_kl.item(),
                "train/clip_fraction": torch.stack(clip_fractions).mean().item(),
                "train/explained_variance": 1 - ((target - values).var() / target.var()).item(),
                "train/learning_rate": optimizer.param_groups[0]["lr"],
            }
            if rollout.returns:
                row |= {"train/return": fmean(rollout.returns), "train/episode_length": fmean(rollout.lengths)}
            if at_checkpoint and not target_seen:
                _warn_of_targets(settings, step)
                target_seen = True
            if at_checkpoint and settings.checkpoint_episodes:
                tables = evaluate_policy(
                    classifier, settings.scenario, settings.checkpoint_episodes, faithfulness_frames=0, **settings.seen
                )
                row |= {f"evaluation/{name}": value for name, value in summary(*tables).items() if value is not None}
            log.log_metrics(row, step)
            for name, number in row.items():
                board.add_scalar(name, number, step)
            board.add_scalar("steps_per_second", step / seconds, step)
            if at_checkpoint:
                log.save()
                state = {"update": update, "seconds": seconds, "policy": policy.state_dict()}
                state |= {"method": method.state_dict(), "optimizer": optimizer.state_dict()}
                write_checkpoint(checkpoint, state)
    timesteps = settings.updates * settings.batch_size
    facts = {"actions": actions_number, "timesteps": timesteps, "steps_per_second": round(timesteps / seconds, 1)}
    save_model(settings.out / "model.safetensors", classifier.model, facts)


def _device(settings: PPOSettings) -> torch.device:
    there = torch.cuda.is_available()
    if settings.device == "cuda" and not there:
        raise InputError("device = 'cuda', which PyTorch does not find here. Use cpu or auto.")
    return torch.device("cuda" if there and settings.device != "cpu" else "cpu")


def _take_up(
    checkpoint: Path, policy: Policy, method: Method, optimizer: torch.optim.Optimizer, device: torch.device
) -> tuple[int, float]:
    """Load what a checkpoint holds, if there is one; the updates that were done, and the seconds that they took."""
    if not checkpoint.is_file():
        return 0, 0.0
    state = read_checkpoint(checkpoint, ("update", "seconds", "policy", "method", "optimizer"), device)
    try:
        policy.load_state_dict(state["policy"])
        method.load_state_dict(state["method"])
        optimizer.load_state_dict(state["optimizer"])
        return int(state["update"]), float(state["seconds"])
    except Exception as error:  # whatever PyTorch makes of states of another shape or kind
        raise InputError(
            f"The checkpoint {str(checkpoint)!r} does not fit the settings of its run ({type(error).__name__}). "
            "Delete it, and the run starts again."
        ) from error


def _warn_of_targets(settings: PPOSettings, decisions: int) -> None:
    targets = settings.targets or scenario_of(settings.scenario).targets
    warnings.warn(
        f"No target was in sight in {decisions:,} decisions ({', '.join(map(repr, targets))}), so "
        f"{type(settings.method).__name__} has guided nothing yet. Check that these are names or categories of objects "
        "in the scenario, such as Medikit or Monster.",
        stacklevel=4,
    )
