"""The tables of docs/rl.md: what settings are worth, floor and ceiling, and the study of agents.

    python benchmarks/agents_tables.py

They are made from the tables of studies in docs and from benchmarks/results/agent_scores.csv.
"""

from collections.abc import Callable
from pathlib import Path

import pandas as pd
import study_tables
from study_tables import DOCS, FIGURES

from lookright.report.agents_table import ALL
from lookright.report.markdown import table
from lookright.report.number import decimal

PAGE = DOCS / "rl.md"
SCORES = Path(__file__).parent / "results" / "agent_scores.csv"
GUIDED = ("PPO", "PPO + CAMAL", "PPO + CAMAL, contrast", "PPO + CAMAL, wrong masks")


def estimate(measure: str, scenario: str = ALL, shown: Callable[[float], str] = decimal) -> study_tables.Cell:
    """A figure with its 95 % interval."""

    def cell(lines: pd.DataFrame) -> str:
        found = lines[(lines["scenario"] == scenario) & (lines["measure"] == measure)]
        return with_interval(*found[["value", "low", "high"]].to_numpy().squeeze(), shown)

    return cell


def with_interval(value: float, low: float, high: float, shown: Callable[[float], str]) -> str:
    return shown(value) if low != low or low == high else f"{shown(value)} [{shown(low)}, {shown(high)}]"


def whole(value: float) -> str:
    return f"{value:,.0f}".replace("-", "−")


def tenths(value: float) -> str:
    return decimal(value, 1)


def settings() -> str:
    """One change each to the settings of the studies."""
    columns = {
        "return": estimate("Return", "health_gathering", whole),
        "while learning": estimate("Return, while learning", "health_gathering", whole),
    }
    names = FIGURES.loc[FIGURES["study"] == "rl_settings", "method"].unique()
    return study_tables.study_table("rl_settings", {name: name for name in names}, columns)


def study() -> str:
    columns = {
        "normalised return": estimate("Normalised return"),
        "while learning": estimate("Normalised return, while learning"),
        "other textures": estimate("Normalised return, textures"),
        "dark": estimate("Normalised return, dark"),
        "other skins": estimate("Normalised return, skins"),
        "energy in mask (contrast map)": estimate("Energy in mask (contrast)"),
        "insertion − deletion": estimate("Insertion − deletion"),
    }
    return study_tables.study_table("rl", {name.removeprefix("PPO + "): name for name in GUIDED}, columns)


def scores() -> str:
    """What random play and a player of rules return."""
    players = pd.read_csv(SCORES)
    rows = []
    for scenario, known in players.groupby("scenario", sort=False):
        figures = known.set_index("player")[["return", "low", "high"]]
        cells = [with_interval(*figures.loc[player], tenths) for player in ("random", "scripted")]
        rows.append([f"`{scenario}`", *cells])
    return table(["scenario", "random", "rules"], rows)


def fill_in(page: str) -> str:
    """The page with its tables."""
    texts = {"settings": settings(), "scores": scores(), "study": study()}
    return study_tables.fill_in(page, Path(__file__).name, texts)


if __name__ == "__main__":
    PAGE.write_text(fill_in(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
