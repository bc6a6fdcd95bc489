import json
import math
import os
import shutil
import signal

import pandas as pd
import pytest
import safetensors.torch
import torch

from lookright import InputError
from lookright.interruption import Interrupted
from lookright.methods import CAMAL, Loss
from lookright.run_directory import read_facts
from lookright.tasks import CrossEntropy
from lookright.training.loop import TrainingLoop
from lookright.training.run import load_last_step, load_run, resume, train
from lookright.training.settings import read_settings
from lookright.training.small_cnn import SmallCNN
from lookright.training.step import TrainingStep


def weights(run):
    return safetensors.torch.load_file(run / "model.safetensors")


def assert_equal(one, other):
    assert set(one) == set(other)
    for key, value in one.items():
        assert torch.equal(value, other[key]), key


class Killed(BaseException):
    """As sudden as a signal."""


def kill_in_step(monkeypatch, step):
    learn = TrainingLoop._learn

    def learn_or_die(self, batch, moves):
        if self.progress.step == step:
            raise Killed
        learn(self, batch, moves)

    monkeypatch.setattr(TrainingLoop, "_learn", learn_or_die)


@pytest.fixture(scope="module")
def finished(tmp_path_factory, squares, settings):
    out = tmp_path_factory.mktemp("runs") / "finished"
    return train(settings(squares, out, method="CAMAL", epochs=6))


def test_a_run_has_what_is_needed_to_repeat_it(finished):
    files = {path.name for path in finished.directory.iterdir()}
    assert {"config.yaml", "environment.json", "metrics.csv", "model.safetensors", "last.ckpt"} <= files
    environment = json.loads((finished.directory / "environment.json").read_text())
    assert {"versions", "device", "seed", "data"} <= set(environment)
    log = pd.read_csv(finished.directory / "metrics.csv")
    assert {"step", "train/task", "train/camal", "train/loss", "val/accuracy"} <= set(log)
    total = log["train/task"] + log["train/camal"]
    assert total.dropna().to_numpy() == pytest.approx(log["train/loss"].dropna().to_numpy(), abs=1e-4)


def test_it_learns(finished):
    assert pd.read_csv(finished.directory / "metrics.csv")["val/accuracy"].max() > 0.8


def test_the_weights_load_into_the_plain_model(finished):
    model = SmallCNN(3, 8)
    model.load_state_dict(weights(finished.directory))
    image = torch.rand(2, 3, 32, 32)
    assert torch.equal(model.eval()(image), finished.classifier(image).logits)
    assert torch.equal(load_run(finished.directory).classifier(image).logits, finished.classifier(image).logits)


def test_the_same_settings_give_the_same_weights(finished, squares, settings, tmp_path):
    again = train(settings(squares, tmp_path / "again", method="CAMAL", epochs=6))
    assert_equal(weights(again.directory), weights(finished.directory))
    workers = train(settings(squares, tmp_path / "workers", method="CAMAL", epochs=6, workers=2))
    assert_equal(weights(workers.directory), weights(finished.directory))


@pytest.mark.parametrize("step", [1, 8, 12])
def test_a_killed_run_resumes_bit_for_bit(finished, squares, settings, tmp_path, monkeypatch, step):
    config = settings(squares, tmp_path / "killed", method="CAMAL", epochs=6, checkpoint_every=3)
    with monkeypatch.context() as patch:
        kill_in_step(patch, step)
        with pytest.raises(Killed):
            train(config)
    assert not (tmp_path / "killed/model.safetensors").exists()
    run = resume(tmp_path / "killed")
    assert_equal(weights(run.directory), weights(finished.directory))
    log, unbroken = (pd.read_csv(path / "metrics.csv") for path in (run.directory, finished.directory))
    assert log["train/loss"].dropna().tolist() == unbroken["train/loss"].dropna().tolist()


ALIGN = {"class_path": "ALIGN", "init_args": {"warmup": 2, "masker_warmup": 2}}


@pytest.mark.parametrize(
    ("method", "batch_size"),
    [("CAMAL", 18), (ALIGN, 9)],
    ids=["CAMAL, 3 batches an epoch", "ALIGN, 6 batches an epoch"],
)
def test_a_run_with_accumulated_gradients_resumes_bit_for_bit(
    squares, settings, tmp_path, monkeypatch, method, batch_size
):
    config = {"method": method, "accumulate": 2, "batch_size": batch_size, "epochs": 4, "checkpoint_every": 3}
    whole = train(settings(squares, tmp_path / "whole", **config))
    with monkeypatch.context() as patch:
        kill_in_step(patch, 5)
        with pytest.raises(Killed):
            train(settings(squares, tmp_path / "killed", **config))
    assert_equal(weights(resume(tmp_path / "killed").directory), weights(whole.directory))


