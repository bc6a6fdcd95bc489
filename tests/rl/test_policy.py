import math

import pytest
import torch

from lookright.attribution import class_map
from lookright.rl.policy import NETWORKS, NatureCNN, Policy


def test_maps_explain_the_last_convolution():
    torch.manual_seed(0)
    policy = Policy(NatureCNN(actions=3))
    image, action = torch.rand(2, 4, 84, 84), torch.tensor([0, 2])
    output, value = policy(image)
    model = policy.classifier.model
    torch.testing.assert_close(output.logits, model(image))
    torch.testing.assert_close(output.features, model.features(image))
    torch.testing.assert_close(output.embedding, model.hidden(model.features(image)))
    torch.testing.assert_close(value, policy.critic(output.embedding)[:, 0])

    map = class_map(policy.classifier, output, action)
    assert map.shape == (2, 7, 7)
    for row in range(2):
        features = output.features[row : row + 1].detach().requires_grad_()
        model.actor(model.hidden(features))[0, action[row]].backward()
        expected = torch.zeros(7, 7)
        for channel in range(64):
            expected += features.grad[0, channel].mean() * features[0, channel].detach()
        torch.testing.assert_close(map[row], expected, rtol=1e-4, atol=1e-7)


def test_initialisation_is_orthogonal_with_small_action_logits():
    policy = Policy(NatureCNN(actions=3))
    hidden, actor = policy.classifier.model.hidden[1], policy.classifier.model.actor
    torch.testing.assert_close(hidden.weight @ hidden.weight.T, 2 * torch.eye(512), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(actor.weight @ actor.weight.T, 1e-4 * torch.eye(3), rtol=1e-3, atol=1e-7)
    assert math.isclose(policy.critic.weight.norm().item(), 1, rel_tol=1e-4)
    assert not any(bias.any() for name, bias in policy.named_parameters() if name.endswith("bias"))


@pytest.mark.parametrize(
    ("network", "cells"), [("nature", {44: 2, 47: 2, 64: 4, 84: 7}), ("small", {44: 4, 47: 4, 64: 6, 84: 9})]
)
def test_networks_take_frames_of_every_size(network, cells):
    for size, expected in cells.items():
        policy = Policy(NETWORKS[network](actions=2, size=size))
        output, value = policy(torch.rand(1, 4, size, size))
        assert (output.logits.shape, value.shape) == ((1, 2), (1,))
        assert output.features.shape[2:] == (expected, expected)


@pytest.mark.parametrize("network", NETWORKS)
def test_half_precision_is_of_the_multiplications_alone(network):
    torch.manual_seed(0)
    whole = Policy(NETWORKS[network](actions=3))
    half = Policy(NETWORKS[network](actions=3, half=True))
    half.load_state_dict(whole.state_dict())
    image = torch.rand(8, 4, 84, 84)
    (exact, exact_value), (rough, value) = whole(image), half(image)
    for name in ("logits", "embedding", "features"):
        expected, found = getattr(exact, name), getattr(rough, name)
        assert found.dtype == torch.float32
        assert 0 < (found - expected).norm() / expected.norm() < 0.02, name
    torch.testing.assert_close(value, exact_value, rtol=0.05, atol=0.02)
    rough.logits.sum().backward()
    assert all(parameter.grad.dtype == torch.float32 for parameter in half.classifier.parameters())
