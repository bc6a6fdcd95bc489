import copy
import inspect
import itertools
import math

import pytest
import timm
import torch
import torch.distributed as dist
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from lookright import CAMAL, SAGE, Classifier, InputError
from lookright.methods.sage import jensen_shannon, triplet
from lookright.perturb import Blur, Inpaint, MeanFill, Noise, Shuffle, blur

NUMBERS = st.lists(st.floats(-1e4, 1e4, width=32), min_size=3, max_size=3)


def divergence(logits, other, temperature):
    """The Jensen-Shannon divergence of two lists of logits, class by class."""

    def softmax(logits):
        weights = [math.exp((logit - max(logits)) / temperature) for logit in logits]
        return [weight / sum(weights) for weight in weights]

    total = 0.0
    for p, q in zip(softmax(logits), softmax(other)):
        # 2 p / (p + q) and not p / ((p + q) / 2): half of the smallest number is 0.
        total += sum(part * math.log(2 * part / (p + q)) / 2 for part in (p, q) if part)
    return total


def distance(one, other, kind):
    """Of two lists, each scaled to unit length."""
    one = [value / math.hypot(*one) for value in one]
    other = [value / math.hypot(*other) for value in other]
    return math.dist(one, other) if kind == "euclidean" else 1 - sum(a * b for a, b in zip(one, other))


def views(image, mask, perturbed):
    """x⁺ and x⁻ of one image, pixel by pixel."""
    low, high = mask.min(), mask.max()
    preserving, degrading = torch.empty_like(image), torch.empty_like(image)
    for c, i, j in itertools.product(*map(range, image.shape)):
        s = (mask[i, j] - low) / (high - low) if high > low else mask[i, j]
        preserving[c, i, j] = s * image[c, i, j] + (1 - s) * perturbed[c, i, j]
        degrading[c, i, j] = (1 - s) * image[c, i, j] + s * perturbed[c, i, j]
    return preserving, degrading


@pytest.mark.parametrize("kind", ["euclidean", "cosine"])
@pytest.mark.parametrize("degraded", ["undecided", "different"])
def test_equals_the_equations(classifier, batch, kind, degraded):
    batch["mask"][0] = torch.rand(8, 8) * 0.4 + 0.3
    method = SAGE(0.7, 0.3, Blur(0.2), kind, margin=0.4, temperature=0.5, degraded=degraded)
    loss = method(classifier, batch)
    perturbed = blur(batch["image"], 0.2 * 8)
    rows = [b for b in range(5) if batch["mask_weight"][b] > 0]
    pairs = [views(batch["image"][b], batch["mask"][b], perturbed[b]) for b in rows]
    output = classifier(torch.cat([batch["image"], *(torch.stack(pair) for pair in pairs)]))
    embedding, logits = output.embedding.tolist(), output.logits.tolist()
    embedding_loss = logit_loss = 0.0
    for n, b in enumerate(rows):
        preserving, degrading, weight = 5 + 2 * n, 6 + 2 * n, float(batch["mask_weight"][b])
        near = distance(embedding[b], embedding[preserving], kind)
        far = distance(embedding[b], embedding[degrading], kind)
        embedding_loss += weight * max(0.0, near - far + 0.4)
        if degraded == "undecided":
            rejection = divergence(logits[degrading], [0.0] * 4, 0.5)
        else:
            rejection = math.log(2) - divergence(logits[b], logits[degrading], 0.5)
        logit_loss += weight * (divergence(logits[b], logits[preserving], 0.5) + rejection)
    assert loss.terms["sage_embedding"].item() == pytest.approx(0.7 * embedding_loss / 4, rel=1e-6)
    assert loss.terms["sage_logit"].item() == pytest.approx(0.3 * logit_loss / 4, rel=1e-6)
    plain = nn.functional.cross_entropy(output.logits[:5], batch["label"])
    assert loss.terms["task"].item() == pytest.approx(plain.item())


