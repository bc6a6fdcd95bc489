import json
import re
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from lookright import statistics
from lookright.errors import InputError
from lookright.report.agents_markdown import write_agents
from lookright.report.agents_table import ALL
from lookright.report.number import decimal, with_error

TABLES = sorted((Path(__file__).parents[2] / "docs").glob("results-rl*-table.csv"))

RANDOM = {"basic": -100.0, "take_cover": 200.0}
BEST = {"basic": 100.0, "take_cover": 300.0}


def finish(study, scenario, name, seed, share):
    """A made-up agent that gets `share` of the best return and of everything else."""
    run = study / "runs" / scenario / name / f"seed-{seed}"
    (run / "evaluation").mkdir(parents=True)
    result = {"scenario": scenario, "method": name, "name": name, "seed": seed, "timesteps": 1000}
    (run / "result.json").write_text(json.dumps(result))
    random, best = RANDOM[scenario], BEST[scenario]
    episodes = pd.DataFrame({"episode": range(2), "return": random + share * (best - random), "length": 2})
    episodes.to_csv(run / "evaluation" / "episodes.csv", index=False)
    frames = pd.DataFrame(
        {
            **{"episode": [0, 0, 1, 1], "step": [0, 1, 0, 1], "action": 0, "mask_share": [0.01, 0.01, 0.03, np.nan]},
            **{"energy_in_mask": [share, share, np.nan, np.nan], "attention_gap": share, "pointing_game": share},
            **{"insertion": share, "deletion": 1 - share},
        }
    )
    frames.to_csv(run / "evaluation" / "frames.csv", index=False)
    log = pd.DataFrame({"step": [100, 200], "train/return": [random, best]})
    log.to_csv(run / "metrics.csv", index=False)
    (run / "environment.json").write_text('{"device": "a processor, threads: 1"}')
    return run


@pytest.fixture(autouse=True)
def few_replicates(monkeypatch):
    for name in ("aggregate", "performance_profile", "probability_of_improvement"):
        monkeypatch.setattr(statistics, name, partial(getattr(statistics, name), replicates=50))


@pytest.fixture
def directory(tmp_path):
    """A study of made-up agents: two scenarios, three seeds, and CAMAL better by a tenth of the range."""
    study = tmp_path / "study"
    for seed in range(3):
        for scenario in RANDOM:
            finish(study, scenario, "PPO", seed, 0.5 + seed / 10)
            finish(study, scenario, "CAMAL", seed, 0.6 + seed / 5)
    config = {"scenarios": list(RANDOM), "methods": {"PPO": {"method": "ERM"}, "CAMAL": {}}, "seeds": [0, 1, 2]}
    (study / "study.yaml").write_text(yaml.safe_dump(config, sort_keys=False))
    (study / "random.json").write_text(json.dumps(RANDOM))
    return study


def page_of(directory, out):
    write_agents(directory, out)
    return out.read_text()


RETURN, LOOK, FAITHFUL = "Return", "Where they look", "Whether the maps are faithful"


def cells(page, section, title, name, table=0):
    """What a table says of a method, by the heads of its columns; the second one says how probable a gain is."""
    part = page.split(f"\n## {section}\n")[1].split("\n## ")[0].split(f"\n### {title}\n")[1].split("\n### ")[0]
    heads, found = (
        [[cell.strip() for cell in line.strip("|").split("|")] for line in part.splitlines() if line.startswith(start)]
        for start in ("| Method |", f"| {name} |")
    )
    has = [index for index in range(len(heads)) if name != "PPO" or index == 0]
    return dict(zip(heads[table], found[has.index(table)], strict=True))


