import pytest

from lookright.rl.evaluate import EVALUATION_SEED, evaluate_policy
from lookright.rl.scripted import PLAYERS, play_scripted


@pytest.mark.parametrize("scenario", ["basic", "defend_the_center", "defend_the_line", "health_gathering"])
def test_rules_that_look_at_the_targets_beat_random_play(scenario):
    scripted = play_scripted(scenario, EVALUATION_SEED, 2)
    random, _ = evaluate_policy(None, scenario, 2)
    assert scripted["return"].mean() > random["return"].mean()
    assert scripted["episode"].tolist() == [0, 1]
    assert (scripted["length"] > 0).all()


def test_every_player_has_its_buttons():
    for scenario in PLAYERS:
        assert play_scripted(scenario, 0, 1)["length"].item() > 0