@pytest.mark.parametrize("batchnorm", ["joint", "original"])
@pytest.mark.parametrize("degraded", ["undecided", "different"])
def test_gradient_equals_finite_differences(classifier, batch, check_gradient, batchnorm, degraded):
    method = SAGE(batchnorm=batchnorm, degraded=degraded, distance="cosine" if degraded == "different" else "euclidean")
    classifier(batch["image"])  # running statistics that are not those of a fresh model

    def guidance(classifier):
        terms = method(classifier, batch).terms
        return terms["sage_embedding"] + terms["sage_logit"]

    # A step does not move the running statistics that normalise the views in `original` mode.
    classifier.model.features[1].momentum = {"original": 0.0, "joint": 0.1}[batchnorm]
    check_gradient(guidance, rel=1e-4)


@given(NUMBERS, NUMBERS, st.floats(0.05, 20))
def test_divergence_lies_between_0_and_ln_2_and_is_symmetric(logits, other, temperature):
    one, two = torch.tensor([logits], requires_grad=True), torch.tensor([other], requires_grad=True)
    value = jensen_shannon(one, two, temperature)
    value.sum().backward()
    assert -1e-6 <= value.item() <= math.log(2) + 1e-6
    assert value.item() == pytest.approx(jensen_shannon(two, one, temperature).item(), abs=1e-6)
    assert value.item() == pytest.approx(divergence(one[0].tolist(), two[0].tolist(), temperature), abs=1e-5)
    assert one.grad.isfinite().all()
    assert two.grad.isfinite().all()


def test_identical_logits_do_not_diverge():
    logits = torch.tensor([[3.0, -2.0, 0.5], [1e4, -1e4, 0.0]])
    assert torch.allclose(jensen_shannon(logits, logits + 1, 0.5), torch.zeros(2), atol=1e-6)


def test_certainty_of_different_classes_diverges_by_ln_2():
    one, two = torch.tensor([[1e4, 0.0]]), torch.tensor([[0.0, 1e4]])
    assert jensen_shannon(one, two).item() == pytest.approx(math.log(2))


def test_equal_embeddings_give_the_margin_and_no_gradient():
    anchor = torch.tensor([[3.0, 4.0]], requires_grad=True)
    for kind in ("euclidean", "cosine"):
        (gradient,) = torch.autograd.grad(triplet(anchor, anchor.clone(), anchor.clone(), kind, 0.5).sum(), anchor)
        assert triplet(anchor, anchor, anchor, kind, 0.5).item() == 0.5
        assert gradient.abs().max() < 1e-6


def test_a_full_mask_leaves_the_preserving_view_as_it_is(classifier, batch):
    classifier.eval()
    batch["mask"][:] = 1
    method = SAGE(perturbation=Blur(0.05))
    image = method.views(batch).image
    assert torch.equal(image[:4], batch["image"][[0, 2, 3, 4]])
    assert torch.equal(image[4:], Blur(0.05)(batch["image"][[0, 2, 3, 4]]))
    output, of_views = classifier(batch["image"]), classifier(image[:4])
    far_off = -output.embedding[[0, 2, 3, 4]]
    near = triplet(output.embedding[[0, 2, 3, 4]], of_views.embedding, far_off, margin=2.0)
    assert torch.allclose(near, torch.zeros(4).double(), atol=1e-6)


def test_an_empty_mask_counts_and_does_not_ask_to_doubt_the_image(classifier, batch):
    classifier.eval()
    batch["mask"][:] = 0
    logits = classifier(torch.cat([batch["image"], Blur(0.05)(batch["image"])])).logits
    loss = jensen_shannon(logits[:5], logits[5:])
    expected = (batch["mask_weight"] * loss).sum() / 4
    terms = SAGE(perturbation=Blur(0.05))(classifier, batch).terms
    assert torch.allclose(terms["sage_logit"], expected)
    assert terms["sage_embedding"] >= 0.5 * batch["mask_weight"].sum() / 4


def test_masks_of_another_size_are_resized(batch):
    fine = batch["mask"].repeat_interleave(2, 1).repeat_interleave(2, 2)
    image = SAGE(perturbation=MeanFill()).views(batch | {"mask": fine}).image
    assert image.shape == (8, 3, 8, 8)
    batch["mask"] = nn.functional.interpolate(fine[:, None], (8, 8), mode="bilinear", antialias=True)[:, 0]
    assert torch.equal(image, SAGE(perturbation=MeanFill()).views(batch).image)


