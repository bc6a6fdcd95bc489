import pytest
import torch

from lookright.attribution import class_map, contrast
from lookright.methods import CAMAL
from lookright.rl.guidance import controlled, decision, guided_weight
from lookright.rl.policy import Policy, SmallCNN


@pytest.fixture
def policy():
    torch.manual_seed(0)
    policy = Policy(SmallCNN(actions=3, size=36))
    torch.nn.init.orthogonal_(policy.classifier.model.actor.weight)  # so that maps differ
    return policy


def test_advantage_weighs_the_actions_that_turned_out_better():
    torch.manual_seed(0)
    in_sight, advantage = torch.rand(40) > 0.4, torch.randn(40)
    weight = guided_weight(in_sight, advantage, "advantage")
    better = [max(a, 0) if seen else 0.0 for seen, a in zip(in_sight.tolist(), advantage.tolist())]
    positive = [value for value in better if value > 0]
    assert 0 < len(positive) < 20
    torch.testing.assert_close(weight, torch.tensor([value * len(positive) / sum(positive) for value in better]))
    assert guided_weight(in_sight, -advantage.abs(), "advantage").tolist() == [0] * 40
    for guided in ("action", "value"):
        assert guided_weight(in_sight, advantage, guided).tolist() == in_sight.tolist()


def test_controls_of_masks():
    mask = torch.zeros(4, 2, 6)
    mask[0, 0, 0], mask[1, 1, 5], mask[3, :, 2] = 1, 1, 0.5
    in_sight = mask.amax((1, 2)) > 0
    shifted = controlled(mask, in_sight, "shifted")
    assert shifted.nonzero().tolist() == [[0, 0, 3], [1, 1, 2], [3, 0, 5], [3, 1, 5]]
    assert torch.equal(controlled(mask, in_sight, "random"), mask[[3, 0, 2, 1]])
    assert not controlled(mask, in_sight, "empty").any()
    assert torch.equal(controlled(mask, in_sight, None), mask)
    nothing = torch.zeros(3, 2, 2)
    assert not controlled(nothing, torch.zeros(3, dtype=torch.bool), "random").any()


def test_map_of_the_value_is_grad_cam_of_the_critic(policy):
    image = torch.rand(2, 4, 36, 36)
    output, value = policy(image)
    map = class_map(policy.classifier, *decision("value", output, value, torch.tensor([0, 2])))
    for row in range(2):
        features = output.features[row : row + 1].detach().requires_grad_()
        policy.critic(policy.classifier.model.hidden(features)).abs().sum().backward()
        expected = (features.grad[0].mean((1, 2))[:, None, None] * features[0]).sum(0).detach()
        torch.testing.assert_close(map[row], expected, rtol=1e-4, atol=1e-6)


def test_contrast_of_an_action_is_its_map_minus_those_of_the_others(policy):
    image, action = torch.rand(2, 4, 36, 36), torch.tensor([0, 2])
    output, value = policy(image)
    explained, logit = decision("action", output, value, action)
    assert explained is output
    maps = torch.stack([class_map(policy.classifier, output, torch.full((2,), k)) for k in range(3)])
    for row, own in enumerate(action.tolist()):
        others = maps[[k for k in range(3) if k != own], row].mean(0)
        found = contrast(policy.classifier, explained, logit)[row]
        torch.testing.assert_close(found, maps[own, row] - others, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    ("guided", "map"), [("action", "contrast"), ("value", "class_map"), ("advantage", "class_map")]
)
def test_guidance_moves_the_map_into_the_mask(policy, guided, map):
    image, action, advantage = torch.rand(6, 4, 36, 36), torch.arange(6) % 3, torch.linspace(0.5, 1, 6)
    mask = torch.zeros(6, 36, 36)
    mask[:, :12, :12] = 1
    method = CAMAL(weight=1.0, map=map)
    optimizer = torch.optim.Adam(policy.parameters(), lr=1e-3)
    method.attach(policy.classifier, optimizer)
    losses = []
    for _ in range(8):
        output, value = policy(image)
        explained, label = decision(guided, output, value, action)
        weight = guided_weight(torch.ones(6, dtype=torch.bool), advantage, guided)
        batch = {"image": image, "label": label, "mask": mask, "mask_weight": weight}
        (loss,) = method.guidance(policy.classifier, explained, batch).values()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0] - 0.05, losses
