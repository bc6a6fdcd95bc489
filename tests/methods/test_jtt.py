import pytest
import torch

from lookright import CAMAL, JTT, InputError
from lookright.methods import Sum


def finished(classifier, batch, upweight=5):
    first, epochs = JTT(first_epochs=3, upweight=upweight).first()
    assert epochs == 3
    halves = [{key: value[part] for key, value in batch.items()} for part in (slice(2), slice(2, None))]
    return first.finish(classifier, lambda split: {"train": halves}[split])


def test_what_the_first_model_gets_wrong_is_shown_more_often(classifier, batch):
    classifier.eval()
    predicted = classifier(batch["image"]).logits.argmax(1)
    batch["label"] = predicted.clone()
    batch["label"][[1, 4]] = (predicted[[1, 4]] + 1) % 4
    record = finished(classifier.train(), batch)
    assert record == {"mistakes": 2, "images": 5, "repeats": [1, 5, 1, 1, 5]}
    assert classifier.training


def test_no_mistakes_are_told(classifier, batch):
    batch["label"] = classifier.eval()(batch["image"]).logits.argmax(1)
    with pytest.warns(UserWarning, match="the second one is plain training"):
        assert finished(classifier, batch)["repeats"] == [1] * 5


def test_the_second_training_is_the_task_s_and_others_may_join(classifier, batch):
    assert set(JTT()(classifier, batch).terms) == {"task"}
    both = JTT() + CAMAL()
    assert set(both(classifier, batch).terms) == {"task", "camal"}
    assert both.first()[1] == 1
    with pytest.raises(InputError, match="JTT and JTT both train before"):
        Sum([JTT(), JTT()]).first()


def test_several_labels_an_image_are_refused(classifier, batch):
    with pytest.raises(InputError, match="expected one label an image"):
        finished(classifier, batch | {"label": torch.ones(5, 4)})
