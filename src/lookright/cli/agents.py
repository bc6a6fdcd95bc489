"""Commands of agents that play from pixels."""

from pathlib import Path
from typing import Literal

from lookright.cli.arguments import train_or_resume
from lookright.cli.figures import as_json, print_values


def train(arguments: list[str]) -> None:
    """Train an agent that plays a ViZDoom scenario from pixels, by PPO with a method's guidance."""
    from lookright.rl.agent_settings import settings_file
    from lookright.rl.ppo import resume
    from lookright.rl.ppo import train as train_agent

    print(train_or_resume("rl train", arguments, settings_file, train_agent, resume))


def evaluate(
    run: Path,
    episodes: int | None = None,
    shifts: list[Literal["textures", "dark", "skins"]] | None = None,
    json: bool = False,
) -> None:
    """Measure a trained agent: return, attention, faithfulness.

    Args:
        run: directory of the run.
        episodes: to play; by default as many as the run's settings say.
        shifts: other looks of the scenario in which to play as many, too, such as `[textures, dark, skins]`; by default
            those that the run's settings say.
        json: print the figures as one JSON object.
    """
    from lookright.rl.evaluate import evaluate as evaluate_agent

    values = evaluate_agent(run, episodes, shifts)
    if json:
        print(as_json(values))
    else:
        print_values(values)


def watch(run: Path, out: Path | None = None, episode: int = 0, greedy: bool = False) -> None:
    """Write a film of an episode with the agent's attention laid over it.

    Args:
        run: directory of the run.
        out: the file to write, a `.webp`, `.gif` or `.mp4`; by default watch.webp in the run's directory.
        episode: which episode, a number that seeds it.
        greedy: play the likeliest action instead of drawing one.
    """
    from lookright.rl.watch import watch

    print(watch(run, out, episode, greedy))


def study(config: Path, out: Path | None = None, jobs: int = 1) -> None:
    """Do the runs of a study of agents that are missing.

    Args:
        config: the study's YAML file.
        out: directory of the study; by default `runs/` and the file's name.
        jobs: runs at a time.
    """
    from lookright.rl.agent_study import run_agent_study

    print(run_agent_study(config, out, jobs).to_string(index=False))
    print(f"Write the results with: lookright rl results {out or Path('runs', config.stem)}")


def results(directory: Path, out: Path = Path("results-rl.md")) -> None:
    """Write the results of a study of agents as a Markdown page with figures.

    Args:
        directory: of the study.
        out: the file to write; its figure and its table, as CSV, go beside it.
    """
    from lookright.report.agents_markdown import write_agents

    write_agents(directory, out)
    print(out)
