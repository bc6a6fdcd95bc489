"""Floor and ceiling of agents: what random play and a player of a few rules return in the scenarios that have one.

    python benchmarks/agent_scores.py  # writes benchmarks/results/agent_scores.csv

Episodes are those of every evaluation. A player of rules is told where the targets are; it is no upper limit, but what
an agent reaches that looks at them and does the obvious.
"""

import argparse
from pathlib import Path

import pandas as pd

from lookright.rl.evaluate import EVALUATION_SEED, evaluate_policy
from lookright.rl.scripted import PLAYERS, play_scripted
from lookright.statistics import mean_interval

RESULTS = Path(__file__).parent / "results" / "agent_scores.csv"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--episodes", type=int, default=50)
    parser.add_argument("--scenarios", nargs="+", default=list(PLAYERS), choices=list(PLAYERS))
    arguments = parser.parse_args()
    rows = []
    for scenario in arguments.scenarios:
        players = {
            "random": evaluate_policy(None, scenario, arguments.episodes)[0],
            "scripted": play_scripted(scenario, EVALUATION_SEED, arguments.episodes),
        }
        for player, episodes in players.items():
            score = mean_interval(episodes["return"])
            rows.append({"scenario": scenario, "player": player, "episodes": score.count, "return": score.value})
            rows[-1] |= {"low": score.low, "high": score.high}
            print(rows[-1], flush=True)
    pd.DataFrame(rows).to_csv(RESULTS, index=False, float_format="%.4g")


if __name__ == "__main__":
    main()
