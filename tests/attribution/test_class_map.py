import torch

from lookright.attribution import cam, class_map, grad_cam


def test_picks_the_cheapest_exact_map(classifier, image, target):
    output = classifier(image)
    expected = (cam if classifier.cam_is_exact else grad_cam)(classifier, output, target)
    torch.testing.assert_close(class_map(classifier, output, target), expected)


def test_cam_is_exact_for_the_pooled_head_alone(pooled, flattened, vit):
    assert pooled.cam_is_exact
    assert not flattened.cam_is_exact
    assert not vit.cam_is_exact