def test_the_log_holds_both_turns_and_nothing_of_another_step(squares, settings, tmp_path):
    run = train(settings(squares, tmp_path / "run", method=ALIGN, epochs=8))
    log = pd.read_csv(run.directory / "metrics.csv").dropna(subset="train/loss")
    log = log[log["step"] >= 4]
    of_masker = log["train/mask_distance"].notna()
    assert of_masker.any()
    assert not of_masker.all()
    assert (of_masker == (log["step"] % 2 == 0)).all()
    assert (log["train/align_distance"].notna() == of_masker).all()
    assert (log["train/task"].isna() == of_masker).all()
    terms = log[[f"train/align_{name}" for name in ("distance", "sparsity", "smoothness")]]
    assert terms.sum(axis=1)[of_masker].to_numpy() == pytest.approx(log["train/loss"][of_masker].to_numpy(), rel=1e-4)


def test_the_draws_of_a_method_follow_the_seed_of_the_run(squares, settings, tmp_path):
    method = {"class_path": "ALIGN", "init_args": {"seed": 3, "masks": "random", "warmup": 0}}
    run = train(settings(squares, tmp_path / "run", method=method, seed=5, epochs=1))
    assert [run.settings.method.seed, run.settings.method.regulariser.seed] == [8, 8]
    assert read_settings(run.directory / "config.yaml").method.init_args.seed == 3


def test_a_finished_run_is_not_resumed_or_overwritten(finished, squares, settings):
    with pytest.raises(InputError, match="is finished"):
        resume(finished.directory)
    with pytest.raises(InputError, match="already holds files"):
        train(settings(squares, finished.directory))


