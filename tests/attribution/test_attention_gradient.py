import pytest
import timm
import torch

from lookright import Classifier
from lookright.attribution import attention_gradient


def loop(model, image, target):
    """One image. Attention is a leaf here, block by block."""
    tokens, leaves = model._pos_embed(model.patch_embed(image[None])), []
    for block in model.blocks:
        own = block.attn
        query, key, value = own.qkv(block.norm1(tokens)).unflatten(2, (3, own.num_heads, -1)).permute(2, 0, 3, 1, 4)
        attention = (query @ key.transpose(2, 3) / query.shape[-1] ** 0.5).softmax(-1)
        attention.retain_grad()
        leaves.append(attention)
        tokens = tokens + own.proj((attention @ value).transpose(1, 2).flatten(2))
        tokens = tokens + block.mlp(block.norm2(tokens))
    logits = model.forward_head(model.norm(tokens))
    logits[0, target].backward()
    relevance = torch.eye(tokens.shape[1], dtype=torch.float64)
    for attention in leaves:
        positive = (attention.grad * attention).detach()[0].clamp_min(0)
        relevance = relevance + sum(positive[head] for head in range(len(positive))) / len(positive) @ relevance
    return relevance


@pytest.mark.parametrize(("arguments", "rows"), [({}, [0]), ({"global_pool": "avg"}, range(1, 7))])
def test_against_a_loop(make_vit, image, target, arguments, rows):
    classifier = Classifier(make_vit(**arguments).double().eval(), input_size=(3, 8, 12))
    map = attention_gradient(classifier, classifier(image.requires_grad_()), target)
    assert map.std() > 0
    for number in range(3):
        relevance = loop(classifier.model, image[number].detach(), target[number])
        expected = sum(relevance[row] for row in rows) / len(rows)
        torch.testing.assert_close(map[number], expected[-6:].reshape(2, 3))


def test_distillation_token_counts(image, target):
    size = {"img_size": (8, 12), "patch_size": 4, "embed_dim": 12, "num_heads": 2, "depth": 1, "num_classes": 4}
    model = timm.create_model("deit_tiny_distilled_patch16_224", **size).double().eval()
    classifier = Classifier(model, input_size=(3, 8, 12))
    map = attention_gradient(classifier, classifier(image.requires_grad_()), target)
    relevance = loop(model, image[0].detach(), target[0])
    torch.testing.assert_close(map[0], (relevance[0] + relevance[1])[2:].reshape(2, 3) / 2)
