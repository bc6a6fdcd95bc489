import numpy as np
import pandas as pd
import pytest

from lookright import statistics
from lookright.errors import InputError
from lookright.rl.results import score_matrix, with_scores, write_results


@pytest.fixture
def directory(tmp_path):
    """A study of made-up results: two scenarios, three seeds, and CAMAL better by a tenth of the range."""
    rows = []
    for scenario, random, best in (("basic", -100.0, 100.0), ("take_cover", 200.0, 300.0)):
        for seed in range(3):
            for name, share in (("PPO", 0.5 + seed / 10), ("CAMAL", 0.6 + seed / 5)):
                run = f"runs/{scenario}/{name}/seed-{seed}"
                rows.append(
                    {
                        **{"scenario": scenario, "method": name, "name": name, "seed": seed, "timesteps": 1000},
                        **{"episodes": 20, "return": random + share * (best - random), "random_return": random},
                        **{"energy_in_mask": share, "attention_gap": share, "insertion": share, "deletion": 1 - share},
                        **{"mask_share": 0.01, "run": run},
                    }
                )
                (tmp_path / run).mkdir(parents=True)
                log = pd.DataFrame({"step": [100, 200], "train/return": [random, best]})
                log.to_csv(tmp_path / run / "metrics.csv", index=False)
                (tmp_path / run / "environment.json").write_text('{"device": "a processor, threads: 1"}')
    pd.DataFrame(rows).to_csv(tmp_path / "results.csv", index=False)
    return tmp_path


def test_scores_lie_between_random_play_and_the_best_agent(directory):
    table = with_scores(pd.read_csv(directory / "results.csv"))
    expected = np.array([0.5, 0.6, 0.7])  # the best agent, CAMAL's with seed 2, reaches the best return
    np.testing.assert_allclose(score_matrix(table, "PPO", "score"), np.stack([expected, expected], axis=1))
    assert table["score"].max() == pytest.approx(1)


def test_agents_worse_than_random_play_have_negative_scores():
    table = pd.DataFrame({"scenario": "health_gathering", "return": [350.0, 320.0, 400.0], "random_return": 400.0})
    assert with_scores(table)["score"].tolist() == [-0.625, -1.0, 0.0]


def test_missing_run_is_nan(directory):
    table = with_scores(pd.read_csv(directory / "results.csv")).drop(index=0)
    matrix = score_matrix(table, "PPO", "score")
    assert np.isnan(matrix).tolist() == [[True, False], [False, False], [False, False]]


def test_page_holds_the_statistics_and_the_figure(directory, tmp_path):
    out = tmp_path / "docs" / "results.md"
    write_results(directory, out)
    page = out.read_text()
    table = with_scores(pd.read_csv(directory / "results.csv"))
    for name in ("PPO", "CAMAL"):
        iqm = statistics.aggregate(score_matrix(table, name, "score"))["iqm"]
        assert f"| {name} | {iqm.value:.3f} [{iqm.low:.3f}, {iqm.high:.3f}] |" in page
    better = statistics.probability_of_improvement(
        *(-score_matrix(table, name, "deletion") for name in ("CAMAL", "PPO"))
    )
    assert better.value > 0.5
    assert f"{better.value:.3f} [{better.low:.3f}, {better.high:.3f}] |" in page
    assert "Random play returns -100." in page
    assert "Trained on: a processor, threads: 1." in page
    assert "| CAMAL | 60 ± 99 |" in page  # -100 + 200 · (0.6, 0.8, 1.0)
    figure = out.with_suffix(".svg")
    first = figure.read_bytes()
    assert b"take_cover" in first or b"<path" in first
    write_results(directory, out)
    assert figure.read_bytes() == first
    assert out.read_text() == page


def test_directory_without_agents_is_refused(tmp_path):
    with pytest.raises(InputError, match="No results of agents"):
        write_results(tmp_path, tmp_path / "out.md")
    (tmp_path / "results.csv").write_text("protocol,name\n")
    with pytest.raises(InputError, match="No results of agents"):
        write_results(tmp_path, tmp_path / "out.md")