def test_a_run_of_another_data_set_is_not_resumed(own_squares, settings, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        kill_in_step(patch, 2)
        with pytest.raises(Killed):
            train(settings(own_squares, tmp_path / "run"))
    shutil.copy(own_squares / "images/3.png", own_squares / "images/0.png")
    table = pd.read_csv(own_squares / "labels.csv")
    table.drop(index=1).to_csv(own_squares / "labels.csv", index=False)
    with pytest.raises(InputError, match="another data set|trained on a data set"):
        resume(tmp_path / "run")


def test_a_loss_that_is_not_finite_stops_and_keeps_the_last_good_checkpoint(squares, settings, tmp_path, monkeypatch):
    forward = CAMAL.forward

    def explode(self, classifier, batch, task):
        loss = forward(self, classifier, batch, task)
        return Loss(loss.terms | {"camal": loss.terms["camal"] * torch.nan}) if self.step == 5 else loss

    monkeypatch.setattr(CAMAL, "forward", explode)
    with pytest.raises(InputError, match=r"became nan in step 5 \(task .*, camal nan\)"):
        train(settings(squares, tmp_path / "run", method="CAMAL"))
    checkpoint = torch.load(tmp_path / "run/last.ckpt", weights_only=True)
    assert checkpoint["step"] == 4
    assert all(value.isfinite().all() for value in checkpoint["model"].values())


def test_the_best_weights_are_those_of_the_best_validation(squares, settings, tmp_path):
    best = train(settings(squares, tmp_path / "best", epochs=6, select="best"))
    last = train(settings(squares, tmp_path / "last", epochs=6, select="last"))
    log = pd.read_csv(best.directory / "metrics.csv").dropna(subset="val/accuracy")
    order = log.sort_values(["val/accuracy", "val/loss"], ascending=[False, True])
    checkpoint = torch.load(best.directory / "last.ckpt", weights_only=True)
    kept = checkpoint["progress"]
    assert kept["best_step"] == order["step"].iloc[0] + 1
    assert_equal(kept["best_weights"], weights(best.directory))
    assert_equal(dict(checkpoint["model"]), weights(last.directory))
    assert_equal(load_last_step(best).model.state_dict(), weights(last.directory))
    assert read_facts(best.directory / "model.safetensors")["val_accuracy"] == pytest.approx(log["val/accuracy"].max())
    log = pd.read_csv(last.directory / "metrics.csv").dropna(subset="val/accuracy")
    val_accuracy = read_facts(last.directory / "model.safetensors")["val_accuracy"]
    assert val_accuracy == pytest.approx(log["val/accuracy"].iloc[-1])


def test_the_weights_of_the_last_step_may_be_gone(squares, settings, tmp_path):
    run = train(settings(squares, tmp_path / "run", epochs=1))
    (run.directory / "last.ckpt").unlink()
    with pytest.raises(InputError, match=r"last\.ckpt', which holds the weights of the last step"):
        load_last_step(run)


def test_patience_ends_training_early(squares, settings, tmp_path):
    run = train(settings(squares, tmp_path / "run", epochs=12, lr=0.0, patience=2))
    assert pd.read_csv(run.directory / "metrics.csv")["val/accuracy"].count() == 3


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_within_a_step_and_the_run_goes_on_bit_for_bit(finished, squares, settings, tmp_path, number):
    def send(self, held, forward=TrainingStep.forward):
        sent.append(1)
        if len(sent) == 6:
            os.kill(os.getpid(), number)
        return forward(self, held)

    sent = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(TrainingStep, "forward", send)
        with pytest.raises(Interrupted, match="interrupted after step 6.*--resume") as error:
            train(settings(squares, tmp_path / "run", method="CAMAL", epochs=6))
    assert error.value.exit_code == 128 + number
    assert_equal(weights(resume(tmp_path / "run").directory), weights(finished.directory))


def test_early_stopping_needs_a_split_to_look_at(own_squares, settings, tmp_path):
    table = pd.read_csv(own_squares / "labels.csv")
    table["split"] = table["split"].replace("val", "validation")
    table.to_csv(own_squares / "labels.csv", index=False)
    with pytest.raises(InputError, match="patience = 1 looks at the split val.*'validation'"):
        train(settings(own_squares, tmp_path / "run", patience=1))


def test_one_class_is_nothing_to_learn(own_squares, settings, tmp_path):
    pd.read_csv(own_squares / "labels.csv").assign(label="red").to_csv(own_squares / "labels.csv", index=False)
    with pytest.raises(InputError, match="Every training image .* has the label 'red'"):
        train(settings(own_squares, tmp_path / "run"))


def test_a_grey_model_trains_on_colour_images(squares, settings, tmp_path):
    run = train(settings(squares, tmp_path / "run", epochs=1, model_arguments={"width": 8, "in_chans": 1}))
    assert weights(run.directory)["features.0.weight"].shape[1] == 1
    assert len(load_run(run.directory).preprocessing.mean) == 1


def test_the_task_is_a_setting(squares, settings, tmp_path):
    smooth = {"class_path": "lookright.tasks.CrossEntropy", "init_args": {"label_smoothing": 0.5}}
    run = load_run(train(settings(squares, tmp_path / "smooth", task=smooth)).directory)
    assert run.settings.optimisation.task == CrossEntropy(label_smoothing=0.5)
    lowest = pd.read_csv(tmp_path / "smooth" / "metrics.csv")["train/task"].min()
    floor = -(2 / 3 * math.log(2 / 3) + 1 / 3 * math.log(1 / 6))  # three classes, half the label spread over them
    assert floor - 1e-3 < lowest < 1.0


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"model": "torch.nn.Identity", "model_arguments": {}}, "'torch.nn.Identity' with .* expected logits"),
        ({"model": "builtins.dict", "model_arguments": {}}, "builds a dict; expected a torch.nn.Module"),
        ({"model_arguments": {"width": 0}}, r"model 'small_cnn' with \{.width.: 0\} cannot train"),
        ({"model": ".."}, "'..' is no import path"),
        ({"model_arguments": {"in_chans": 4}}, "4 channels; expected 3"),
        ({"task": "lookright.tasks.binary"}, "binary learns from one logit"),
        ({"task": "lookright.tasks.multi_label"}, "expected a 0 or 1 for each class"),
        ({"task": "torch.nn.functional.cross_entropy"}, r"The task gives \(\) for 2 images"),
        ({"task": "focal"}, "Expected lookright.tasks.cross_entropy, .* or the import path"),
        ({"accelerator": "mps"}, "accelerator = 'mps', which PyTorch does not find here"),
    ],
)
def test_models_and_machines_that_do_not_fit_are_refused_before_anything_is_written(
    squares, settings, tmp_path, wrong, message
):
    with pytest.raises(InputError, match=message):
        train(settings(squares, tmp_path / "run", **wrong))
    assert not (tmp_path / "run").exists()


def test_training_without_a_validation_split(own_squares, settings, tmp_path):
    table = pd.read_csv(own_squares / "labels.csv")
    table[table["split"] != "val"].to_csv(own_squares / "labels.csv", index=False)
    run = train(settings(own_squares, tmp_path / "run"))
    assert_equal(load_last_step(run).model.state_dict(), run.classifier.model.state_dict())
    assert torch.load(run.directory / "last.ckpt", weights_only=True)["step"] == 3
    (run.directory / "model.safetensors").rename(tmp_path / "lost")
    assert_equal(resume(run.directory).classifier.model.state_dict(), run.classifier.model.state_dict())


