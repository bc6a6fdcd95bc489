import copy
import warnings

import pytest
import timm
import torch
from torch.nn import functional

from lookright import ALIGN, CAMAL, DRE, Classifier, InputError
from lookright.methods.align import WATCH_EVERY
from lookright.perturb import Noise, ZeroFill

ALTERNATING = {"warmup": 0, "masker_warmup": 0}


def attached(classifier, optimizer=None, **arguments):
    method = ALIGN(**arguments)
    method.attach(classifier, optimizer or torch.optim.SGD(classifier.parameters()))
    return method


def everything(*modules):
    """Parameters and buffers, copied."""
    return [tensor.clone() for module in modules for tensor in (*module.parameters(), *module.buffers())]


def train(classifier, method, optimizer, batches):
    for batch in batches:
        optimizer.zero_grad()
        method(classifier, batch).total.backward()
        optimizer.step()


def batches(number):
    generator = torch.Generator().manual_seed(5)
    for _ in range(number):
        image = torch.randn(5, 3, 8, 8, generator=generator, dtype=torch.float64)
        yield {"image": image, "label": torch.randint(4, (5,), generator=generator)}


def test_the_maskers_loss_equals_a_loop_over_pixels(classifier, batch):
    method = attached(classifier, sparsity=0.3, smoothness=0.2, fill=ZeroFill(), **ALTERNATING)
    loss = method(classifier, batch)
    mask = method.masker(batch["image"])  # in train mode: the statistics of the same batch
    distance, sparsity, horizontal, vertical = 0.0, 0.0, 0.0, 0.0
    classifier.eval()
    for b in range(5):
        kept, removed = batch["image"][b].clone(), batch["image"][b].clone()
        for i in range(8):
            for j in range(8):
                kept[:, i, j] *= mask[b, i, j].item()
                removed[:, i, j] *= 1 - mask[b, i, j].item()
                sparsity += mask[b, i, j].item() / (5 * 64)
                horizontal += abs(mask[b, i, j] - mask[b, i, j - 1]).item() / (5 * 56) if j else 0.0
                vertical += abs(mask[b, i, j] - mask[b, i - 1, j]).item() / (5 * 56) if i else 0.0
        p = [classifier(image[None]).logits[0].softmax(0)[batch["label"][b]].item() for image in (kept, removed)]
        distance += (p[0] - p[1] - 1) ** 2 / 5
    assert loss.terms["align_distance"].item() == pytest.approx(distance)
    assert loss.terms["align_sparsity"].item() == pytest.approx(0.3 * sparsity)
    assert loss.terms["align_smoothness"].item() == pytest.approx(0.2 * (horizontal + vertical))


@pytest.mark.parametrize("normalise_mask", [True, False])
def test_the_classifiers_loss_equals_a_loop_over_cells(classifier, batch, normalise_mask):
    classifier.eval()
    method = attached(
        classifier,
        weight=0.7,
        warmup=0,
        regularisation=0.5,
        epsilon=0.1,
        masks="given",
        normalise_mask=normalise_mask,
        seed=2,
    )
    loss = method(classifier, batch)
    output = classifier(batch["image"])
    weight, features = classifier.head.weight.detach(), output.features.detach()
    total, count = 0.0, 0
    for b in range(5):
        if batch["mask_weight"][b] > 0:
            map = sum(weight[batch["label"][b], k] * features[b, k] for k in range(6))
            map = 0.1 + 0.8 * (map - map.min()) / (map.max() - map.min())
            mask = batch["mask"][b].reshape(4, 2, 4, 2).mean((1, 3))
            if normalise_mask:
                mask = (mask - mask.min()) / (mask.max() - mask.min())
            cells = [-(m * a.log() + (1 - m) * (1 - a).log()) for a, m in zip(map.flatten(), mask.flatten())]
            total += float(batch["mask_weight"][b]) * float(sum(cells)) / 16
            count += 1
    assert loss.terms["align"].item() == pytest.approx(0.7 * total / count, rel=1e-5)
    regulariser = DRE(0.5, 0.25, 0.05, seed=2)(classifier, batch).terms
    assert all(loss.terms[name].item() == pytest.approx(term.item()) for name, term in regulariser.items())
    assert loss.terms["task"].item() == pytest.approx(functional.cross_entropy(output.logits, batch["label"]).item())


@pytest.mark.parametrize("side", ["masker", "classifier"])
def test_gradient_equals_finite_differences(classifier, batch, side):
    method = attached(classifier, **ALTERNATING).eval()
    method.step = 0 if side == "masker" else 1
    assert method.turn == side
    original = copy.deepcopy((classifier, method))
    method(classifier, batch).total.backward()
    gradient = (method.masker.last.weight if side == "masker" else classifier.model.features[0].weight).grad
    step = 1e-4
    for position in [(0, 0, 0, 0), (0, 2, 1, 1), (0, 1, 2, 0)]:
        values = []
        for sign in (1, -1):
            moved_classifier, moved = copy.deepcopy(original)
            moved_weight = moved.masker.last.weight if side == "masker" else moved_classifier.model.features[0].weight
            with torch.no_grad():
                moved_weight[position] += sign * step
            values.append(moved(moved_classifier, batch).total.item())
        slope = (values[0] - values[1]) / (2 * step)
        assert gradient[position].item() == pytest.approx(slope, rel=2e-2, abs=2e-4)


