import numpy as np
import pandas as pd

from lookright.report.agents_table import score_matrix, with_scores


def table_of(shares):
    """Results by (name, scenario, seed), where random play gets 0 and the best agent 1."""
    rows = [
        {"name": name, "scenario": scenario, "seed": seed, "return": share, "random_return": 0.0}
        for (name, scenario, seed), share in shares.items()
    ]
    return with_scores(pd.DataFrame(rows))


def test_scores_lie_between_random_play_and_the_best_agent():
    table = pd.DataFrame({"scenario": list("aabb"), "return": [1.0, 3.0, 20.0, 15.0], "random_return": [1, 1, 10, 10]})
    assert with_scores(table)["score"].tolist() == [0.0, 1.0, 1.0, 0.5]


def test_agents_worse_than_random_play_have_negative_scores():
    table = pd.DataFrame({"scenario": "health_gathering", "return": [350.0, 320.0, 400.0], "random_return": 400.0})
    assert with_scores(table)["score"].tolist() == [-0.625, -1.0, 0.0]


def test_agents_that_all_play_like_random_score_0():
    table = pd.DataFrame({"scenario": list("aab"), "return": [5.0, 5.0, 2.0], "random_return": [5.0, 5.0, 1.0]})
    assert with_scores(table)["score"].tolist() == [0.0, 0.0, 1.0]


def test_score_matrix_has_every_scenario_of_the_table():
    table = table_of({("PPO", "b", 0): 0.5, ("CAMAL", "a", 0): 1.0, ("CAMAL", "b", 0): 0.2, ("CAMAL", "b", 1): 1.0})
    np.testing.assert_array_equal(score_matrix(table, "PPO", "score"), [[0.5, np.nan]])
    np.testing.assert_array_equal(score_matrix(table, "CAMAL", "score"), [[0.2, 1.0], [1.0, np.nan]])
