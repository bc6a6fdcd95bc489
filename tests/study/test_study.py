import json
import shutil
from pathlib import Path
from statistics import fmean

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from PIL import Image

from lookright import InputError
from lookright.cli import main
from lookright.report.selection import RULES, select_candidates
from lookright.run_directory import file_name, only_writer
from lookright.study import read_study, run_study
from lookright.study.status import run_states
from lookright.training.run import load_last_step, load_run, train
from lookright.training.run_data import load_data
from lookright.training.step import TrainingStep


def write_study(folder, data, settings):
    """Two methods, two seeds, one protocol."""
    shared = settings(data, "unused", epochs=1)
    del shared["out"]
    path = folder / "study.yaml"
    path.write_text(
        yaml.safe_dump(
            {
                "methods": {
                    "ERM": None,
                    "strong CAMAL": {"method": {"class_path": "CAMAL", "init_args": {"weight": 3.0}}},
                },
                "protocols": {"given": {"protocol": "GivenSplits"}},
                "seeds": [0, 1],
                "settings": shared,
            }
        )
    )
    return path


@pytest.fixture
def config(squares, settings, tmp_path):
    return write_study(tmp_path, squares, settings)


@pytest.fixture(scope="module")
def whole(squares, settings, tmp_path_factory):
    """The directory of that study, done; no test changes it."""
    folder = tmp_path_factory.mktemp("whole")
    run_study(write_study(folder, squares, settings), folder / "out")
    return folder / "out"


@pytest.fixture
def finished(whole, tmp_path):
    """A copy of it to break."""
    return Path(shutil.copytree(whole, tmp_path / "out"))


def test_runs_on_several_devices_are_refused(config, tmp_path):
    study = yaml.safe_load(config.read_text())
    study["settings"] |= {"devices": 2, "batch_size": 12}
    config.write_text(yaml.safe_dump(study))
    with pytest.raises(InputError, match="several devices"):
        run_study(config, tmp_path / "study")
    assert not (tmp_path / "study").exists()


def test_one_row_per_run_and_split(config, finished):
    out = finished
    table = run_study(config, out)
    assert list(table.columns[:8]) == [
        "protocol", "name", "method", "model", "seed", "split", "images", "images_with_mask",
    ]  # fmt: skip
    assert table["name"].tolist() == ["ERM", "strong CAMAL"] * 2
    assert table["method"].tolist() == ["ERM", "CAMAL"] * 2
    assert table["seed"].tolist() == [0, 0, 1, 1]
    assert set(table["split"]) == {"test"}
    assert {"accuracy", "worst_group_accuracy", "energy_in_mask", "attention_gap", "pointing_game", "iou"} <= set(table)
    assert {"insertion", "deletion"} <= set(table)
    written = pd.read_csv(out / "results.csv")
    assert list(written) == list(table)
    for row in written.itertuples():
        result = json.loads((out / row.run / "result.json").read_text())
        assert result["splits"]["test"]["accuracy"] == pytest.approx(row.accuracy, abs=1e-5)


def test_a_second_time_does_only_what_is_missing(config, finished):
    out = finished
    files = {path: path.stat().st_mtime_ns for path in out.rglob("model.safetensors")}
    (out / "runs/given/ERM/seed-1/result.json").unlink()
    first = pd.read_csv(out / "results.csv")
    run_study(config, out)
    assert {path: path.stat().st_mtime_ns for path in out.rglob("model.safetensors")} == files
    pd.testing.assert_frame_equal(pd.read_csv(out / "results.csv"), first)


def test_an_interrupted_study_goes_on_and_ends_alike(config, whole, tmp_path, monkeypatch):
    forward, steps = TrainingStep.forward, []

    def interrupt(self, held):
        steps.append(1)
        if len(steps) == 6:
            raise KeyboardInterrupt
        return forward(self, held)

    with monkeypatch.context() as patch:
        patch.setattr(TrainingStep, "forward", interrupt)
        with pytest.raises((KeyboardInterrupt, SystemExit)):
            run_study(config, tmp_path / "broken")
    assert len(pd.read_csv(tmp_path / "broken/results.csv")) == 1
    run_study(config, tmp_path / "broken")
    assert (tmp_path / "broken/results.csv").read_bytes() == (whole / "results.csv").read_bytes()


def test_two_jobs_do_the_same(config, whole, tmp_path):
    config.write_text(yaml.safe_dump(yaml.safe_load(config.read_text()) | {"seeds": [0]}))
    together = run_study(config, tmp_path / "two", jobs=2)
    alone = pd.read_csv(whole / "results.csv").query("seed == 0")
    pd.testing.assert_frame_equal(alone, together, atol=0.05, rtol=0.05, check_dtype=False)