def test_a_training_that_ends_before_its_method_begins_is_refused(squares, settings, tmp_path):
    method = {"class_path": "ALIGN", "init_args": {"warmup": 4, "masker_warmup": 2}}
    with pytest.raises(InputError, match="ALIGN only begins after 6 steps of warming up, and this training has 6"):
        train(settings(squares, tmp_path / "run", method=method, epochs=1, batch_size=9, accumulate=1))
    assert not (tmp_path / "run").exists()


def test_a_method_that_needs_masks_refuses_data_without(own_squares, settings, tmp_path):
    pd.read_csv(own_squares / "labels.csv").drop(columns="mask").to_csv(own_squares / "labels.csv", index=False)
    with pytest.raises(InputError, match="CAMAL needs masks, and none of the 18 training images"):
        train(settings(own_squares, tmp_path / "run", method="CAMAL"))
    assert not (tmp_path / "run").exists()


def test_a_share_of_the_masks_may_be_hidden(squares, settings, tmp_path):
    few = train(settings(squares, tmp_path / "few", method="CAMAL", mask_share=0.1))
    some = train(settings(squares, tmp_path / "some", method="CAMAL", mask_share=0.5))
    assert not torch.equal(weights(few.directory)["fc.weight"], weights(some.directory)["fc.weight"])


def test_batchnorm_can_stand_still(squares, settings, tmp_path):
    run = train(settings(squares, tmp_path / "run", freeze_batchnorm=True))
    assert weights(run.directory)["features.1.running_mean"].abs().max() == 0


def test_bf16_trains(squares, settings, tmp_path):
    assert (train(settings(squares, tmp_path / "run", precision="bf16")).directory / "model.safetensors").is_file()


def test_channels_last_changes_the_layout_and_nothing_else(squares, settings, tmp_path, monkeypatch):
    layouts = []
    forward = TrainingStep.forward

    def step(self, held):
        layouts.append(held.batch["image"].is_contiguous(memory_format=torch.channels_last))
        return forward(self, held)

    monkeypatch.setattr(TrainingStep, "forward", step)
    # AdamW makes a whole step of a gradient that is zero but for rounding.
    same = {"method": "CAMAL", "optimizer": "SGD"}
    usual = weights(train(settings(squares, tmp_path / "usual", **same)).directory)
    last = weights(train(settings(squares, tmp_path / "last", channels_last=True, **same)).directory)
    assert set(layouts[: len(layouts) // 2]) == {False}
    assert set(layouts[len(layouts) // 2 :]) == {True}
    for key, value in usual.items():
        torch.testing.assert_close(last[key], value, rtol=1e-3, atol=1e-3)


def test_the_method_hears_of_every_step_of_the_optimiser(squares, settings, tmp_path):
    run = train(settings(squares, tmp_path / "run", method="CAMAL", epochs=3, accumulate=2))
    assert run.settings.method.step == 6


def test_images_that_are_written_during_the_training_are_noticed(own_squares, settings, tmp_path, monkeypatch):
    run = TrainingLoop.run

    def changing(self, *loaders):
        run(self, *loaders)
        with (own_squares / "images/3.png").open("ab") as file:
            file.write(b"more")

    monkeypatch.setattr(TrainingLoop, "run", changing)
    with pytest.raises(InputError, match=r"1 of 54 files changed while they were in use, such as .*3\.png"):
        train(settings(own_squares, tmp_path / "run", epochs=1))
    assert (tmp_path / "run/last.ckpt").is_file()
    assert not (tmp_path / "run/model.safetensors").exists()


def test_an_image_that_is_gone_ends_a_training_with_workers_in_a_sentence(own_squares, settings, tmp_path, monkeypatch):
    run = TrainingLoop.run

    def removing(self, *loaders):
        (own_squares / "images/3.png").unlink()
        run(self, *loaders)

    monkeypatch.setattr(TrainingLoop, "run", removing)
    with pytest.raises(InputError, match=r"^No file .*3\.png'\.$"):
        train(settings(own_squares, tmp_path / "run", epochs=1, workers=1, cache=0))


def test_a_checkpoint_of_other_shapes_is_refused_in_a_sentence(squares, settings, tmp_path):
    train(settings(squares, tmp_path / "run", epochs=1))
    train(settings(squares, tmp_path / "wide", epochs=1, model_arguments={"width": 16}))
    (tmp_path / "run/model.safetensors").unlink()
    (tmp_path / "wide/last.ckpt").replace(tmp_path / "run/last.ckpt")
    with pytest.raises(InputError, match="does not fit the settings of its run.*Delete it, and the run starts again"):
        resume(tmp_path / "run")
