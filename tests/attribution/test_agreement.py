"""The maps of pytorch-grad-cam, where it is installed. benchmarks/map_agreement.py compares ten architectures."""

import pytest
import torch

from lookright.attribution import grad_cam, hires_cam, layer_cam

PEERS = {grad_cam: "GradCAM", hires_cam: "HiResCAM", layer_cam: "LayerCAM"}
PAIRS = [("flattened", map) for map in PEERS] + [("vit", grad_cam), ("vit", layer_cam)]


def as_grid(tokens):
    """What pytorch-grad-cam asks its users for."""
    return tokens[:, 1:].transpose(1, 2).unflatten(2, (2, 3))


@pytest.mark.parametrize(("model", "map"), PAIRS)
def test_agrees_with_pytorch_grad_cam(model, map, request, image, target):
    peers = pytest.importorskip("pytorch_grad_cam")
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

    classifier = request.getfixturevalue(model).float()
    is_vit = model == "vit"
    layer = classifier.model.blocks[-2] if is_vit else classifier.model.features
    targets = [ClassifierOutputTarget(label) for label in target.tolist()]
    ours = map(classifier, classifier(image.float()), target).detach()
    with getattr(peers, PEERS[map])(classifier.model, [layer], as_grid if is_vit else None) as peer:
        peer(image.float(), targets)
        seen = peer.activations_and_grads
        features, gradient = seen.activations[0].numpy(), seen.gradients[0].numpy()
        theirs = torch.from_numpy(peer.get_cam_image(image, layer, targets, features, gradient, eigen_smooth=False))
    assert ours.std() > 0
    torch.testing.assert_close(ours, theirs)