def test_a_run_that_fails_does_not_stop_the_others(config, tmp_path, monkeypatch):
    content = yaml.safe_load(config.read_text())
    content["methods"] = {"broken": {"method": "ERM", "weights": "nowhere.pth"}, "ERM": {}}
    config.write_text(yaml.safe_dump(content, sort_keys=False))
    with pytest.raises(InputError, match=r"2 of 4 runs failed, the first: .*No weights 'nowhere\.pth'"):
        run_study(config, tmp_path / "out")
    assert pd.read_csv(tmp_path / "out/results.csv")["name"].tolist() == ["ERM", "ERM"]


def test_a_damaged_run_does_not_stop_the_others(config, finished, tmp_path, capsys):
    damaged, gone = (finished / "runs/given" / name / "seed-0" for name in ("ERM", file_name("strong CAMAL")))
    (damaged / "result.json").write_text('{"splits": ')
    shutil.rmtree(gone)
    with pytest.raises(InputError, match="1 of 4 runs failed, the first: runs/given/ERM/seed-0: Cannot read"):
        run_study(config, tmp_path / "out")
    assert (gone / "result.json").is_file()
    assert main(["study", "status", str(tmp_path / "out")]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("runs/given/ERM/seed-0  failed: Cannot read")
    assert [line.split("  ")[1] for line in lines[1:4]] == ["finished"] * 3
    assert lines[4] == "1 failed, 3 finished"
    assert main(["study", "status", str(tmp_path / "out"), "--watch", "0.1"]) == 0  # until nothing is left to do
    assert "1 failed, 3 finished" in capsys.readouterr().out


def test_the_states_of_runs(config, tmp_path):
    names = ["begun", "written", "waiting"]
    for name in names[:2]:
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.yaml").touch()
    with only_writer(tmp_path / "written"):
        states = dict(run_states(tmp_path, [tmp_path / name for name in names]))
    assert states == {"begun": "interrupted", "written": "running", "waiting": "waiting"}


def test_a_grid_of_millions_is_refused_at_once(config, tmp_path):
    content = yaml.safe_load(config.read_text()) | {"seeds": list(range(2000)), "models": [f"m{n}" for n in range(50)]}
    config.write_text(yaml.safe_dump(content))
    with pytest.raises(InputError, match="2000 x 1 x 50 x 2 = 200,000 runs; expected at most 10,000"):
        run_study(config, tmp_path / "out")


def test_a_bug_in_one_run_does_not_stop_the_others(config, tmp_path, monkeypatch):
    def forward(self, held, forward=TrainingStep.forward):
        if self.method.__class__.__name__ == "CAMAL":
            raise ZeroDivisionError("a bug")
        return forward(self, held)

    monkeypatch.setattr(TrainingStep, "forward", forward)
    with pytest.raises(
        InputError, match="2 of 4 runs failed, the first: .*a bug of lookright.*ZeroDivisionError: a bug"
    ):
        run_study(config, tmp_path / "out")
    assert pd.read_csv(tmp_path / "out/results.csv")["name"].tolist() == ["ERM", "ERM"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("methods: {ERM: {}}\nseeds: 5", "seeds: 5 in .*expected a list of whole numbers"),
        ("methods: {ERM: {}}\nseeds: []", "expected a list of whole numbers"),
        ("methods: {ERM: ERM}\nseeds: [0]", "methods: ERM: 'ERM' in"),
        ("methods: 3\nseeds: [0]", "methods: 3 in .*expected a list of names"),
        ("methods: [ERM]\nseeds: [0]\nsettings: 3", "settings: 3 in"),
        ("methods: [ERM]\nseeds: [1, 0, 1]", r"seeds: \[1, 0, 1\] in .*expected each once"),
        ("methods: [ERM]\nseeds: [0]\ncandidates: {ERM: {a: [1]}}", r"candidates: ERM: a: \[1\] in"),
        ("methods: [ERM]\nseeds: [0]\ncandidates: {ERM: 3}", "candidates: ERM: 3 in .*expected a list of names"),
    ],
)
def test_a_study_of_other_types_is_refused_in_a_sentence(tmp_path, text, message):
    (tmp_path / "study.yaml").write_text(text)
    with pytest.raises(InputError, match=message):
        read_study(tmp_path / "study.yaml")