@pytest.mark.parametrize("optimizer_class", [torch.optim.SGD, torch.optim.AdamW])
def test_a_turn_leaves_every_byte_of_the_other_side(classifier, optimizer_class):
    method = attached(classifier, masker_steps=3, classifier_steps=3, **ALTERNATING)
    parameters = [*classifier.parameters(), *method.parameters()]
    arguments = {"momentum": 0.9} if optimizer_class is torch.optim.SGD else {}
    optimizer = optimizer_class(parameters, lr=0.1, weight_decay=0.1, **arguments)
    method.attach(classifier, optimizer)
    train(classifier, method, optimizer, batches(6))  # both have momentum now
    for turn, moving, still in [("masker", method.masker, classifier), ("classifier", classifier, method.masker)]:
        assert method.turn == turn
        before_moving, before_still = everything(moving), everything(still)
        train(classifier, method, optimizer, batches(3))
        assert all(map(torch.equal, everything(still), before_still))
        assert all(parameter.grad is None for parameter in still.parameters())
        assert not any(map(torch.equal, everything(moving), before_moving))
        assert all(parameter.grad is not None for parameter in moving.parameters())


def test_modes_and_flags_are_given_back(classifier, batch):
    method = attached(classifier, **ALTERNATING)
    classifier.model.features[1].eval()
    classifier.model.fc.bias.requires_grad_(False)
    for _ in range(2):
        method(classifier, batch).total.backward()
        method.stepped()
        assert classifier.training
        assert method.masker.training
        assert not classifier.model.features[1].training
        flags = {name: parameter.requires_grad for name, parameter in classifier.named_parameters()}
        assert [name for name, flag in flags.items() if not flag] == ["model.fc.bias"]


def test_turns_follow_the_warmups():
    method = ALIGN(warmup=2, masker_warmup=3, masker_steps=1, classifier_steps=2)
    turns = ""
    for _ in range(14):
        turns += method.turn[0]
        method.stepped()
    assert turns == "cc" + "mmm" + "mcc" * 3


def test_turns_count_optimiser_steps_and_not_batches(classifier, batch):
    method = attached(classifier, **ALTERNATING)
    for _ in range(4):  # gradients accumulate
        assert "align_distance" in method(classifier, batch).terms
    method.stepped()
    assert "task" in method(classifier, batch).terms


@pytest.mark.parametrize("steps", [2, 4, 5, 8])
def test_resuming_in_the_middle_of_a_turn_is_exact(classifier, steps):
    def start():
        torch.manual_seed(1)
        model = copy.deepcopy(classifier)
        method = attached(model, warmup=3, masker_warmup=1, masker_steps=2, classifier_steps=2, ramp=4, fill=Noise())
        optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
        method.attach(model, optimizer)
        return model, method, optimizer

    unbroken = start()
    train(*unbroken, batches(10))
    first = start()
    train(*first, list(batches(10))[:steps])
    state = copy.deepcopy([part.state_dict() for part in first])
    resumed = start()
    for part, saved in zip(resumed, state):
        part.load_state_dict(saved)
    train(*resumed, list(batches(10))[steps:])
    assert all(map(torch.equal, everything(*unbroken[:2]), everything(*resumed[:2])))
    assert resumed[1].step == 10


def test_the_ramp_starts_with_the_first_guided_step(classifier, batch):
    classifier.eval()
    full = attached(classifier, masks="given", warmup=2, regularisation=0)
    full.step = 2
    ramped = attached(classifier, masks="given", warmup=2, regularisation=0, ramp=4)
    shares = []
    for _ in range(7):
        terms = ramped(classifier, batch).terms
        ratio = terms.get("align", torch.zeros(())) / full(classifier, batch).terms["align"]
        shares.append(round(ratio.item(), 6))
        ramped.stepped()
    assert shares == [0, 0, 0.25, 0.5, 0.75, 1, 1]


def test_without_regulariser_and_in_warmup_it_is_plain_training(classifier, batch):
    method = attached(classifier, warmup=5, regularisation=0)
    assert set(method(classifier, batch).terms) == {"task"}


@pytest.mark.parametrize("masks", ["given", "grey", "random"])
def test_fixed_masks_need_no_masker_and_no_turns(classifier, batch, masks):
    method = attached(classifier, masks=masks, warmup=0)
    assert not list(method.parameters())
    for _ in range(3):
        assert method.turn == "classifier"
        assert method(classifier, batch).terms["align"] > 0
        method.stepped()
    assert ("mask" in method.needs) == (masks == "given")


