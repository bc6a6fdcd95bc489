import pandas as pd
import pytest

from lookright.report.comparison import sections
from lookright.report.directory import read_results
from lookright.report.sentence import summary
from lookright.statistics import Estimate


@pytest.fixture
def said(tmp_path):
    """The summary of runs given as {method: {metric: [a value per seed]}} on conflicting pairs."""

    def say(methods, over_images=None):
        rows = []
        for name, metrics in methods.items():
            for seed in range(max(len(values) for values in metrics.values())):
                values = {metric: series[seed] for metric, series in metrics.items() if seed < len(series)}
                rows.append({"method": name, "seed": seed, "split": "conflicting"} | values)
        pd.DataFrame(rows).to_csv(tmp_path / "results.csv", index=False)
        (section,) = sections(read_results(tmp_path))
        spoken = summary(section, over_images or {})
        return {name: text.replace("\u202f", " ").replace("\u00a0", " ") for name, text in spoken.items()}

    return say


ERM = {"accuracy": [0.73, 0.74, 0.75], "energy_in_mask": [0.43, 0.44, 0.45]}


def test_a_clear_gain(said):
    text = said({"ERM": ERM, "CAMAL": {"accuracy": [0.81, 0.83, 0.82], "energy_in_mask": [0.52, 0.53, 0.545]}})
    assert text == {
        "CAMAL": "On conflicting pairs CAMAL classified 82 % of images correctly, 8 points more than ERM (95 % "
        "interval +6 to +10, p = 0.005, 3 seeds); 53 % of its attention fell inside the mask instead of 44 % (95 % "
        "interval +8 to +10, p < 0.001)."
    }


def test_a_clear_loss(said):
    (text,) = said({"ERM": ERM, "CAMAL": {"accuracy": [0.70, 0.71, 0.725]}}).values()
    assert "CAMAL classified 71 % of images correctly, 3 points fewer than ERM (95 % interval −4 to −2," in text
    assert "attention" not in text


def test_no_clear_difference(said):
    (text,) = said({"ERM": ERM, "CAMAL": {"accuracy": [0.70, 0.78, 0.76]}}).values()
    assert text == (
        "On conflicting pairs CAMAL classified 74.7 % of images correctly and ERM 74.0 %, a difference that may be "
        "chance (95 % interval −8.1 to +9.4, p = 0.77, 3 seeds)."
    )


def test_one_seed_claims_nothing(said):
    methods = {"ERM": {"accuracy": [0.74]}, "CAMAL": {"accuracy": [0.82]}}
    (text,) = said(methods).values()
    assert text == (
        "On conflicting pairs CAMAL classified 82 % of images correctly and ERM 74 %, in one run each, which says "
        "nothing about training once more."
    )
    (text,) = said(methods, {("CAMAL", "accuracy"): Estimate(0.08, 0.05, 0.11, 300)}).values()
    assert "(difference over the same 300 images: 95 % interval +5.0 to +11.0 points)" in text


def test_no_spread(said):
    (text,) = said({"ERM": {"accuracy": [0.5, 0.6]}, "CAMAL": {"accuracy": [0.5, 0.6]}}).values()
    assert "and ERM 55.0 %, the same for each of 2 seeds" in text
    (text,) = said({"ERM": {"accuracy": [0.5, 0.6]}, "CAMAL": {"accuracy": [0.6, 0.7]}}).values()
    assert "no spread to test it against" in text
    assert "more than" not in text


def test_no_seed_in_common(said):
    (text,) = said({"ERM": {"accuracy": [0.7]}, "CAMAL": {"accuracy": [float("nan"), 0.8]}}).values()
    assert "no seed in common" in text


def test_a_method_alone(said):
    (text,) = said({"CAMAL": ERM}).values()
    assert text == (
        "On conflicting pairs CAMAL classified 74 % of images correctly (95 % interval 72 % to 76 %, 3 seeds); "
        "44 % of its attention fell inside the mask."
    )


def test_the_most_accurate_comes_first_and_p_is_corrected(said):
    text = said(
        {
            "ERM": ERM,
            "CYBORG": {"accuracy": [0.74, 0.75, 0.75]},
            "SAGE": {"accuracy": [0.83, 0.85, 0.84]},
            "CAMAL": {"accuracy": [0.80, 0.82, 0.82]},
        }
    )
    assert list(text) == ["SAGE", "CAMAL", "CYBORG"]
    assert "SAGE, the most accurate of 4 methods, classified 84 % of images correctly, 10 points more" in text["SAGE"]
    assert "corrected for 3 comparisons" in text["SAGE"]
    assert "most accurate" not in text["CAMAL"]


