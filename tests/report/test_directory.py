import json
import shutil

import numpy as np
import pandas as pd
import pytest

from lookright import InputError
from lookright.report.directory import read_evaluation, read_results


def test_reads_a_study(make_study):
    study = read_results(make_study())
    assert len(study.results) == 2 * 3 * 2
    assert study.results["seed"].dtype == int
    assert "my_extra_metric" in study.metrics
    assert not {"images", "run", "seed"} & set(study.metrics)
    assert study.planned["methods"] == ["ERM", "CAMAL"]
    assert next(study.environments()) == {"seed": "0", "device": "cpu", "versions": "python 3.13, torch 2.15"}


def test_reads_a_single_run(make_study):
    study = read_results(make_study() / "runs/shortcut/1/seed-2")
    assert study.results["name"].unique().tolist() == ["CAMAL"]
    assert study.results["split"].tolist() == ["conflicting", "unseen"]
    assert read_evaluation(study.directory / study.results["run"].iloc[0], "unseen") is not None


def test_single_run_with_undefined_metric(make_study):
    run = make_study() / "runs/shortcut/0/seed-0"
    result = json.loads((run / "result.json").read_text())
    result["splits"]["unseen"]["energy_in_mask"] = None
    (run / "result.json").write_text(json.dumps(result))
    results = read_results(run).results.set_index("split")
    assert np.isnan(results.loc["unseen", "energy_in_mask"])
    assert results.loc["conflicting", "energy_in_mask"] > 0


def test_agents_are_sent_to_their_own_commands(tmp_path):
    (tmp_path / "result.json").write_text('{"scenario": "basic", "return": 1.0}')
    with pytest.raises(InputError, match=f"lookright rl watch {tmp_path}"):
        read_results(tmp_path)
    (tmp_path / "results.csv").write_text("scenario,method,seed\nbasic,ERM,0\n")
    with pytest.raises(InputError, match=f"lookright rl results {tmp_path}"):
        read_results(tmp_path)


def test_text_that_looks_like_a_missing_value_stays_text(make_study):
    directory = make_study(methods={"None": 0.7, "NA": 0.8}, labels=("NA", "null", "nan"))
    study = read_results(directory)
    assert study.results["name"].unique().tolist() == ["None", "NA"]
    evaluation = read_evaluation(directory / study.results["run"].iloc[0], "unseen")
    assert evaluation.images["label"].tolist()[:3] == ["NA", "null", "nan"]


def test_only_method_seed_and_split_are_required(tmp_path):
    (tmp_path / "results.csv").write_text("method,seed,split,accuracy\nERM,0,test,0.5\n")
    results = read_results(tmp_path).results
    assert results["name"].tolist() == ["ERM"]
    assert results["protocol"].tolist() == [""]


def test_runs_without_result_are_listed(make_study):
    directory = make_study()
    shutil.copytree(directory / "runs/shortcut/0/seed-0", directory / "runs/shortcut/0/seed-9")
    (directory / "runs/shortcut/0/seed-9/result.json").unlink()
    assert read_results(directory).unfinished == ["runs/shortcut/0/seed-9"]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (None, None, "no directory .*nowhere"),
        ("other.txt", "", "neither results.csv .* nor result.json"),
        ("results.csv", "method,split\nERM,test\n", "method, split; expected method, seed, split"),
        ("results.csv", "method,seed,split\n", "no rows"),
        ("results.csv", "", "expected a table"),
        ("results.csv", 'method,seed,split\n"ERM,0,test\n', "cannot read"),
        ("results.csv", "method,seed,split\nERM,one,test\n", "seed 'one'"),
        ("results.csv", "method,seed,split\nERM,1.5,test\n", "seed '1.5'"),
        ("results.csv", "method,seed,split\nERM,0,test\nERM,0,test\n", "two rows for 'ERM', seed 0, split 'test'"),
        ("result.json", "{", "as JSON"),
        ("result.json", "[]", "holds a list"),
        ("result.json", '{"method": "ERM", "seed": 0, "splits": {}}', "no test split"),
        ("result.json", '{"method": "ERM", "splits": {"test": {"accuracy": 1}}}', "seed ''"),
    ],
)
def test_malformed_directories_are_named(tmp_path, name, content, message):
    directory = tmp_path / "nowhere"
    if name:
        directory.mkdir()
        (directory / name).write_text(content)
    with pytest.raises(InputError, match=message) as caught:
        read_results(directory)
    assert str(directory) in str(caught.value)


def test_evaluation_that_was_not_kept(make_study):
    run = make_study() / "runs/shortcut/0/seed-0"
    assert read_evaluation(run, "another") is None
    (run / "evaluation/unseen.npz").unlink()
    assert read_evaluation(run, "unseen").arrays == {}


def test_malformed_evaluation_is_named(make_study):
    run = make_study() / "runs/shortcut/0/seed-0"
    whole = (run / "evaluation/unseen.npz").read_bytes()
    (run / "evaluation/unseen.npz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match=r"unseen\.npz"):
        read_evaluation(run, "unseen")
    pd.DataFrame({"file": ["a"]}).to_csv(run / "evaluation/unseen.csv", index=False)
    with pytest.raises(InputError, match="expected `image`"):
        read_evaluation(run, "unseen")
    table = pd.read_csv(run / "evaluation/conflicting.csv")
    table.head(2).to_csv(run / "evaluation/conflicting.csv", index=False)
    with pytest.raises(InputError, match=r"row 5 of .*conflicting\.csv.* which has 2 rows"):
        read_evaluation(run, "conflicting")
