import json
import re
from itertools import product

import numpy as np
import pandas as pd
import pytest

from lookright.report import write_report, write_results
from lookright.report.directory import read_results
from lookright.report.number import decimal
from lookright.report.results_markdown import digest
from lookright.report.tuning import candidates, chosen_runs, tuned_study, tunings
from lookright.statistics import mean_interval, paired_difference

DRAWS = ["draw 0", "draw 1", "draw 2"]
PROTOCOLS, METHODS, SEEDS, SPLITS = ["day", "night"], ["ERM", "CAMAL"], [0, 1, 2], ["aligned", "conflicting"]


def make_results(rng) -> pd.DataFrame:
    """Of few different accuracies, so that there are equals."""
    rows = []
    for seed, protocol, method, draw in product(SEEDS, PROTOCOLS, METHODS, DRAWS):
        run = {"protocol": protocol, "model": "small_cnn", "seed": seed, "method": method, "name": f"{method}, {draw}"}
        run |= {"candidate_of": method, "candidates": 3, "val_accuracy": rng.choice([0.5, 0.6, 0.7])}
        run |= {
            "drawn": "" if draw == "draw 0" else f"lr = {draw[-1]}",
            "run": f"runs/{protocol}/{method}/{draw}/{seed}",
        }
        rows += [{**run, "split": split, "accuracy": rng.random(), "energy_in_mask": rng.random()} for split in SPLITS]
    others = dict.fromkeys(["cross_validation_accuracy", "oracle_accuracy", "last_step_accuracy"], np.nan)
    return pd.DataFrame(rows).assign(**others)


@pytest.fixture
def study(tmp_path):
    directory = tmp_path / "study"
    directory.mkdir()
    make_results(np.random.default_rng(1)).to_csv(directory / "results.csv", index=False)
    (directory / "study.yaml").write_text(
        "methods: {ERM: {}, CAMAL: {}}\nsearch: {draws: 3, common: {lr: [1, 2]}}\nseeds: [0, 1, 2]\n"
    )
    return directory


def naive_choice(results, protocol, method, seed):
    best = None
    for row in results.to_dict("records"):
        if (row["protocol"], row["candidate_of"], row["seed"]) != (protocol, method, seed):
            continue
        if best is None or row["val_accuracy"] > best["val_accuracy"]:
            best = row
    return best["name"]


@pytest.mark.parametrize("seed", range(5))
def test_choices_are_those_of_a_loop(seed):
    results = make_results(np.random.default_rng(seed))
    chosen = chosen_runs(results)
    assert len(chosen) == len(results) / 3
    for row in chosen.to_dict("records"):
        assert row["name"] == naive_choice(results, row["protocol"], row["candidate_of"], row["seed"])


@pytest.mark.parametrize("lacks", ["run", "validation"])
def test_all_candidates_are_waited_for(lacks):
    results = make_results(np.random.default_rng(0))
    late = (results["name"] == "CAMAL, draw 2") & (results["seed"] == 1)
    if lacks == "run":
        results = results[~late]
    else:
        results.loc[late, "val_accuracy"] = np.nan
    chosen = chosen_runs(results)
    assert {*zip(chosen["candidate_of"], chosen["seed"], strict=True)} == {*product(METHODS, SEEDS)} - {("CAMAL", 1)}


def test_tables_hold_the_statistics(study):
    results = read_results(study).results
    tables = {table.title: table for table in tunings(read_results(study))}
    assert [*tables] == [f"{p} · small_cnn · {s}" for p in PROTOCOLS for s in ("conflicting", "aligned")]
    for protocol, split in product(PROTOCOLS, SPLITS):
        table = tables[f"{protocol} · small_cnn · {split}"]
        assert [method.tuned.name for method in table.methods] == METHODS
        rows = results[(results["protocol"] == protocol) & (results["split"] == split)]

        def accuracies(method, name_of, rows=rows):
            own = rows.set_index(["seed", "name"])["accuracy"]
            return [own[seed, name_of(method, seed)] for seed in SEEDS]

        def tuned(method, seed, protocol=protocol):
            return naive_choice(results, protocol, method, seed)

        baseline = accuracies("ERM", tuned)
        for method in table.methods:
            name = method.tuned.name
            chosen, first = accuracies(name, tuned), accuracies(name, lambda method, _: f"{method}, draw 0")
            assert method.tuned.mean == mean_interval(chosen)
            assert method.first == mean_interval(first)
            assert method.gain == pytest.approx(paired_difference(chosen, first), nan_ok=True)
            own = rows.loc[rows["candidate_of"] == name, "accuracy"]
            assert (method.lowest, method.highest) == (own.min(), own.max())
            if name == "CAMAL":
                assert method.tuned.difference == paired_difference(chosen, baseline)


def test_every_candidate_is_listed_with_what_it_was_chosen_by(study):
    results = read_results(study).results
    listed = candidates(read_results(study))
    assert len(listed) == len(PROTOCOLS) * len(METHODS) * len(DRAWS)
    one = next(one for one in listed if (one.title, one.name) == ("night · small_cnn", "CAMAL, draw 1"))
    own = results[(results["protocol"] == "night") & (results["name"] == one.name)]
    assert one.drawn == "lr = 1"
    assert one.accuracy["aligned"] == mean_interval(own.loc[own["split"] == "aligned", "accuracy"])
    assert one.validation == mean_interval(own.drop_duplicates("seed")["val_accuracy"])
    times = sum(naive_choice(results, "night", "CAMAL", seed) == one.name for seed in SEEDS)
    assert one.chosen == f"{times} of 3"