@pytest.mark.parametrize("size", [(5, 7), (19, 23), (32, 32)])
@pytest.mark.parametrize("value", [0.0, 0.5, 1.0])
def test_a_mask_that_is_the_same_everywhere_is_so_in_any_size(classifier, batch, size, value):
    network, method = Classifier(classifier.model.float().eval()), SAGE(perturbation=MeanFill())
    single = {"image": batch["image"].float(), "label": batch["label"], "mask": torch.full((5, 8, 8), value)}
    resized = single | {"mask": torch.full((5, *size), value)}
    assert torch.equal(method.views(resized).image, method.views(single).image)
    assert method(network, resized).terms == method(network, single).terms


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_masks_of_another_size_are_resized_in_single_precision(batch, dtype):
    mask = torch.rand(5, 13, 13, generator=torch.Generator().manual_seed(2))
    image = batch["image"].to(dtype)
    views = SAGE(perturbation=MeanFill()).views(batch | {"image": image, "mask": mask.to(dtype)})
    expected = SAGE(perturbation=MeanFill()).views(batch | {"image": image.float(), "mask": mask.to(dtype).float()})
    assert views.image.dtype == dtype
    torch.testing.assert_close(views.image.float(), expected.image, atol=0.05, rtol=0)


def test_images_without_a_mask_cost_no_views_and_change_nothing(classifier, batch):
    sizes = []
    with_masks = SAGE()(classifier, batch).terms
    classifier.model.register_forward_pre_hook(lambda _, args: sizes.append(len(args[0])))
    batch["mask"][1] = torch.nan
    assert SAGE()(classifier, batch).terms == with_masks
    for batchnorm, expected in (("joint", [5 + 8]), ("original", [5, 8])):
        sizes.clear()
        SAGE(batchnorm=batchnorm)(classifier, batch)
        assert sizes == expected
        sizes.clear()
        loss = SAGE(batchnorm=batchnorm)(classifier, {key: batch[key] for key in ("image", "label")})
        assert sizes == [5]
        assert loss.terms["sage_embedding"] == loss.terms["sage_logit"] == 0
        assert loss.total == loss.terms["task"]


def test_scale_depends_neither_on_batch_size_nor_on_annotated_share(classifier, batch):
    classifier.eval()
    batch["mask_weight"][:] = 1
    once = SAGE()(classifier, batch).terms
    doubled = {key: torch.cat([value, value]) for key, value in batch.items()}
    twice = SAGE()(classifier, doubled).terms
    doubled["mask_weight"][5:] = 0
    half = SAGE()(classifier, doubled).terms
    for name in ("sage_embedding", "sage_logit"):
        assert torch.allclose(once[name], twice[name])
        assert torch.allclose(once[name], half[name])


def test_joint_views_share_the_batch_statistics(classifier, batch):
    method, norm = SAGE(), classifier.model.features[1]
    expected = copy.deepcopy(classifier)
    expected(torch.cat([batch["image"], method.views(batch).image]))
    method(classifier, batch)
    assert torch.allclose(norm.running_mean, expected.model.features[1].running_mean)
    assert torch.allclose(norm.running_var, expected.model.features[1].running_var)
    assert norm.num_batches_tracked == 1


def test_original_statistics_are_those_of_the_images_and_normalise_the_views(classifier, batch):
    method, norm = SAGE(batchnorm="original"), classifier.model.features[1]
    expected = copy.deepcopy(classifier)
    output = expected(batch["image"])
    loss = method(classifier, batch)
    for name, buffer in expected.model.named_buffers():
        assert torch.equal(buffer, classifier.model.get_buffer(name))
    assert norm.training
    of_views = expected.eval()(SAGE().views(batch).image)
    row = [0, 2, 3, 4]
    losses = triplet(output.embedding[row], of_views.embedding[:4], of_views.embedding[4:])
    expected_term = (batch["mask_weight"][row] * losses).sum() / 4
    assert torch.allclose(loss.terms["sage_embedding"], expected_term)


