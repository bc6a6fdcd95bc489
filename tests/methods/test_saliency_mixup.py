import copy

import pytest
import torch
from torch.nn import functional

from lookright import CAMAL, InputError, SaliencyMixup
from lookright.methods.saliency_mixup import moved


def best_mixture(image, other_image, saliency, other_saliency, alpha, offsets):
    """Over offsets and pixels, as the paper writes it."""
    best = (-1.0, None, None)
    for down, right in offsets:
        mixed, mask, kept = torch.zeros_like(image), torch.zeros(8, 8, dtype=torch.float64), 0.0
        for y in range(8):
            for x in range(8):
                came = 0 <= y - down < 8 and 0 <= x - right < 8
                s1 = alpha * float(saliency[y, x])
                s2 = (1 - alpha) * float(other_saliency[y - down, x - right]) if came else 0.0
                m = s1 / (s1 + s2) if s1 + s2 > 0 else 0.0
                kept += s1 * m + s2 * (1 - m)
                mask[y, x] = m
                mixed[:, y, x] = m * image[:, y, x]
                if came:
                    mixed[:, y, x] += (1 - m) * other_image[:, y - down, x - right]
        if kept > best[0]:
            best = (kept, mixed, mask.mean())
    return best[1:]


def test_equals_a_loop_over_offsets_and_pixels(classifier, batch):
    classifier.eval()
    method = SaliencyMixup(ratio=0.7, largest=0.6, offsets=12, seed=3)
    terms = method(classifier, batch).terms
    given = batch["image"].clone().requires_grad_()
    cross_entropy = functional.cross_entropy(classifier(given).logits, batch["label"], reduction="none")
    assert terms["task"].item() == pytest.approx(0.3 * cross_entropy.mean().item())
    (gradient,) = torch.autograd.grad(cross_entropy.sum(), given)
    size = gradient.abs().mean(1, keepdim=True)
    kernel = torch.exp(-0.5 * torch.arange(-2.0, 3.0).double() ** 2)
    kernel = torch.outer(kernel, kernel) / kernel.sum() ** 2
    blurred = functional.conv2d(functional.pad(size, (2, 2, 2, 2), "reflect"), kernel[None, None])[:, 0]
    saliency = blurred / blurred.sum((1, 2), keepdim=True)

    generator = SaliencyMixup(seed=3).generator()
    partner = torch.randperm(5, generator=generator)
    alpha = 0.6 * torch.rand((), generator=generator).item()
    cells = torch.randperm(15 * 15, generator=generator)[:12].tolist()
    offsets = [(cell // 15 - 7, cell % 15 - 7) for cell in cells]
    total = 0.0
    for row in range(5):
        other = int(partner[row])
        mixed, share = best_mixture(
            batch["image"][row], batch["image"][other], saliency[row], saliency[other], alpha, offsets
        )
        log_p = classifier(mixed[None]).logits[0].log_softmax(0).detach()
        total -= float(share * log_p[batch["label"][row]] + (1 - share) * log_p[batch["label"][other]]) / 5
    assert terms["saliency_mixup"].item() == pytest.approx(0.7 * total, rel=1e-5)


def test_gradient_equals_finite_differences(batch, check_gradient, monkeypatch):
    """With the saliency as a constant."""
    method = SaliencyMixup().eval()
    saliency = torch.rand(5, 8, 8, generator=torch.Generator().manual_seed(4), dtype=torch.float64)
    monkeypatch.setattr(method, "_saliency", lambda *_: saliency / saliency.sum((1, 2), keepdim=True))
    check_gradient(lambda classifier: method(classifier, batch).total, rel=1e-4)


def test_moving_is_slicing():
    map = torch.arange(12.0).view(1, 3, 4)
    for down in range(-2, 3):
        for right in range(-3, 4):
            wanted = torch.zeros_like(map)
            for y in range(3):
                for x in range(4):
                    if 0 <= y - down < 3 and 0 <= x - right < 4:
                        wanted[0, y, x] = map[0, y - down, x - right]
            assert torch.equal(moved(map, down, right), wanted)


def test_the_saliency_costs_no_forward_and_leaves_no_gradient(classifier, batch):
    sizes = []
    hook = classifier.model.register_forward_pre_hook(lambda _, args: sizes.append(len(args[0])))
    SaliencyMixup()(classifier, batch)
    hook.remove()
    assert sizes == [5, 5]
    assert all(parameter.grad is None for parameter in classifier.parameters())
    assert not batch["image"].requires_grad


def test_draws_go_on_from_a_checkpoint(classifier, batch):
    classifier.eval()
    method = SaliencyMixup(seed=1)
    first = method(classifier, batch).terms["saliency_mixup"]
    resumed = SaliencyMixup(seed=1)
    resumed.load_state_dict(copy.deepcopy(method.state_dict()))
    second = method(classifier, batch).terms["saliency_mixup"]
    assert torch.equal(second, resumed(classifier, batch).terms["saliency_mixup"])
    assert not torch.equal(first, second)


def test_in_a_sum(classifier, batch):
    loss = (SaliencyMixup() + CAMAL())(classifier, batch)
    assert set(loss.terms) == {"task", "saliency_mixup", "camal"}
    loss.total.backward()
    assert all(parameter.grad.isfinite().all() for parameter in classifier.parameters())


def test_its_term_falls_while_it_is_trained(train_alone):
    values = train_alone(SaliencyMixup(), "saliency_mixup")
    assert sum(values[-5:]) < sum(values[:5])


def test_a_ratio_out_of_range_and_no_offsets_are_refused():
    with pytest.raises(InputError, match="ratio=7"):
        SaliencyMixup(ratio=7)
    with pytest.raises(InputError, match="offsets=0"):
        SaliencyMixup(offsets=0)