def test_the_page_and_its_table_are_about_the_chosen(study, tmp_path):
    write_results([study], tmp_path / "results.md")
    page = (tmp_path / "results.md").read_text()
    table = pd.read_csv(tmp_path / "results-table.csv", dtype={"seeds": str, "p": str})
    assert [*table["study"].unique()] == ["study", "study, all candidates"]
    assert {*table.loc[table["study"] == "study", "method"]} == {*METHODS}
    for _, rows in table.groupby(["study", "protocol"], sort=False):
        assert digest(rows, "conflicting") in page
    (tuning, *_) = tunings(read_results(study))
    camal = tuning.methods[1]
    line = next(line for line in page.split(tuning.title)[1].splitlines() if line.startswith("| CAMAL"))
    assert f"{decimal(camal.gain.value, sign=True)} [{decimal(camal.gain.low, sign=True)}" in line
    assert f"{decimal(camal.tuned.difference.value, sign=True)} [" in line
    assert line.endswith(f"| {decimal(camal.lowest)} to {decimal(camal.highest)} |")
    assert "| CAMAL, draw 1 | lr = 1 |" in page
    assert "draw" not in page.split("### day")[1].split("<details")[0], "its sentences and table know the chosen alone"


def test_the_report_is_about_the_chosen(study):
    html = write_report(study).read_text()
    section = re.search(r'<section id="tuning">.*?</section>', html, re.DOTALL)[0]
    tables = tunings(read_results(study))
    assert re.findall(r"<h3>(.*?)</h3>", section)[: len(tables)] == [table.title for table in tables]
    row = section.split('<th scope="row">CAMAL</th>')[1].split("</tr>")[0]
    camal = tables[0].methods[1]
    expected = [camal.first, camal.tuned.mean, camal.gain, camal.tuned.difference]
    numbers = re.findall(r'<td class="number">\s*([−+–\d.]+)', row)
    assert numbers[:2] == [decimal(estimate.value) for estimate in expected[:2]]
    assert numbers[2:4] == [decimal(estimate.value, sign=True) for estimate in expected[2:]]
    assert numbers[4] == decimal(camal.lowest)
    assert "36 runs · 2 methods · 3 seeds" in html
    assert "CAMAL, draw" not in re.search(r'<section id="results">.*?</main>', html, re.DOTALL)[0].split("<pre>")[0]


def test_a_method_that_is_still_tuned_is_said_to_be_missing(study):
    results = pd.read_csv(study / "results.csv", keep_default_na=False)
    results[results["name"] != "CAMAL, draw 2"].to_csv(study / "results.csv", index=False)
    html = write_report(study).read_text()
    assert "Missing: CAMAL seed 0; CAMAL seed 1; CAMAL seed 2." in html
    assert tuned_study(read_results(study)).results["name"].unique().tolist() == ["ERM"]


def test_candidates_that_come_late_stand_with_their_protocol(study, tmp_path):
    results = pd.read_csv(study / "results.csv", keep_default_na=False)
    late = (results["name"] == "ERM, draw 2") & (results["seed"] == 0) & (results["protocol"] == "day")
    results[~late].to_csv(study / "results.csv", index=False)
    titles = [one.title for one in candidates(read_results(study))]
    assert titles == ["day · small_cnn"] * 6 + ["night · small_cnn"] * 6
    write_results([study], tmp_path / "results.md")


def test_a_study_without_validation_shows_its_candidates(study, tmp_path):
    results = pd.read_csv(study / "results.csv", keep_default_na=False).assign(val_accuracy="")
    results.to_csv(study / "results.csv", index=False)
    assert tunings(read_results(study)) == candidates(read_results(study)) == []
    write_results([study], tmp_path / "results.md")
    assert "| CAMAL, draw 2 |" in (tmp_path / "results.md").read_text()
    assert "What tuning gave" not in write_report(study).read_text()


def test_the_ledger_counts_every_candidate(study, tmp_path):
    for number, (draw, seed) in enumerate(product(DRAWS, SEEDS)):
        run = study / "runs/day/CAMAL" / draw / str(seed)
        run.mkdir(parents=True)
        (run / "result.json").write_text(
            json.dumps({"name": f"CAMAL, {draw}", "compute": 4.5, "train_seconds": 600 + number})
        )
    other = study / "runs/day/ERM/draw 0/0"
    other.mkdir(parents=True)
    (other / "result.json").write_text(
        json.dumps({"name": "ERM, draw 0", "train_seconds": 60})
    )  # of an earlier version
    write_results([study], tmp_path / "results.md")
    lines = (tmp_path / "results.md").read_text().split("### What it cost")[1].splitlines()
    rows = [line for line in lines if line.startswith("|")][2:5]
    assert rows == ["| ERM | 1 | – | 60 s |", "| CAMAL | 9 | 40.5 | 1 h 31 min |", "| all | 10 | – | 1 h 32 min |"]
    html = re.search(r'<section id="cost">.*?</section>', write_report(study).read_text(), re.DOTALL)[0]
    cells = re.findall(r'<th scope="row">(.*?)</th><td class="number">(.*?)</td><td class="number">(.*?)</td>', html)
    assert cells == [("ERM", "1", "–"), ("CAMAL", "9", "40.5"), ("all", "10", "–")]


def test_runs_that_do_not_tell_their_cost_have_no_ledger(make_study, tmp_path):
    study = make_study()
    write_results([study], tmp_path / "results.md")
    assert "What it cost" not in (tmp_path / "results.md").read_text()
    assert "What it cost" not in write_report(study).read_text()
