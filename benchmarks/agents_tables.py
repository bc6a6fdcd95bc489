"""The tables of docs/rl.md: what settings are worth, floor and ceiling, the study of agents, speed beside peers.

    python benchmarks/agents_tables.py runs/rl    # keeps what it found of each agent as benchmarks/results/agents.csv
    python benchmarks/agents_tables.py            # writes the tables from what is committed

They are made from the tables of studies in docs, from that file, and from what benchmarks/agent_scores.py and
rl_speed.py wrote beside it.
"""

import json
import math
import sys
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import study_tables
from study_tables import DOCS, FIGURES, lines_of

from lookright.report.markdown import DASH, table
from lookright.report.number import decimal
from lookright.statistics import mean_interval, paired_difference

RESULTS = Path(__file__).parent / "results"
AGENTS = RESULTS / "agents.csv"
ALL = "all scenarios"
GUIDED = ("PPO", "PPO + CAMAL", "PPO + CAMAL, contrast", "PPO + CAMAL, wrong masks")


def estimate(measure: str, scenario: str = ALL, shown: Callable[[float], str] = decimal) -> study_tables.Cell:
    """A figure with its 95 % interval."""

    def cell(lines: pd.DataFrame) -> str:
        found = lines[(lines["scenario"] == scenario) & (lines["measure"] == measure)]
        if found.empty:
            return DASH
        return with_interval(*found[["value", "low", "high"]].to_numpy().squeeze(), shown)

    return cell


def with_interval(value: float, low: float, high: float, shown: Callable[[float], str]) -> str:
    if value != value:
        return DASH
    return shown(value) if low != low or low == high else f"{shown(value)} [{shown(low)}, {shown(high)}]"


def whole(value: float) -> str:
    return f"{value:,.0f}".replace("-", "−")


def hundredths(value: float) -> str:
    return decimal(value, 2)


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
    return over_scenarios("rl", GUIDED)


def guided() -> str:
    """Whose map is guided, and by the masks of which objects."""
    return over_scenarios("rl_guided", FIGURES.loc[FIGURES["study"] == "rl_guided", "method"].unique())


def over_scenarios(study: str, methods: Iterable[str]) -> str:
    columns = {
        "seeds": study_tables.seeds,
        "normalised return": estimate("Normalised return"),
        "while learning": estimate("Normalised return, while learning"),
        "other textures": estimate("Normalised return, textures"),
        "dark": estimate("Normalised return, dark"),
        "other skins": estimate("Normalised return, skins"),
        "energy in mask (contrast map)": estimate("Energy in mask (contrast)"),
        "insertion − deletion": estimate("Insertion − deletion"),
    }
    return study_tables.study_table(study, {name.removeprefix("PPO + "): name for name in methods}, columns)


def longer() -> str:
    """The same in three times as many decisions."""
    centre = partial(estimate, scenario="defend_the_center")
    columns = {
        "seeds": study_tables.seeds,
        "return": centre("Return", shown=tenths),
        "other textures": centre("Return, textures", shown=tenths),
        "dark": centre("Return, dark", shown=tenths),
        "other skins": centre("Return, skins", shown=tenths),
        "energy in mask (contrast map)": centre("Energy in mask (contrast)"),
        "insertion − deletion": centre("Insertion − deletion"),
    }
    rows = [
        [name.removeprefix("PPO + "), f"{decisions:,}", *study_tables.row(lines_of(study, name), columns)]
        for study, decisions in (("rl", 81_920), ("rl_long", 245_760))
        for name in ("PPO", "PPO + CAMAL, contrast", "PPO + CAMAL, contrast, wrong masks")
        if len(lines_of(study, name))
    ]
    return table(["", "decisions", *columns], rows)


def scores() -> str:
    """What random play and a player of rules return."""
    players = pd.read_csv(RESULTS / "agent_scores.csv")
    rows = []
    for scenario, known in players.groupby("scenario", sort=False):
        figures = known.set_index("player")[["return", "low", "high"]]
        cells = [with_interval(*figures.loc[player], tenths) for player in ("random", "scripted")]
        rows.append([f"`{scenario}`", *cells])
    return table(["scenario", "random", "rules"], rows)


