"""What holds for every map."""

import pytest
import torch

from lookright import Classifier, InputError, attribution
from lookright.attribution import MAPS, cam, explain_prediction, find_map, occlusion, start_of

DIFFERENTIABLE = {name for name, map in MAPS.items() if start_of(map) != "model"}
PAIRS = [
    (model, name)
    for model in ("pooled", "flattened", "vit")
    for name in MAPS
    if (name != "cam" or model == "pooled") and (not name.startswith("attention") or model == "vit")
]
SMALL = {"occlusion": {"window": 4, "stride": 4}, "integrated_gradients": {"steps": 4}, "smooth_grad": {"samples": 2}}
DIFFERENTIABLE_PAIRS = [(model, name) for model, name in PAIRS if name in DIFFERENTIABLE]


@pytest.fixture
def classifier(model, request):
    return request.getfixturevalue(model)


@pytest.fixture
def image(image):
    return image.requires_grad_()


def call(name, classifier, output, target):
    if name not in DIFFERENTIABLE:
        pytest.importorskip("captum")
    return MAPS[name](classifier, output, target, **SMALL.get(name, {}))


def test_every_map_is_exported_under_its_name():
    for name, map in MAPS.items():
        assert getattr(attribution, name) is map


@pytest.mark.parametrize(("model", "name"), PAIRS)
def test_each_image_on_its_own(classifier, name, image, target):
    if name == "smooth_grad":
        pytest.skip("The noise of an image depends on its place in the batch.")
    map = call(name, classifier, classifier(image), target)
    for number in range(3):
        alone = call(name, classifier, classifier(image[number : number + 1]), target[number : number + 1])
        torch.testing.assert_close(map[number : number + 1], alone)


@pytest.mark.parametrize(("model", "name"), PAIRS)
def test_depends_on_the_target(classifier, name, image, target):
    output = classifier(image)
    differs = not torch.allclose(call(name, classifier, output, target), call(name, classifier, output, 3 - target))
    assert differs == (name != "attention_rollout")


@pytest.mark.parametrize(("model", "name"), PAIRS)
def test_rows_of_a_joint_forward(classifier, name, image, target):
    if name == "smooth_grad":
        pytest.skip("The noise of an image depends on its place in the batch.")
    rows = classifier(image).rows(1, 3).rows(1, 2)
    expected = call(name, classifier, classifier(image[2:]), target[2:])
    torch.testing.assert_close(call(name, classifier, rows, target[2:]), expected)


@pytest.mark.parametrize(("model", "name"), DIFFERENTIABLE_PAIRS)
def test_gradient_with_respect_to_the_image(classifier, name, image, target):
    classifier.requires_grad_(False)
    image = image.detach()[:2].requires_grad_()
    assert torch.autograd.gradcheck(
        lambda image: MAPS[name](classifier, classifier(image), target[:2]), image, fast_mode=True, atol=1e-6
    )


