import pandas as pd
import pytest
import torch

from lookright import InputError
from lookright.training.attack_detection import attack_summary
from lookright.training.evaluation import SplitEvaluation
from lookright.training.results import evaluate_run
from lookright.training.run import train

CLASSES = ["live", "mask", "print"]


def evaluation_of(labels, attack_probability):
    """What a split gave, as far as rates of attacks read it: 1 − p(live), the rest shared out unequally."""
    attack = torch.tensor(attack_probability)
    logits = torch.stack([1 - attack, 0.9 * attack, 0.1 * attack], 1).log()
    return SplitEvaluation(pd.DataFrame({"label": labels}), {}, torch.zeros(0, 1, 1), logits, torch.zeros(0, 1))


def test_rates_of_a_worked_example():
    """The bona fide images of both splits set the threshold 0.6; an attack passes at or below it."""
    test = evaluation_of(["live", "mask", "live", "print", "print"], [0.6, 0.9, 0.1, 0.5, 0.8])
    unknown = evaluation_of(["replay", "live", "wax", "replay", "wax", "wax"], [0.2, 0.3, 0.7, 0.4, 0.5, 0.9])
    summary = attack_summary([test, unknown], test, CLASSES, "live")
    assert summary == {
        "apcer_at_1_bpcer_worst_attack": pytest.approx(1 / 2),  # print
        "apcer_at_1_bpcer_all_attacks": pytest.approx(1 / 3),
    }
    summary = attack_summary([test, unknown], unknown, CLASSES, "live")
    assert summary == {
        "apcer_at_1_bpcer_worst_attack": 1.0,  # replay
        "apcer_at_1_bpcer_all_attacks": pytest.approx(3 / 5),
    }
    assert attack_summary([test], unknown, CLASSES, "live")["apcer_at_1_bpcer_all_attacks"] == pytest.approx(3 / 5)


def test_at_most_one_in_a_hundred_bona_fide_images_is_refused():
    genuine = evaluation_of(["live"] * 200, [number / 1000 for number in range(200)])
    attacks = evaluation_of(["mask"] * 4, [0.1965, 0.1975, 0.1985, 0.5])
    assert attack_summary([genuine], attacks, CLASSES, "live")["apcer_at_1_bpcer_all_attacks"] == 1 / 4


def test_a_split_without_attacks_has_no_rate():
    genuine = evaluation_of(["live", "live"], [0.1, 0.2])
    assert set(attack_summary([genuine], genuine, CLASSES, "live").values()) == {None}


def test_a_run_counts_known_and_unknown_attacks(own_squares, settings, tmp_path):
    protocol = {"class_path": "OpenSet", "init_args": {"unknown": ["blue"], "bona_fide": "red"}}
    run = train(settings(own_squares, tmp_path / "run", protocol=protocol, epochs=1, faithfulness="none"))
    splits = evaluate_run(run)["splits"]
    for split in ("test", "unknown"):
        for name in ("worst_attack", "all_attacks"):
            assert 0 <= splits[split][f"apcer_at_1_bpcer_{name}"] <= 1
    protocol["init_args"]["bona_fide"] = "blue"
    with pytest.raises(InputError, match="bona_fide is 'blue', which no training image .* Expected one of green, red"):
        train(settings(own_squares, tmp_path / "other", protocol=protocol))