def test_methods_and_protocols_may_be_lists_of_names(tmp_path):
    (tmp_path / "study.yaml").write_text(
        "methods: [ERM, CAMAL]\nseeds: [0]\nprotocols: [GivenSplits]\nsettings: {data: d}"
    )
    names = [run.settings.name for run in read_study(tmp_path / "study.yaml").runs(tmp_path)]
    assert names == ["ERM", "CAMAL"]


def test_changed_settings_do_not_mix_with_finished_runs(config, finished):
    content = yaml.safe_load(config.read_text())
    content["settings"]["lr"] = 0.5
    config.write_text(yaml.safe_dump(content))
    with pytest.raises(InputError, match=r"was done with lr = 0\.01, and the study now says 0\.5"):
        run_study(config, finished)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "as YAML"),
        ("[]", "is no such study; expected a mapping with methods, seeds"),
        ("{methods: {}}", "is no such study; expected a mapping with methods, seeds"),
        ("{methods: {}, seeds: [], sed: 1}", "'sed'"),
    ],
)
def test_files_that_are_no_study(tmp_path, content, message):
    (tmp_path / "study.yaml").write_text(content)
    with pytest.raises(InputError, match=message):
        read_study(tmp_path / "study.yaml")


def test_models_are_a_dimension_of_the_grid(config, tmp_path):
    content = yaml.safe_load(config.read_text())
    content |= {"models": {"narrow": {"model": "small_cnn", "model_arguments": {"width": 4}}, "small_cnn": None}}
    config.write_text(yaml.safe_dump(content))
    runs = list(read_study(config).runs(tmp_path))
    assert len(runs) == 8
    assert len({run.directory for run in runs}) == 8
    assert {run.settings.model_arguments["width"] for run in runs} == {4, 8}


def test_a_trained_run_is_only_evaluated(config, tmp_path, monkeypatch):
    config.write_text(yaml.safe_dump(yaml.safe_load(config.read_text()) | {"methods": ["ERM"], "seeds": [0]}))
    run = next(iter(read_study(config).runs(tmp_path / "out")))
    train(run.settings)
    assert not (tmp_path / "out" / run.directory / "result.json").exists()
    monkeypatch.setattr(TrainingStep, "forward", None)
    assert len(run_study(config, tmp_path / "out")) == 1


@pytest.fixture
def selection(settings, tmp_path):
    """A study that chooses between two candidates, of images from three domains."""
    random = np.random.default_rng(0)
    folder, rows = tmp_path / "domains", []
    for domain in ("ink", "oil", "photo"):
        for label in ("dark", "light"):
            (folder / domain / label).mkdir(parents=True)
            for number in range(10):
                image = f"{domain}/{label}/{number}.png"
                level = random.normal(90 if label == "dark" else 140, 40)
                pixels = random.normal(level, 30, (16, 16, 3)).clip(0, 255).astype(np.uint8)
                Image.fromarray(pixels).save(folder / image)
                rows.append({"image": image, "label": label, "domain": domain})
    pd.DataFrame(rows).to_csv(folder / "labels.csv", index=False)
    shared = settings(folder, "unused", size=16, epochs=2, faithfulness="none")
    del shared["out"]
    splits = {"val_share": 0.3, "oracle": True}
    content = {
        "methods": {"ERM": None},
        "candidates": {"ERM": {"fast": {"lr": 0.03}, "slow": {"lr": 0.0003}}},
        "protocols": {
            domain: {"protocol": {"class_path": "LeaveOneDomainOut", "init_args": {"held_out": domain, **splits}}}
            for domain in ("oil", "photo")
        },
        "cross_validation": True,
        "seeds": [0],
        "settings": shared,
    }
    path = tmp_path / "study.yaml"
    path.write_text(yaml.safe_dump(content))
    return path


def test_cross_validation_holds_out_each_of_the_other_domains(selection, tmp_path):
    runs = list(read_study(selection).runs(tmp_path / "out"))
    assert [(run.protocol, run.settings.name) for run in runs] == [
        (protocol, f"ERM, {candidate}") for protocol in ("oil", "photo") for candidate in ("fast", "slow")
    ]
    for run in runs:
        assert set(run.cross_validation) == {"ink", "oil", "photo"} - {run.protocol}
        for domain, other in run.cross_validation.items():
            assert other.settings.lr == run.settings.lr
            own, protocol = run.settings.protocol.init_args, other.settings.protocol.init_args
            assert set(protocol.held_out) == {domain, run.protocol}
            assert (protocol.val_share, protocol.test_share) == (own.val_share, own.test_share)
    both = [run.cross_validation[other].directory for run, other in zip(runs[::2], ("photo", "oil"), strict=True)]
    assert both[0] == both[1]


