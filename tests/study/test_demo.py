import pandas as pd
import pytest

from lookright.cli import main
from lookright.study import demo
from lookright.study.demo import METHODS, PLAIN, run_demo, what_was_seen


def test_the_bestiary_is_rendered_and_trained_on(tmp_path, monkeypatch):
    pytest.importorskip("vizdoom")
    monkeypatch.setattr(demo, "METHODS", {PLAIN: METHODS[PLAIN]})
    results = run_demo(tmp_path / "demo", seeds=1, jobs=1, budget=1, images_per_pair=2, images_at_home=10)
    assert set(results["split"]) == {"aligned", "conflicting", "unseen"}
    assert len(what_was_seen(results)) == 2


def test_on_a_folder_it_ends_with_what_was_seen_and_the_report(squares, tmp_path, capsys):
    out = tmp_path / "demo"
    main(["demo", "--data", str(squares), "--out", str(out), "--seeds", "1", "--jobs", "1", "--budget", "1"])
    *_, right, look, report = capsys.readouterr().out.splitlines()
    assert "'test'" in right
    assert "Graft + CAMAL" in look
    assert report == f"Open {out / 'report.html'}"
    assert "Graft + CAMAL" in (out / "report.html").read_text()


def test_what_was_seen_is_the_mean_over_seeds_on_the_split_that_is_hardest_for_plain_training():
    rows = [
        {
            "split": split,
            "name": name,
            "seed": seed,
            "accuracy": accuracy + 0.02 * seed,
            "contrast_energy_in_mask": energy,
        }
        for split, name, accuracy, energy in [
            ("easy", PLAIN, 0.8, 0.2),
            ("easy", "CAMAL", 0.1, 0.3),
            ("hard", PLAIN, 0.4, 0.25),
            ("hard", "CAMAL", 0.5, 0.5),
        ]
        for seed in (0, 1)
    ]
    results = pd.DataFrame(rows).assign(flat_energy_in_mask=0.125)
    right, look = what_was_seen(results)
    assert right == "Is it right? Of the images of 'hard', the hardest split: plain training 41%, CAMAL 51%."
    assert "plain training 25%, CAMAL 50%; spread evenly, 12%" in look
    _, empty = what_was_seen(results.assign(contrast_energy_in_mask=[0.5] * 6 + [float("nan")] * 2))
    assert "plain training 50%, CAMAL nothing (its map is empty)" in empty
    _, unknown = what_was_seen(results.assign(flat_energy_in_mask=float("nan")))
    assert "no image of this split has a mask" in unknown
