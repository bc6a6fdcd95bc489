import json

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from lookright import metrics
from lookright.attribution import class_map, contrast, minmax, relu
from lookright.classifier import Classifier
from lookright.errors import InputError
from lookright.rl.environments import DoomEnvironment
from lookright.rl.evaluate import evaluate, evaluate_policy, load_agent, play, read_result, summary
from lookright.rl.policy import NatureCNN, Policy, as_image


@pytest.fixture
def classifier():
    torch.manual_seed(0)
    model = NatureCNN(actions=4)
    nn.init.orthogonal_(model.actor.weight)  # so that actions and maps differ
    return Policy(model).classifier


@pytest.fixture
def environment():
    environment = DoomEnvironment("basic")
    environment.timeout = 80
    yield environment
    environment.close()


def test_episode_is_what_the_environment_gave_for_the_actions_taken(classifier, environment):
    episode = play(classifier, environment, seed=3)
    observation, _ = environment.reset(seed=3)
    for index, action in enumerate(episode.action.tolist()):
        np.testing.assert_array_equal(episode.frames[index], observation["image"])
        np.testing.assert_array_equal(episode.mask[index], observation["mask"])
        np.testing.assert_array_equal(episode.screen[index], environment.render())
        observation, reward, terminated, truncated, _ = environment.step(action)
        assert reward == episode.reward[index]
    assert terminated or truncated
    assert len(set(episode.action.tolist())) > 1


def test_greedy_play_takes_the_most_probable_action(classifier, environment):
    episode = play(classifier, environment, seed=3, greedy=True)
    probability = classifier(as_image(episode.frames)).logits
    assert torch.equal(probability.argmax(1), episode.action)


def test_measures_are_those_of_classifiers(classifier, monkeypatch):
    monkeypatch.setattr("lookright.rl.evaluate.seeds", lambda *_: [11])
    _, frames = evaluate_policy(classifier, "defend_the_line", episodes=1, faithfulness_frames=3)
    environment = DoomEnvironment("defend_the_line")
    episode = play(classifier, environment, seed=11)
    environment.close()
    assert len(frames) == len(episode.action)
    image, mask = as_image(episode.frames), as_image(episode.mask)
    signed = class_map(classifier, classifier(image), episode.action).detach()
    contrasted = contrast(classifier, classifier(image), episode.action).detach()
    for prefix, map in (("", signed), ("contrast_", contrasted)):
        for name in ("energy_in_mask", "attention_gap", "pointing_game", "iou"):
            expected = getattr(metrics, name)(minmax(relu(map)), mask)
            np.testing.assert_allclose(frames[prefix + name], expected, rtol=1e-3, atol=1e-4, err_msg=prefix + name)
    measured = np.flatnonzero(frames["insertion"].notna())
    assert measured.tolist() == np.flatnonzero(frames["deletion"].notna()).tolist()
    assert measured[0] == 0
    assert measured[-1] == len(frames) - 1
    assert len(measured) == 3
    for index in measured:
        part = slice(index, index + 1)
        for prefix, score in (("", "probability"), ("logit_", "logit")):
            arguments = (classifier, image[part], signed[part], episode.action[part])
            curve = metrics.insertion(*arguments, steps=16, score=score)
            assert frames[prefix + "insertion"][index] == pytest.approx(metrics.auc(curve).item(), abs=1e-4)


def test_random_play_needs_no_agent():
    episodes, frames = evaluate_policy(None, "basic", episodes=2)
    again, _ = evaluate_policy(None, "basic", episodes=2)
    pd.testing.assert_frame_equal(episodes, again)
    assert (frames.groupby("episode").size() == episodes["length"]).all()
    assert frames["action"].nunique() == 4
    assert "energy_in_mask" not in summary(episodes, frames)


def test_summary_leaves_out_what_is_undefined():
    episodes = pd.DataFrame({"episode": [0], "return": [3.0], "length": [3]})
    frames = pd.DataFrame(
        {
            **{"episode": 0, "step": range(3), "action": 0},
            "mask_share": [0.1, np.nan, 0.3],
            "energy_in_mask": [0.5, np.nan, np.nan],
            "attention_gap": [0.2, np.nan, 0.0],
            "insertion": np.nan,
        }
    )
    assert summary(episodes, frames) == {
        **{"episodes": 1, "frames": 3, "return": 3.0, "length": 3.0, "frames_with_target": 2, "frames_with_map": 1},
        **{"mask_share": 0.1, "energy_in_mask": 0.5, "attention_gap": pytest.approx(0.1), "insertion": None},
    }


def test_share_of_the_mask_is_over_the_frames_that_energy_is_over():
    """A flat map must score it, whatever the frames where the map is empty show."""
    torch.manual_seed(0)
    mask = (torch.rand(6, 8, 8) < torch.linspace(0.1, 0.9, 6)[:, None, None]).float()
    mask[4] = 0  # no target
    map = torch.ones(6, 2, 2)
    map[3] = -1  # no positive value
    frames = pd.DataFrame(
        {
            **{"episode": 0, "step": range(6), "action": 0, "mask_share": mask.mean((1, 2))},
            "energy_in_mask": metrics.energy_in_mask(map, mask),
        }
    )
    frames.loc[4, "mask_share"] = np.nan
    result = summary(pd.DataFrame({"return": [0.0], "length": [6]}), frames)
    assert (result["frames_with_target"], result["frames_with_map"]) == (5, 4)
    assert result["mask_share"] == pytest.approx(result["energy_in_mask"])


def test_result_of_an_earlier_version_is_summarised_anew(own_run):
    result = json.loads((own_run / "result.json").read_text())
    older = {name: value for name, value in result.items() if name != "frames_with_map"} | {"mask_share": 1.0}
    (own_run / "result.json").write_text(json.dumps(older))
    read = read_result(own_run)
    assert read.keys() == result.keys()
    for name, value in result.items():
        assert read[name] == (pytest.approx(value, rel=1e-4) if isinstance(value, float) else value), name


def test_finished_run_is_evaluated_anew(own_run):
    before = json.loads((own_run / "result.json").read_text())
    assert evaluate(own_run) == before
    after = evaluate(own_run, episodes=2)
    assert after["episodes"] == 2
    assert json.loads((own_run / "result.json").read_text()) == after
    assert len(pd.read_csv(own_run / "evaluation" / "episodes.csv")) == 2
    shifted = own_run / "evaluation" / "shifted.csv"
    assert "return_dark" in evaluate(own_run, episodes=1, shifts=["dark"])
    assert shifted.is_file()
    assert "return_dark" not in evaluate(own_run, episodes=1, shifts=[])
    assert not shifted.exists()
    agent = load_agent(own_run)
    assert isinstance(agent.classifier, Classifier)
    assert agent.settings.num_steps == 8
    with pytest.raises(InputError, match="episodes = 0; expected 1 or more"):
        evaluate(own_run, episodes=0)
    (own_run / "model.safetensors").unlink()
    with pytest.raises(InputError, match="not finished"):
        evaluate(own_run)