def test_page_holds_the_statistics_and_the_figure(directory, tmp_path):
    out = tmp_path / "docs" / "results.md"
    page = page_of(directory, out)
    assert "12 agents, 1,000 decisions each, 3 seeds. Each was evaluated on the same 2 episodes" in page
    assert "unfinished" not in page
    assert "Trained on: a processor, threads: 1." in page
    assert "Random play returns −100." in page
    assert f"<summary>Configuration ({directory / 'study.yaml'})</summary>\n\n````yaml\nscenarios:\n- basic\n" in page

    shares = {"PPO": np.array([[0.5, 0.6, 0.7]] * 2).T, "CAMAL": np.array([[0.6, 0.8, 1.0]] * 2).T}
    for name, share in shares.items():
        iqm, mean = (statistics.aggregate(share)[kind] for kind in ("iqm", "mean"))
        expected = f"{decimal(iqm.value)} [{decimal(iqm.low)}, {decimal(iqm.high)}]"
        assert cells(page, "All scenarios", RETURN, name)["Normalised return ↑"] == expected
        expected = f"{mean.value:.3f} [{mean.low:.3f}, {mean.high:.3f}]"
        assert cells(page, "All scenarios", FAITHFUL, name)["Insertion ↑"] == expected
    better = statistics.probability_of_improvement(shares["CAMAL"], shares["PPO"])
    assert better.value > 0.5
    less = cells(page, "All scenarios", FAITHFUL, "CAMAL", table=1)
    assert less["Deletion ↓"] == f"{better.value:.3f} [{better.low:.3f}, {better.high:.3f}]"

    assert cells(page, "basic", RETURN, "CAMAL")["Return ↑"] == "60 ± 99"  # -100 + 200 · (0.6, 0.8, 1.0)
    look = cells(page, "basic", LOOK, "CAMAL")
    assert look["Mask's share of the frame"] == "0.01"  # the frame without a map has 0.03
    assert look["Frames without a map"] == "0.3333"
    assert look["IoU ↑"] == "–"  # these agents were evaluated without it
    assert cells(page, "All scenarios", LOOK, "PPO")["IoU ↑"] == "–"
    assert cells(page, "All scenarios", LOOK, "PPO")["Attention gap (contrast) ↑"] == "–"

    figure = out.with_suffix(".svg")
    first = figure.read_bytes()
    assert b"<path" in first
    assert page_of(directory, out) == page
    assert figure.read_bytes() == first


def test_table_beside_the_page_has_every_figure(directory, tmp_path):
    page = page_of(directory, tmp_path / "results.md")
    assert "[All figures](results-table.csv)" in page
    table = pd.read_csv(tmp_path / "results-table.csv").set_index(["scenario", "method", "measure"])
    assert set(table["study"]) == {"study"}
    assert set(table["seeds"]) == {"0, 1, 2"}

    better = table.loc[("all scenarios", "CAMAL", "Deletion")]
    assert (better["better"], better["statistic"]) == ("lower", "mean")
    shown = cells(page, "All scenarios", FAITHFUL, "CAMAL")["Deletion ↓"]
    assert f"{better['value']:.3f} [{better['low']:.3f}, {better['high']:.3f}]" == shown
    gain = cells(page, "All scenarios", FAITHFUL, "CAMAL", table=1)["Deletion ↓"]
    assert f"{better['improvement']:.3f} [{better['improvement_low']:.3f}, {better['improvement_high']:.3f}]" == gain
    assert np.isnan(table.loc[("all scenarios", "PPO", "Deletion"), "improvement"])

    own = table.loc[("basic", "CAMAL", "Return")]
    assert (own["value"], own["statistic"]) == (60, "mean")
    assert np.isnan(table.loc[("basic", "CAMAL", "IoU"), "value"])  # these agents were evaluated without it


@pytest.mark.parametrize("path", TABLES, ids=lambda path: path.stem)
def test_a_committed_page_is_the_digest_of_its_table(path):
    page = path.with_name(path.name.replace("-table.csv", ".md")).read_text(encoding="utf-8")
    sections = {part.partition("\n")[0].lower(): part.splitlines() for part in page.split("\n## ")}
    for row in pd.read_csv(path).dropna(subset=["value", "low"]).itertuples():
        across = row.scenario == ALL
        text = (
            f"{decimal(row.value)} [{decimal(row.low)}" if across else with_error(row.value, (row.high - row.low) / 2)
        )
        assert any(line.startswith(f"| {row.method} |") and f"| {text}" in line for line in sections[row.scenario])


def test_unfinished_study_keeps_what_every_method_has_finished(directory, tmp_path):
    def unfinish(scenario, name, seed):
        (directory / "runs" / scenario / name / f"seed-{seed}" / "result.json").unlink()

    unfinish("basic", "CAMAL", 2)
    unfinish("basic", "PPO", 1)
    page = page_of(directory, tmp_path / "a.md")
    assert "8 agents" in page
    assert "4 of its 12 agents are left out" in page
    alone = np.array([[0.5 / 0.6, 0.5], [np.nan, 0.6], [np.nan, 0.7]])  # basic's best is now CAMAL with seed 0
    iqm = statistics.aggregate(alone)["iqm"].value  # basic has no interval
    assert cells(page, "All scenarios", RETURN, "PPO")["Normalised return ↑"] == f"{iqm:.3f}"
    assert cells(page, "basic", RETURN, "PPO")["Return ↑"] == "0"  # seed 0 alone
    unfinish("basic", "PPO", 0)
    page = page_of(directory, tmp_path / "b.md")
    assert "## take_cover" in page
    assert "## basic" not in page
    for seed in range(3):
        unfinish("take_cover", "CAMAL", seed)
    with pytest.raises(InputError, match="no scenario and seed where each of PPO, CAMAL has a result"):
        write_agents(directory, tmp_path / "c.md")
    assert not (tmp_path / "c.md").exists()


