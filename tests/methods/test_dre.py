import copy

import pytest
import torch
from scipy.stats import beta, kstest
from torch.nn import functional

from lookright import DRE, InputError
from lookright.methods.dre import same_class_partner, symmetric_beta


def map_of(classifier, image, label):
    features, weight = classifier(image[None]).features[0].detach(), classifier.head.weight[label].detach()
    map = sum(weight[k] * features[k] for k in range(len(weight)))
    return (map - map.min()) / (map.max() - map.min())


@pytest.mark.parametrize("sparsity", ["mean", "max"])
def test_equals_a_loop_over_classes(classifier, batch, sparsity):
    classifier.eval()
    batch["label"] = torch.tensor([0, 1, 1, 3, 1])
    method = DRE(0.7, 0.3, 0.2, sparsity=sparsity, seed=3)
    loss = method(classifier, batch)
    views = DRE(0.7, 0.3, 0.2, seed=3).views(batch)
    expected = torch.zeros(3, dtype=torch.float64)
    for c in (0, 1, 3):
        of_class = torch.zeros(3, dtype=torch.float64)
        rows = [b for b in range(5) if batch["label"][b] == c]
        for b in rows:
            w, x, other = views.share[b], batch["image"][b], batch["image"][views.partner[b]]
            mixed = w * x + (1 - w) * other
            g, g_other, g_mixed = (map_of(classifier, image, c) for image in (x, other, mixed))
            of_class[0] += (g_mixed - (w * g + (1 - w) * g_other)).abs().mean()
            for map in (g, g_mixed):
                columns = [max(map[:, j]) for j in range(map.shape[1])]
                of_class[1] += 0.5 * (map.mean() if sparsity == "mean" else sum(columns) / len(columns))
            of_class[2] += functional.cross_entropy(classifier(mixed[None]).logits[0], torch.tensor(c)).detach()
        expected += of_class / len(rows) / 3
    for name, factor, value in zip(("dre_consistency", "dre_sparsity", "dre_mixture"), (0.7, 0.3, 0.2), expected):
        assert loss.terms[name].item() == pytest.approx(factor * value.item(), rel=1e-5)
    cross_entropy = functional.cross_entropy(classifier(batch["image"]).logits, batch["label"])
    assert loss.terms["task"].item() == pytest.approx(cross_entropy.item())


def test_gradient_equals_finite_differences(batch, check_gradient):
    method = DRE().eval()
    check_gradient(lambda classifier: method(classifier, batch).total, step=1e-4, rel=2e-2, abs=2e-4)


def test_partners_are_a_permutation_within_each_class():
    label = torch.tensor([7, 2, 7, 2, 2, 0])
    seen = set()
    for seed in range(200):
        partner = same_class_partner(label, torch.Generator().manual_seed(seed))
        assert sorted(partner.tolist()) == list(range(6))
        assert torch.equal(label[partner], label)
        seen.add(tuple(partner.tolist()))
    assert len(seen) == 2 * 6  # every permutation of the two and the three


@pytest.mark.parametrize("alpha", [0.05, 0.2, 1.0])
def test_shares_follow_the_beta_distribution(alpha):
    shares = symmetric_beta(alpha, 20000, torch.Generator().manual_seed(0))
    # Rounding to float32 piles up draws within 1e-7 of 0 and 1, which only a small alpha has.
    assert kstest(shares.numpy(), beta(alpha, alpha).cdf).statistic < (0.25 if alpha < 0.1 else 0.02)


def test_mixtures_ride_in_the_one_forward(classifier, batch):
    sizes = []
    hook = classifier.model.register_forward_pre_hook(lambda _, args: sizes.append(len(args[0])))
    DRE()(classifier, batch)
    hook.remove()
    assert sizes == [10]


def test_guidance_without_views_runs_its_own(classifier, batch):
    classifier.eval()
    joint, alone = DRE()(classifier, batch), DRE()
    terms = alone.guidance(classifier, classifier(batch["image"]), batch)
    assert all(torch.allclose(term, joint.terms[name]) for name, term in terms.items())


def test_draws_go_on_from_a_checkpoint_and_leave_the_global_generator_alone(batch):
    batch["label"][:] = 0  # many partners to draw from
    method = DRE(seed=1)
    state = torch.get_rng_state()
    first = method.views(batch).image
    resumed = DRE(seed=1)
    resumed.load_state_dict(copy.deepcopy(method.state_dict()))
    second = method.views(batch).image
    assert torch.equal(second, resumed.views(batch).image)
    assert not torch.equal(first, second)
    assert torch.equal(state, torch.get_rng_state())


def test_a_class_of_one_image_is_mixed_with_itself(classifier, batch):
    batch["label"] = torch.arange(5) % 4
    batch["label"][4] = 0
    views = DRE().views(batch)
    assert torch.allclose(views.image[1:4], batch["image"][1:4])


def test_alpha_out_of_range_is_refused():
    with pytest.raises(InputError, match="alpha=2"):
        DRE(alpha=2)
