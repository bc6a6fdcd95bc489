import numpy as np
import pandas as pd
import pytest

from lookright.report.comparison import sections
from lookright.report.directory import read_results
from lookright.statistics import holm, mean_interval, paired_difference


@pytest.fixture
def study_of(tmp_path):
    def make(rows, **columns):
        table = pd.DataFrame(rows, columns=["name", "seed", "split", "accuracy"]).assign(method=lambda t: t["name"])
        table.assign(**columns).to_csv(tmp_path / "results.csv", index=False)
        return read_results(tmp_path)

    return make


def test_differences_are_paired_by_seed_whatever_the_order(study_of):
    rows = [("CAMAL", 2, "test", 0.9), ("ERM", 0, "test", 0.5), ("CAMAL", 0, "test", 0.6), ("ERM", 2, "test", 0.7)]
    (section,) = sections(study_of([*rows, ("CAMAL", 1, "test", 0.1)]))
    assert section.names == ["ERM", "CAMAL"]
    baseline, camal = section.scores("test", "accuracy")
    assert baseline.difference is None
    assert camal.seeds == [0, 1, 2]
    assert camal.mean == mean_interval([0.6, 0.1, 0.9])
    assert camal.difference == paired_difference([0.6, 0.9], [0.5, 0.7])
    assert section.missing == [("ERM", 1, "test")]


def test_holm_over_the_methods_of_a_split(make_study):
    (section,) = sections(read_results(make_study(methods={"ERM": 0.7, "A": 0.702, "B": 0.705, "C": 0.8})))
    scores = section.scores("unseen", "accuracy")[1:]
    expected = holm([score.difference.p_value for score in scores])
    assert [score.holm for score in scores] == pytest.approx(expected.tolist())
    assert {score.comparisons for score in scores} == {3}
    assert [score.is_clear for score in scores] == [value < 0.05 for value in expected]


def test_a_method_without_a_p_value_is_no_comparison(study_of):
    scores = {"ERM": (0.5, 0.7), "A": (0.6, 0.7), "B": (0.5, 0.8), "twice the same": (0.6, 0.8)}
    rows = [(name, seed, "test", value) for name, values in scores.items() for seed, value in enumerate(values)]
    (section,) = sections(study_of(rows))
    compared = {score.name: score for score in section.scores("test", "accuracy")}
    assert {score.comparisons for score in compared.values()} == {2}
    assert np.isnan(compared["twice the same"].holm)


def test_baseline_is_the_method_erm_under_any_name(study_of):
    rows = [("SAGE", 0, "test", 0.5), ("plain", 0, "test", 0.5)]
    (section,) = sections(study_of(rows, method=["SAGE", "ERM"]))
    assert section.baseline == "plain"
    assert section.names == ["plain", "SAGE"]


def test_without_erm_the_first_method_is_the_baseline(study_of):
    (section,) = sections(study_of([("SAGE", 0, "test", 0.5), ("CAMAL", 0, "test", 0.5)]))
    assert section.baseline == "SAGE"


def test_a_section_per_protocol_and_model(study_of):
    rows = [("ERM", 0, "test", 0.5), ("ERM", 0, "test", 0.6), ("ERM", 0, "test", 0.7)]
    found = sections(study_of(rows, protocol=["a", "a", "b"], model=["x", "y", "x"]))
    assert [(section.protocol, section.model) for section in found] == [("a", "x"), ("a", "y"), ("b", "x")]


def test_what_is_planned_and_not_there_is_missing(make_study):
    directory = make_study(seeds=(0, 1))
    (directory / "study.yaml").write_text("methods: {ERM: , CAMAL: , SAGE: }\nseeds: [0, 1, 2]")
    (section,) = sections(read_results(directory))
    assert section.names == ["ERM", "CAMAL", "SAGE"]
    missing = {(name, seed) for name, seed, _ in section.missing}
    assert missing == {("ERM", 2), ("CAMAL", 2), ("SAGE", 0), ("SAGE", 1), ("SAGE", 2)}
    assert [score.name for score in section.scores("unseen", "accuracy")] == ["ERM", "CAMAL"]


def test_headline_is_conflicting_pairs_or_the_hardest_split(study_of):
    rows = [("ERM", 0, "easy", 0.9), ("ERM", 0, "hard", 0.4), ("SAGE", 0, "easy", 0.1), ("SAGE", 0, "hard", 0.4)]
    assert sections(study_of(rows))[0].headline_split() == "hard"
    assert sections(study_of([*rows, ("ERM", 0, "test_conflict", 0.99)]))[0].headline_split() == "test_conflict"
    assert sections(study_of(rows).__class__(**{**vars(study_of(rows)), "metrics": []}))[0].headline_split() == "easy"
