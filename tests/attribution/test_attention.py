import pytest
import timm
import torch
import torchvision
from torch import nn

from lookright import Classifier, InputError
from lookright.attribution import attention_gradient, attention_rollout
from lookright.attribution.attention import per_image, token_attention


def timm_attention(model, image):
    """softmax(QKᵀ/√d) of every block, from the input of its attention."""
    tokens, attention = model.norm_pre(model._pos_embed(model.patch_embed(image))), []
    for block in model.blocks:
        own = block.attn
        query, key, _ = own.qkv(block.norm1(tokens)).unflatten(2, (3, own.num_heads, -1)).permute(2, 0, 3, 1, 4)
        attention.append((query @ key.transpose(2, 3) / query.shape[-1] ** 0.5).softmax(-1))
        tokens = block(tokens)
    return attention


def torchvision_attention(model, image):
    tokens = torch.cat([model.class_token.expand(len(image), -1, -1), model._process_input(image)], 1)
    tokens, attention = tokens + model.encoder.pos_embedding, []
    for layer in model.encoder.layers:
        normal = layer.ln_1(tokens)
        attention.append(layer.self_attention(normal, normal, normal, average_attn_weights=False)[1])
        tokens = layer(tokens)
    return attention


def torchvision_vit():
    return torchvision.models.VisionTransformer(
        8, 4, num_layers=2, num_heads=2, hidden_dim=12, mlp_dim=8, num_classes=4
    )


def check(model, image, expected):
    classifier = Classifier(model.eval(), input_size=tuple(image.shape[1:]))
    output = classifier(image.requires_grad_())
    attention = token_attention(classifier, output)
    assert len(attention) == len(expected)
    for values, reference in zip(attention, expected):
        torch.testing.assert_close(per_image(values, output), reference)
    target = torch.arange(len(image)) % 4
    height, width = output.features.shape[2:]
    for map in (attention_rollout, attention_gradient):
        assert map(classifier, output, target).shape == (len(image), height, width)


def test_timm(vit, image):
    check(vit.model, image, timm_attention(vit.model, image))


def test_timm_with_register_tokens_and_average_pooling(make_vit, image):
    model = make_vit(reg_tokens=3, global_pool="avg", depth=1).double()
    check(model, image, timm_attention(model, image))


def test_timm_without_fused_attention(vit, image):
    for block in vit.model.blocks:
        block.attn.fused_attn = False
    check(vit.model, image, timm_attention(vit.model, image))


def test_torchvision():
    model, image = torchvision_vit().eval(), torch.randn(2, 3, 8, 8)
    check(model, image, torchvision_attention(model, image))


def test_weights_asked_of_multi_head_attention(image):
    """That way it has one axis for images and heads."""

    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.attention = nn.MultiheadAttention(6, 2, batch_first=True)

        def forward(self, tokens):
            return tokens + self.attention(tokens, tokens, tokens)[0]

    class Network(nn.Module):
        def __init__(self):
            super().__init__()
            self.embed, self.block, self.head = nn.Conv2d(3, 6, 4, 4), Block(), nn.Linear(6, 4)

        def forward(self, image):
            return self.head(self.block(self.embed(image).flatten(2).transpose(1, 2))[:, 0])

    model = Network().double()
    tokens = model.embed(image).flatten(2).transpose(1, 2)
    check(model, image, [model.block.attention(tokens, tokens, tokens, average_attn_weights=False)[1]])


@pytest.mark.parametrize("implementation", ["sdpa", "eager"])
@pytest.mark.parametrize("family", ["ViT", "Dinov2"])
def test_hugging_face(family, implementation):
    transformers = pytest.importorskip("transformers")
    size = {"hidden_size": 12, "num_hidden_layers": 2, "num_attention_heads": 2, "image_size": 8, "patch_size": 4}
    config = getattr(transformers, f"{family}Config")(**size, attn_implementation=implementation, num_labels=4)
    model, image = getattr(transformers, f"{family}ForImageClassification")(config).eval(), torch.randn(2, 3, 8, 8)
    model.set_attn_implementation("eager")
    expected = model(image, output_attentions=True).attentions
    model.set_attn_implementation(implementation)
    check(model, image, expected)


def test_the_plain_forward_stays_fused(vit, image):
    """Nothing is left behind that keeps later forwards from the fast kernel."""
    attention_rollout(vit, vit(image.requires_grad_()))
    names, waiting = set(), [vit.model.train().requires_grad_()(image.detach()).grad_fn]
    while waiting:
        node = waiting.pop()
        names.add(node.name())
        waiting.extend(source for source, _ in node.next_functions if source is not None)
    assert any(name.startswith("ScaledDotProduct") for name in names)


@pytest.fixture(scope="module")
def swin():
    size = {"img_size": 32, "window_size": 4, "embed_dim": 8, "depths": (1, 1), "num_heads": (1, 2)}
    return Classifier(timm.create_model("swin_tiny_patch4_window7_224", **size), input_size=(3, 32, 32))


@pytest.mark.parametrize("map", [attention_rollout, attention_gradient])
class TestRefuses:
    def test_a_network_without_attention(self, map, pooled, image, target):
        with pytest.raises(InputError, match="No attention between tokens is found in Pooled. Take class_map"):
            map(pooled, pooled(image.requires_grad_()), target)

    def test_windows(self, map, swin):
        with pytest.raises(InputError, match="For windows .* take class_map"):
            map(swin, swin(torch.randn(2, 3, 32, 32).requires_grad_()), torch.tensor([0, 1]))

    def test_an_image_without_gradients(self, map, vit, image, target):
        with pytest.raises(InputError, match=r"classifier\(image.requires_grad_\(\)\)"):
            map(vit, vit(image), target)