def looks_and_shift() -> str:
    """Rank correlations of how agents look, or play, with what they return in scenarios that look different."""
    agents = pd.read_csv(AGENTS)
    looks = {
        "energy in mask (contrast map)": "contrast_energy_in_mask",
        "pointing game (contrast map)": "contrast_pointing_game",
        "insertion − deletion": "insertion_minus_deletion",
        "return where nothing looks different": "return",
    }
    rows = []
    for shown, look in looks.items():
        found = [within_scenarios(agents, look, f"return_{shift}") for shift in ("textures", "dark", "skins")]
        rows.append([shown, *(with_interval(*correlation, hundredths) for correlation in found)])
    return table(["", "other textures", "dark", "other skins"], rows)


def within_scenarios(agents: pd.DataFrame, first: str, second: str) -> tuple[float, float, float]:
    """Rank correlation of two columns, ranked and centred scenario by scenario, with Fisher's 95 % interval."""
    agents = agents.dropna(subset=[first, second])
    ranks = agents.groupby("scenario")[[first, second]].rank()
    centred = ranks - ranks.groupby(agents["scenario"]).transform("mean")
    value = centred[first].corr(centred[second])
    half = 1.96 / math.sqrt(len(agents) - agents["scenario"].nunique() - 2)
    low, high = np.tanh(np.arctanh(value) + np.array([-half, half]))
    return value, low, high


def keep(study: Path) -> None:
    """What the tables need of each agent."""
    from lookright.report.agents_table import read_agents
    from lookright.run_directory import read_json

    found = read_agents(study).table
    returns = [column for column in found.columns if column.startswith("return")]
    looks = ["contrast_energy_in_mask", "contrast_pointing_game", "insertion_minus_deletion"]
    found["device"] = [read_json(study / run / "environment.json", ["device"])["device"] for run in found["run"]]
    found[["scenario", "name", "seed", *returns, *looks, "device"]].to_csv(AGENTS, index=False, float_format="%.6g")


PLAYERS = {
    "CleanRL": "CleanRL",
    "Sample Factory": "Sample Factory",
    "lookright": "lookright",
    "with masks rendered": "lookright, masks rendered",
    "with CAMAL": "lookright + CAMAL",
    "`precision: bf16`, `play_ahead: true`": "lookright, fast",
    "the same with CAMAL": "lookright + CAMAL, fast",
    "the same with `network: small`, without CAMAL": "lookright, fast, small network",
    "… with CAMAL": "lookright + CAMAL, fast, small network",
    "… without CAMAL, at `size: 64`": "lookright, fast, small network, 64 × 64",
    "… with CAMAL, at `size: 64`": "lookright + CAMAL, fast, small network, 64 × 64",
}
"""Shown name to name in rl_speed.json."""


def speed() -> str:
    measured = json.loads((RESULTS / "rl_speed.json").read_text(encoding="utf-8"))
    quotients = {name: measured[f"{name} / CleanRL"] for name in PLAYERS.values() if name != "CleanRL"}
    rows = [
        [shown, whole(measured["steps_per_second"][name]), decimal(quotients.get(name, 1.0), 2)]
        for shown, name in PLAYERS.items()
    ]
    return table(["", "decisions a second", "× CleanRL"], rows)


def learning() -> str:
    """Mean over seeds, and below it the difference to CleanRL, paired by seed."""
    rows = []
    players = ("CleanRL", "lookright", "lookright, fast")
    for scenario, seeds in pd.read_csv(RESULTS / "rl_learning.csv").groupby("scenario", sort=False):
        means = [mean_interval(seeds[player].dropna()) for player in players]
        gains = [paired_difference(seeds[player].to_numpy(), seeds["CleanRL"].to_numpy()) for player in players[1:]]
        rows.append([f"`{scenario}`", *(with_interval(mean.value, mean.low, mean.high, tenths) for mean in means)])
        rows.append(["difference", "", *(study_tables.signed(gain.value, gain.low, gain.high, 1) for gain in gains)])
    return table(["", "CleanRL", "lookright", "fast (`bf16`, `play_ahead`)"], rows)


PAGES = {
    DOCS / "rl.md": {
        "settings": settings,
        "scores": scores,
        "study": study,
        "looks and shift": looks_and_shift,
        "guided": guided,
        "longer": longer,
        "speed": speed,
        "learning": learning,
    }
}
"""The tables of each page."""

if __name__ == "__main__":
    if len(sys.argv) > 1:
        keep(Path(sys.argv[1]))
    study_tables.fill_in(Path(__file__).name, PAGES)