def test_only_given_masks_depend_on_the_masks_of_the_data(classifier, batch):
    classifier.eval()
    for masks in ("given", "grey", "random"):
        losses = []
        for shift in (0, 3):
            shifted = batch | {"mask": batch["mask"].roll(shift, 2)}
            losses.append(attached(classifier, masks=masks, warmup=0)(classifier, shifted).terms["align"].item())
        assert (losses[0] != losses[1]) == (masks == "given")


def test_given_masks_that_are_absent_teach_nothing(classifier, batch):
    method = attached(classifier, masks="given", warmup=0)
    assert method(classifier, {key: batch[key] for key in ("image", "label")}).terms["align"] == 0
    classifier.eval()
    with_masks = attached(classifier, masks="given", warmup=0)(classifier, batch).terms["align"]
    batch["mask"][1] = torch.rand(8, 8)
    assert attached(classifier, masks="given", warmup=0)(classifier, batch).terms["align"] == with_masks


@pytest.mark.parametrize("value", [0.0, 0.3, 1.0])
def test_a_mask_that_is_the_same_everywhere_teaches_nothing(classifier, batch, value):
    classifier.eval()
    method = attached(classifier, masks="given", warmup=0, regularisation=0)
    batch["mask_weight"] = torch.ones(len(batch["image"]))
    batch["mask"][0] = value
    others = {key: batch[key][1:] for key in ("image", "label", "mask")}
    torch.testing.assert_close(method(classifier, batch).terms["align"], method(classifier, others).terms["align"])


@pytest.mark.parametrize("turn", ["masker_steps", "classifier_steps"])
def test_turns_without_a_step_are_refused(turn):
    with pytest.raises(InputError, match=f"{turn}=0; expected a number from 1"):
        ALIGN(**{turn: 0})


def test_what_is_watched_is_logged_outside_the_graph(classifier, batch):
    method = attached(classifier, **ALTERNATING)
    for names in ({"mask_mean", "mask_entropy", "mask_distance"}, {"mask_mean", "mask_entropy"}):
        logs = method(classifier, batch).logs
        assert set(logs) == names
        assert not any(value.requires_grad for value in logs.values())
        assert 0 < logs["mask_mean"] < 1
        assert 0 < logs["mask_entropy"] <= 1
        method.stepped()


@pytest.mark.parametrize(
    ("weight", "bias", "says"),
    [(0, 9, "everything is evidence"), (0, -9, "nothing is evidence"), (0, 0.5, "the same of every pixel")],
)
def test_a_collapsed_masker_is_a_warning_once(classifier, batch, weight, bias, says):
    method = attached(classifier, warmup=0, masker_warmup=10**6)
    saved = copy.deepcopy(method.masker.last)
    for _ in range(2):
        with torch.no_grad():
            method.masker.last.weight.fill_(weight)
            method.masker.last.bias.fill_(bias)
        method.step = WATCH_EVERY - 1
        method(classifier, batch)
        with pytest.warns(UserWarning, match=says):
            method.stepped()
        method.step = 2 * WATCH_EVERY - 1
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            method.stepped()  # the same collapse is not told twice
        with torch.no_grad():
            method.masker.last.weight.copy_(20 * saved.weight)
        method.masker.last.bias.data.zero_()
        method.step = 3 * WATCH_EVERY - 1
        method(classifier, batch)
        method.stepped()  # recovered


def test_flat_maps_give_finite_gradients(classifier, batch):
    batch["image"][:] = 0
    method = attached(classifier, **ALTERNATING)
    for side in (method.masker, classifier):
        method(classifier, batch).total.backward()
        assert all(parameter.grad.isfinite().all() for parameter in side.parameters())
        method.stepped()


def test_activation_checkpointing_is_refused_before_the_backward_fails():
    model = timm.create_model("test_resnet", num_classes=4)
    model.set_grad_checkpointing()
    classifier, batch = Classifier(model), {"image": torch.randn(2, 3, 32, 32), "label": torch.tensor([0, 1])}
    with pytest.raises(InputError, match="Switch checkpointing off"):
        attached(classifier, **ALTERNATING)(classifier, batch)
    model.set_grad_checkpointing(False)
    attached(classifier, **ALTERNATING)(classifier, batch).total.backward()


def test_images_of_other_channels_are_refused(classifier, batch):
    with pytest.raises(InputError, match="3 channels, and channels=1"):
        attached(classifier, channels=1, **ALTERNATING)(classifier, batch)


def test_it_cannot_be_added():
    with pytest.raises(InputError, match="ALIGN owns the forward"):
        CAMAL() + ALIGN()


@pytest.mark.parametrize("masks", ["learned", "given"])
def test_training_without_counting_steps_says_what_to_call(classifier, batch, masks):
    method = ALIGN(masks=masks)
    with pytest.raises(InputError, match="attach"):
        method(classifier, batch)
    method.attach(classifier)
    with pytest.raises(InputError, match=r"attach\(classifier, optimizer\)"):
        method(classifier, batch)
    method.eval()(classifier, batch)