def test_a_later_forward_does_not_change_the_gradient_of_an_earlier_one(classifier, batch):
    method, gradients = SAGE(batchnorm="original"), []
    for later in (False, True):
        network = copy.deepcopy(classifier)
        loss = method(network, batch)
        if later:
            network(100 * batch["image"])
        loss.total.backward()
        gradients.append(network.model.features[0].weight.grad)
    assert torch.equal(*gradients)


def test_original_statistics_refuse_activation_checkpointing():
    model = timm.create_model("test_resnet", num_classes=2)
    model.set_grad_checkpointing()
    batch = {"image": torch.randn(2, 3, 32, 32), "label": torch.tensor([0, 1]), "mask": torch.rand(2, 32, 32)}
    SAGE()(Classifier(model), batch).total.backward()
    with pytest.raises(InputError, match="Switch checkpointing off"):
        SAGE(batchnorm="original")(Classifier(model), batch)
    model.set_grad_checkpointing(False)
    SAGE(batchnorm="original")(Classifier(model), batch).total.backward()


@pytest.mark.parametrize("batchnorm", ["joint", "original"])
def test_guidance_without_views_runs_its_own(classifier, batch, batchnorm):
    classifier.eval()
    method = SAGE(batchnorm=batchnorm)
    terms = method.guidance(classifier, classifier(batch["image"]), batch)
    expected = method(classifier, batch).terms
    for name, term in terms.items():
        assert torch.allclose(term, expected[name])


@pytest.mark.parametrize("batchnorm", ["joint", "original"])
def test_sums_with_camal(classifier, batch, batchnorm):
    classifier.eval()
    method = SAGE(batchnorm=batchnorm)
    both = (CAMAL() + method)(classifier, batch).terms
    assert set(both) == {"task", "camal", "sage_embedding", "sage_logit"}
    for name, term in (CAMAL()(classifier, batch).terms | method(classifier, batch).terms).items():
        assert torch.allclose(both[name], term)


@pytest.mark.parametrize("batchnorm", ["joint", "original"])
def test_the_model_is_left_as_it_was(classifier, batch, batchnorm):
    classifier.model.features[1].eval()
    before = copy.deepcopy(classifier.model.state_dict())
    SAGE(batchnorm=batchnorm)(classifier, batch)
    assert classifier.model.training
    assert not classifier.model.features[1].training
    assert {name: value.tolist() for name, value in classifier.model.state_dict().items()} == {
        name: value.tolist() for name, value in before.items()
    }
    assert all(not module._forward_hooks and not module._forward_pre_hooks for module in classifier.modules())
    assert all(parameter.grad is None for parameter in classifier.parameters())


@pytest.mark.parametrize("perturbation", [Noise(), Shuffle()])
def test_draws_depend_on_the_seed_and_the_batches_of_training_alone(batch, perturbation):
    def images(method, steps):
        taken = []
        for _ in range(steps):
            taken.append(method.views(batch).image)
            evaluated = method.eval().views(batch).image
            assert torch.equal(evaluated, method.views(batch).image)
            method.train()
        return taken

    before = torch.random.get_rng_state()
    whole = images(SAGE(perturbation=perturbation, share=0.5, seed=3), 4)
    assert torch.equal(torch.random.get_rng_state(), before)
    assert len({image.sum().item() for image in whole}) == 4
    first = SAGE(perturbation=perturbation, share=0.5, seed=3)
    images(first, 2)
    resumed = SAGE(perturbation=perturbation, share=0.5, seed=3)
    resumed.load_state_dict(first.state_dict())
    assert all(torch.equal(*pair) for pair in zip(images(resumed, 2), whole[2:]))
    other = images(SAGE(perturbation=perturbation, share=0.5, seed=4), 4)
    assert not any(torch.equal(*pair) for pair in zip(other, whole))


def test_every_perturbation_keeps_what_its_view_keeps(batch):
    for perturbation in (Blur(), Noise(), Shuffle(), MeanFill(), Inpaint()):
        preserving, degrading = SAGE(perturbation=perturbation).views(batch).image.chunk(2)
        row = [0, 2, 3, 4]
        inside = (batch["mask"][row] == 1)[:, None].expand_as(preserving)
        assert torch.equal(preserving[inside], batch["image"][row][inside])
        assert torch.equal(degrading[~inside], batch["image"][row][~inside])
        assert not torch.equal(preserving[~inside], batch["image"][row][~inside])
        assert not torch.equal(degrading[inside], batch["image"][row][inside])