@pytest.mark.parametrize(("model", "name"), DIFFERENTIABLE_PAIRS)
def test_gradient_with_respect_to_the_parameters(classifier, name, image, target):
    """Along a random direction, against central differences."""
    generator = torch.Generator().manual_seed(3)
    parameters = list(classifier.parameters())
    direction = [torch.randn(p.shape, generator=generator, dtype=p.dtype) for p in parameters]
    weight = None

    def loss():
        nonlocal weight
        map = MAPS[name](classifier, classifier(image), target)
        weight = torch.randn(map.shape, generator=generator, dtype=map.dtype) if weight is None else weight
        return (map * weight).sum()

    gradient = torch.autograd.grad(loss(), parameters, allow_unused=True)
    slope = sum((g * d).sum() for g, d in zip(gradient, direction) if g is not None)
    values = []
    for sign in (1, -2):  # Steps so small that the absolute value of hardly any gradient has its kink in between.
        with torch.no_grad():
            for parameter, along in zip(parameters, direction):
                parameter += sign * 1e-7 * along
        values.append(loss().detach())
    torch.testing.assert_close(slope, (values[0] - values[1]) / 2e-7, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize(("model", "name"), PAIRS)
def test_in_float32_under_autocast(classifier, name, image, target):
    classifier, image = classifier.float(), image.detach().float().requires_grad_()
    expected = call(name, classifier, classifier(image), target)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        map = call(name, classifier, classifier(image), target)
    assert map.dtype == torch.float32
    if name != "hires_cam" or classifier.cam_is_exact:  # On tokens it is nothing but rounding.
        error = (map - expected).norm() / expected.norm()
        assert error < 0.1


@pytest.mark.parametrize(("model", "name"), DIFFERENTIABLE_PAIRS)
def test_a_loss_on_the_map_trains_under_autocast(classifier, name, image, target):
    classifier, image = classifier.float(), image.detach().float().requires_grad_()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        MAPS[name](classifier, classifier(image), target).square().sum().backward()
    gradients = [parameter.grad for parameter in classifier.parameters() if parameter.grad is not None]
    assert all(gradient.isfinite().all() for gradient in gradients)
    assert any(gradient.any() for gradient in gradients)


@pytest.mark.parametrize(("model", "name"), DIFFERENTIABLE_PAIRS)
def test_flat_features(classifier, name, image, target):
    """A network that sees nothing has maps, and a loss on them gradients, without NaN."""
    with torch.no_grad():
        next(parameter for parameter in classifier.parameters() if parameter.ndim == 4).zero_()
    map = MAPS[name](classifier, classifier(image), target)
    map.square().sum().backward()
    assert map.isfinite().all()
    assert all(p.grad.isfinite().all() for p in classifier.parameters() if p.grad is not None)


def hooks(module):
    return [list(value) for name, value in vars(module).items() if name.endswith("hooks")]


def state(classifier, image):
    """All that a map could leave behind."""
    return {
        "modes": [module.training for module in classifier.modules()],
        "hooks": [hooks(module) for module in classifier.modules()],
        "attributes": [sorted(vars(module)) for module in classifier.modules()],
        "fused": [getattr(module, "fused_attn", None) for module in classifier.modules()],
        "requires_grad": [parameter.requires_grad for parameter in classifier.parameters()] + [image.requires_grad],
        "grad": [None if p.grad is None else p.grad.tolist() for p in (*classifier.parameters(), image)],
        "values": [value.tolist() for value in classifier.state_dict().values()],
        "random": torch.get_rng_state().tolist(),
        "kernels": [torch.backends.cuda.math_sdp_enabled(), torch.backends.cuda.flash_sdp_enabled()],
        "gradients": torch.is_grad_enabled(),
    }


@pytest.mark.parametrize(("model", "name"), PAIRS)
@pytest.mark.parametrize("training", [True, False])
def test_without_a_trace(classifier, name, image, target, training):
    classifier.train(training)
    some = list(classifier.parameters())[::2]
    for parameter in some:
        parameter.grad = torch.ones_like(parameter)
    some[-1].requires_grad_(False)
    plain = classifier.model.eval()(image.detach()).tolist()
    classifier.train(training)
    output = classifier(image)
    before = state(classifier, image)
    call(name, classifier, output, target)
    assert state(classifier, image) == before
    if not training:
        assert classifier.model(image.detach()).tolist() == plain
    output.logits.sum().backward()  # The graph of the forward is still there.


@pytest.mark.parametrize("model", ["pooled"])
def test_reference_maps_read_the_model_in_eval_mode(classifier, image, target):
    pytest.importorskip("captum")
    expected = occlusion(classifier, classifier(image), target, window=4, stride=4)
    output = classifier.train()(image.detach())
    classifier.model.features[1].reset_running_stats()
    with torch.no_grad():
        classifier.model.features[1].running_var += 3
    assert not torch.allclose(occlusion(classifier, output, target, window=4, stride=4), expected)


@pytest.mark.parametrize("model", ["pooled"])
def test_gradients_accumulate_with_the_task(classifier, image, target):
    """One backward through the task's loss and the map's gives the sum of both."""
    parameters = list(classifier.parameters())

    def losses():
        output = classifier(image)
        return torch.nn.functional.cross_entropy(output.logits, target), cam(classifier, output, target).square().mean()

    joint = torch.autograd.grad(sum(losses()), parameters)
    task = torch.autograd.grad(losses()[0], parameters)
    map = torch.autograd.grad(losses()[1], parameters, allow_unused=True)
    for together, first, second in zip(joint, task, map):
        torch.testing.assert_close(together, first if second is None else first + second)


def test_a_map_of_the_users_own_by_import_path(tmp_path, monkeypatch, pooled, image):
    (tmp_path / "my_maps.py").write_text(
        "from lookright import attribution\n"
        "def brightness(classifier, output, target):\n"
        "    return output.image.mean(1)\n"
        "@attribution.starts_from('image')\n"
        "def slope(classifier, output, target):\n"
        "    return attribution.input_gradient(classifier, output, target)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    _, map = explain_prediction(pooled, image.detach(), "my_maps.brightness")
    assert torch.equal(map, image.mean(1))
    _, map = explain_prediction(pooled, image.detach(), "my_maps.slope")
    assert torch.equal(map, explain_prediction(pooled, image.detach(), "input_gradient")[1])


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("gradcam", r"No map 'gradcam'. Do you mean grad_cam\?"),
        ("no.such.map", r"map 'no\.such\.map' cannot be imported"),
        ("lookright.attribution.MAPS", "No map"),
    ],
)
def test_no_such_map(name, message):
    with pytest.raises(InputError, match=message):
        find_map(name)


def test_the_prediction_of_one_logit_is_its_sign(image):
    torch.manual_seed(0)
    body = (torch.nn.Conv2d(3, 6, 3, 2), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten())
    classifier = Classifier(torch.nn.Sequential(*body, torch.nn.Linear(6, 1)).double())
    output, map = explain_prediction(classifier, image.detach())
    sign = output.logits.sign()[:, :, None]
    torch.testing.assert_close(map, sign * cam(classifier, output, torch.ones(3, dtype=torch.long)))