def test_a_baseline_that_is_best_is_not_outshone(said):
    text = said({"ERM": ERM, "A": {"accuracy": [0.5, 0.52, 0.51]}, "B": {"accuracy": [0.6, 0.61, 0.62]}})
    assert not any("most accurate" in sentence for sentence in text.values())


RAW, HIDDEN = [0.52, 0.53, 0.545], [0.455, 0.47, 0.48]


def test_a_gain_that_lies_in_the_free_direction_is_named(said):
    baseline = ERM | {"contrast_energy_in_mask": ERM["energy_in_mask"]}
    camal = {"accuracy": [0.81, 0.83, 0.82], "energy_in_mask": RAW, "contrast_energy_in_mask": HIDDEN}
    (text,) = said({"ERM": baseline, "CAMAL": camal}).values()
    assert text.endswith(
        "In the contrast map, without the free direction that all classes share and no probability depends on, it is "
        "47 % and 44 %, +3 points instead of +9."
    )
    (text,) = said({"ERM": baseline, "CAMAL": camal | {"contrast_energy_in_mask": RAW}}).values()
    assert "contrast" not in text
    unsure = camal | {"contrast_energy_in_mask": [0.52, 0.40, 0.60]}
    (text,) = said({"ERM": baseline, "CAMAL": unsure}).values()
    assert "contrast" not in text


def test_the_free_direction_of_a_method_alone(said):
    (text,) = said({"CAMAL": ERM | {"contrast_energy_in_mask": [0.30, 0.32, 0.31]}}).values()
    assert text.endswith("no probability depends on, it is 31 %.")
    (text,) = said({"CAMAL": {"energy_in_mask": [0.44], "contrast_energy_in_mask": [0.36]}}).values()
    assert text.endswith("it is 36 %.")
    (text,) = said({"CAMAL": {"energy_in_mask": [0.44], "contrast_energy_in_mask": [0.41]}}).values()
    assert "contrast" not in text


def test_maps_that_moved_without_the_decision_are_told_first(said):
    baseline = ERM | {"evidence_accuracy": [0.60, 0.62, 0.61]}
    camal = {"accuracy": [0.81, 0.83, 0.82], "energy_in_mask": RAW}
    (text,) = said({"ERM": baseline, "CAMAL": camal | {"evidence_accuracy": [0.61, 0.60, 0.62]}}).values()
    assert text.startswith(
        "The maps of CAMAL moved onto the evidence, but its accuracy on the evidence alone shows no clear gain over "
        "ERM (0.0 points, 95 % interval −"
    )
    (text,) = said({"ERM": baseline, "CAMAL": camal | {"evidence_accuracy": [0.70, 0.72, 0.715]}}).values()
    assert text.startswith("On conflicting pairs")
    still = camal | {"energy_in_mask": ERM["energy_in_mask"], "evidence_accuracy": [0.61, 0.60, 0.62]}
    (text,) = said({"ERM": baseline, "CAMAL": still}).values()
    assert text.startswith("On conflicting pairs")


def test_open_set_is_told(said):
    methods = {"ERM": {"auroc": [0.70, 0.72, 0.71]}, "SAGE": {"auroc": [0.80, 0.81, 0.815]}}
    (text,) = said(methods).values()
    assert text.startswith("SAGE told unknown images from known ones with an AUROC of 0.808, 0.098 above ERM")
    methods = {"ERM": {"auroc": [0.70, 0.72]}, "CAMAL": {"auroc": [0.705, 0.719]}}
    assert "which is no clear difference" in said(methods)["CAMAL"]


def test_one_score_of_the_open_set_is_told(said):
    scores = {"auroc": [0.70, 0.72, 0.71], "auroc_energy": [0.80, 0.81, 0.815]}
    (text,) = said({"ERM": scores, "SAGE": scores}).values()
    assert text.count("AUROC") == 1
    assert "energy" not in text


def test_open_set_names_the_split_where_there_are_several(tmp_path):
    rows = [
        {"method": name, "seed": seed, "split": split, "auroc": value + seed / 100}
        for split, values in {"unknown": {"ERM": 0.7, "SAGE": 0.8}, "scene": {"ERM": 0.6, "SAGE": 0.9}}.items()
        for name, value in values.items()
        for seed in range(3)
    ]
    pd.DataFrame(rows).to_csv(tmp_path / "results.csv", index=False)
    (section,) = sections(read_results(tmp_path))
    (text,) = summary(section, {}).values()
    for value, split in (("0.810", "unknown"), ("0.910", "scene")):
        assert f"with an AUROC of {value} on the split “{split}”" in text


def test_nothing_to_say(said):
    assert said({"ERM": {"my_metric": [1.0]}, "SAGE": {"my_metric": [2.0]}}) == {}