def test_method_that_never_has_a_map_gets_a_dash(directory, tmp_path):
    for path in directory.glob("runs/basic/PPO/*/evaluation/frames.csv"):
        pd.read_csv(path).assign(energy_in_mask=np.nan).to_csv(path, index=False)
    page = page_of(directory, tmp_path / "a.md")
    energy = "Energy in mask ↑"
    assert cells(page, "All scenarios", LOOK, "PPO")[energy] == "–"
    assert cells(page, "All scenarios", LOOK, "CAMAL", table=1)[energy] == "–"
    assert re.match(r"0\.\d{3} \[", cells(page, "All scenarios", LOOK, "CAMAL")[energy])
    assert cells(page, "basic", LOOK, "PPO")[energy] == "–"
    assert cells(page, "basic", LOOK, "PPO")["Frames without a map"] == "1"


def test_agents_evaluated_on_different_numbers_of_episodes_are_refused(directory, tmp_path):
    path = directory / "runs" / "basic" / "CAMAL" / "seed-1" / "evaluation" / "episodes.csv"
    pd.read_csv(path).head(1).to_csv(path, index=False)
    with pytest.raises(InputError, match=r"different numbers of episodes \(.*: 2, runs/basic/CAMAL/seed-1: 1\)"):
        write_agents(directory, tmp_path / "a.md")


def test_folder_as_the_name_of_the_page_is_refused(directory, tmp_path):
    out = tmp_path / "docs"
    out.mkdir()
    with pytest.raises(InputError, match="is a folder. Expected the name of a Markdown file"):
        write_agents(directory, out)
    assert sorted(tmp_path.iterdir()) == [out, directory]


def test_directory_without_agents_is_refused(tmp_path):
    with pytest.raises(InputError, match="No results of agents"):
        write_agents(tmp_path, tmp_path / "out.md")
    (tmp_path / "results.csv").write_text("protocol,name\n")
    with pytest.raises(InputError, match="No results of agents"):
        write_agents(tmp_path, tmp_path / "out.md")


def test_page_plays_the_films_that_runs_hold(directory, tmp_path):
    plain = page_of(directory, tmp_path / "page.md")
    assert "## Films" not in plain
    run = directory / "runs" / "basic" / "PPO" / "seed-0"
    for name in ("watch.webp", "a film.mp4", "notes.txt"):
        (run / name).write_bytes(b"")
    page = page_of(directory, tmp_path / "pages" / "page.md")
    links = re.findall(r'src="([^"]+)"|!\[watch\]\(([^)]+)\)', page)
    base = "../study/runs/basic/PPO/seed-0/"
    assert links == [(base + "a%20film.mp4", ""), ("", base + "watch.webp")]
    assert (tmp_path / "pages" / base / "watch.webp").resolve() == (run / "watch.webp").resolve()


def test_returns_under_shift_have_columns(directory, tmp_path):
    for path in directory.glob("runs/*/*/seed-*/result.json"):
        path.write_text(json.dumps(json.loads(path.read_text()) | {"return_dark": 12.5}))
    page = page_of(directory, tmp_path / "page.md")
    assert cells(page, "basic", RETURN, "PPO")["Return, dark ↑"].startswith("12.5")
    shares = {"basic": (12.5 + 100) / 200, "take_cover": (12.5 - 200) / 100}  # of the way from random play to the best
    iqm = statistics.aggregate(np.array([list(shares.values())] * 3))["iqm"]
    expected = f"{decimal(iqm.value)} [{decimal(iqm.low)}, {decimal(iqm.high)}]"
    assert cells(page, "All scenarios", RETURN, "PPO")["Normalised return, dark ↑"] == expected


def test_returns_while_learning_are_means_over_all_updates(directory, tmp_path):
    page = page_of(directory, tmp_path / "page.md")
    assert cells(page, "basic", RETURN, "PPO")["Return, while learning ↑"] == "0"  # of -100 and 100
    assert cells(page, "All scenarios", RETURN, "PPO")["Normalised return, while learning ↑"].startswith("0.500")


def test_page_names_what_a_player_of_rules_returns(directory, tmp_path):
    (directory / "scripted.json").write_text('{"basic": 77.25}')
    page = page_of(directory, tmp_path / "page.md")
    assert "Random play returns −100, a player of a few rules that is told where the targets are 77.25." in page
    assert "Random play returns 200." in page