def test_a_soft_mask_is_in_painted_once(batch):
    """Both views solve u = keep · x + (1 − keep) · mean of u over the four neighbours."""
    image = batch["image"][:1].repeat_interleave(2, 2).repeat_interleave(2, 3)
    rows, columns = torch.meshgrid(torch.arange(16.0), torch.arange(16.0), indexing="ij")
    saliency = torch.exp(-((rows - 6) ** 2 + (columns - 9) ** 2) / 20).double()
    saliency = (saliency - saliency.min()) / (saliency.max() - saliency.min())
    method = SAGE(perturbation=Inpaint(iterations=200))
    views = method.views({"image": image, "label": batch["label"][:1], "mask": saliency[None]}).image
    for view, keep in zip(views, (saliency, 1 - saliency), strict=True):
        for c, i, j in itertools.product(range(3), range(16), range(16)):
            places = ((i + di, j + dj) for di, dj in ((0, 1), (0, -1), (1, 0), (-1, 0)))
            neighbours = [view[c, min(max(row, 0), 15), min(max(column, 0), 15)] for row, column in places]
            expected = keep[i, j] * image[0, c, i, j] + (1 - keep[i, j]) * sum(neighbours) / 4
            assert view[c, i, j].item() == pytest.approx(expected.item(), abs=0.01)


def test_a_share_gives_views_to_some_images_and_averages_over_them(classifier, batch):
    classifier.eval()
    batch["mask_weight"][:] = 1
    whole, method, means, rows = SAGE(), SAGE(share=0.4), [], set()
    for _ in range(200):
        source = method.views(batch).source
        assert len(source) == 4
        assert torch.equal(source[:2], source[2:])
        rows |= set(source.tolist())
        means.append(method(classifier, batch).terms["sage_logit"])
    assert rows == {0, 1, 2, 3, 4}
    mean = torch.stack(means).mean()
    assert torch.allclose(mean, whole(classifier, batch).terms["sage_logit"], rtol=0.05)
    assert len(SAGE(share=0.01).views(batch).source) == 2


def test_half_precision_is_compared_in_single(classifier, batch):
    network = Classifier(copy.deepcopy(classifier.model).bfloat16())
    low = {"image": batch["image"].bfloat16(), "label": batch["label"], "mask": batch["mask"].float()}
    loss = SAGE()(network, low)
    assert loss.terms["sage_embedding"].dtype == torch.float32
    loss.total.backward()
    assert all(parameter.grad.isfinite().all() for parameter in network.parameters())


def test_a_process_without_masks_counts_in_the_dtype_of_the_others(classifier, batch, monkeypatch):
    sent = []
    monkeypatch.setattr(dist, "is_initialized", lambda: True)
    monkeypatch.setattr(dist, "get_world_size", lambda: 2)
    monkeypatch.setattr(dist, "all_reduce", lambda tensor: sent.append(tensor.dtype))
    network = Classifier(copy.deepcopy(classifier.model).bfloat16())
    low = {"image": batch["image"].bfloat16(), "label": batch["label"], "mask": batch["mask"].float()}
    with_masks = SAGE()(network, low)
    without = SAGE()(network, low | {"mask_weight": torch.zeros(5)})
    assert sent == [torch.float32] * 4
    for name in ("sage_embedding", "sage_logit"):
        assert without.terms[name].dtype == with_masks.terms[name].dtype == torch.float32
        assert without.terms[name] == 0


@pytest.mark.parametrize(("argument", "value"), [("share", 0.0), ("share", 1.5), ("temperature", 0.0)])
def test_arguments_out_of_range_are_refused(argument, value):
    with pytest.raises(InputError, match=f"{argument}={value}"):
        SAGE(**{argument: value})


@pytest.mark.parametrize("argument", ["distance", "degraded", "batchnorm"])
def test_other_choices_are_refused(argument):
    with pytest.raises(InputError, match=f"{argument}='Joint'; expected one of "):
        inspect.unwrap(SAGE.__init__)(SAGE.__new__(SAGE), **{argument: "Joint"})