def test_candidates_are_chosen_by_what_the_rules_may_look_at(selection, tmp_path):
    content = yaml.safe_load(selection.read_text())
    del content["protocols"]["photo"]
    selection.write_text(yaml.safe_dump(content))
    out = tmp_path / "out"
    table = run_study(selection, out)
    assert len(list(out.rglob("result.json"))) == 2 * (1 + 2)
    assert table["name"].tolist() == ["ERM, fast"] * 2 + ["ERM, slow"] * 2
    assert set(table["split"]) == {"in_distribution", "out_of_distribution"}
    assert set(table["protocol"]) == {"oil"}

    def accuracy(classifier, run, split):
        data = load_data(run.settings.data, run.settings.protocol, 0)
        with torch.no_grad():
            ((logits, label),) = (
                (classifier(batch["image"]).logits, batch["label"]) for batch in data.loader(split, run.preprocessing)
            )
        return (logits.argmax(1) == label).float().mean().item()

    for row in table[table["split"] == "out_of_distribution"].itertuples():
        run = load_run(out / row.run)
        last = load_last_step(run)
        assert row.accuracy == pytest.approx(accuracy(run.classifier, run, "out_of_distribution"))
        assert row.val_accuracy == pytest.approx(accuracy(run.classifier, run, "val"))
        assert row.oracle_accuracy == pytest.approx(accuracy(last, run, "oracle_val"))
        assert row.last_step_accuracy == pytest.approx(accuracy(last, run, "out_of_distribution"))
        name = row.name.removeprefix("ERM, ")
        held_out = {
            domain: json.loads(
                (out / f"runs/cross-validation/{file_name(pair)}/ERM/{name}/seed-0/result.json").read_text()
            )
            for domain, pair in (("ink", "ink and oil"), ("photo", "oil and photo"))
        }
        assert row.cross_validation_accuracy == pytest.approx(
            fmean(result["splits"][f"held_out_{domain}"]["accuracy"] for domain, result in held_out.items())
        )
    assert select_candidates(table)["rule"].tolist() == list(RULES)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"candidates": {"CAMAL": {"a": {}}}}, "Candidates of 'CAMAL', which is no method; expected ERM"),
        ({"candidates": {}}, "add the key 'candidates' or 'search'"),
        ({"protocols": {"WithinDomain": {}}}, "there is a protocol WithinDomain"),
    ],
)
def test_studies_that_cannot_choose(selection, tmp_path, change, message):
    selection.write_text(yaml.safe_dump(yaml.safe_load(selection.read_text()) | change))
    with pytest.raises(InputError, match=message):
        list(read_study(selection).runs(tmp_path))


def test_a_method_without_candidates_is_its_own_only_one_and_names_may_be_numbers(selection, tmp_path):
    content = yaml.safe_load(selection.read_text())
    content["methods"] = ["ERM", "CAMAL", "CARE"]
    content["candidates"] = {"ERM": {1: {"lr": 0.03}, 2: None}, "CAMAL": None}
    selection.write_text(yaml.safe_dump(content))
    names = [run.settings.name for run in read_study(selection).runs(tmp_path) if run.protocol == "oil"]
    assert names == ["ERM, 1", "ERM, 2", "CAMAL", "CARE"]


def test_a_study_of_no_run_is_refused(tmp_path):
    (tmp_path / "study.yaml").write_text("methods: []\nseeds: [0]\nsettings: {data: d}")
    with pytest.raises(InputError, match="asks for no run"):
        run_study(tmp_path / "study.yaml", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_runs_of_different_settings_share_no_directory(selection, tmp_path):
    content = yaml.safe_load(selection.read_text())
    content["protocols"]["photo"]["epochs"] = 7
    selection.write_text(yaml.safe_dump(content))
    with pytest.raises(
        InputError, match=r"would share the directory '.*/runs/cross-validation/oil-and-photo-\w+/ERM/fast/"
    ):
        run_study(selection, tmp_path / "out")


def test_settings_of_a_study_are_set_on_the_command_line(config, tmp_path, monkeypatch):
    asked = {}
    monkeypatch.setattr(
        "lookright.study.run_study", lambda config, *_: asked.update(yaml.safe_load(config.read_text()))
    )
    assert main(["study", str(config), "--out", str(tmp_path), "--set.epochs", "7", "--set.channels_last", "true"]) == 0
    before = yaml.safe_load(config.read_text())
    assert asked["settings"] == before["settings"] | {"epochs": 7, "channels_last": True}
    assert asked["methods"] == before["methods"]
