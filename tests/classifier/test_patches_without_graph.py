"""Everything is as with the graph of all tokens, which a classifier builds for a model that has a hook of a user."""

from functools import partial

import pytest
import timm
import torch
import torchvision
from torch import nn
from torch.nn.functional import cross_entropy, gelu, layer_norm, linear, scaled_dot_product_attention

from lookright import Classifier
from lookright.attribution import class_map, layer_cam
from lookright.classifier.grid import Grid
from lookright.classifier.patches_without_graph import PatchesWithoutGraph

LABEL = torch.tensor([0, 3, 1])


def vit(name="vit_tiny_patch16_224", **arguments):
    tiny = {"img_size": 32, "patch_size": 8, "embed_dim": 16, "depth": 3, "num_heads": 2, "num_classes": 4}
    return timm.create_model(name, **tiny | arguments)


def zero_head(**arguments):
    model = vit(**arguments)
    nn.init.zeros_(model.head.weight)
    return model


def checkpointed():
    model = vit()
    model.set_grad_checkpointing()
    return model


def hugging_face(name, **arguments):
    transformers = pytest.importorskip("transformers")
    config = getattr(transformers, f"{name}Config")(
        **{"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32},
        **{"image_size": 32, "patch_size": 8, "num_labels": 4} | arguments,
    )
    return getattr(transformers, f"{name}ForImageClassification")(config)


def norms_and_dropouts():
    return vit(qk_norm=True, init_values=0.5, drop_path_rate=0.5, proj_drop_rate=0.5, drop_rate=0.5)


WITHOUT = {
    "class token": vit,
    "distillation token": partial(vit, "deit_tiny_distilled_patch16_224"),
    "registers": partial(vit, reg_tokens=3),
    "norms and dropouts": norms_and_dropouts,
    "a head that is still zero": zero_head,
    "activation checkpointing": checkpointed,
    "torchvision": partial(torchvision.models.VisionTransformer, 32, 8, 2, 2, 16, 32, num_classes=4),
    "Hugging Face": partial(hugging_face, "ViT"),
}
WITH = {
    "average pooling": partial(vit, global_pool="avg"),
    "attention pooling": partial(vit, global_pool="map"),
    "class token and mean": partial(hugging_face, "Dinov2"),
    "dropout of attention": partial(vit, attn_drop_rate=0.5),
}


def build(make):
    torch.manual_seed(0)
    return make().double().train()


def step(classifier, map=class_map, edit=None, weight=1.0, images=3):
    """Logits, map and gradients, first and second derivatives among them."""
    torch.manual_seed(1)
    output = classifier(torch.randn(images, 3, 32, 32, dtype=torch.float64), edit)
    label = LABEL.repeat(images)[:images]
    found = map(classifier, output, label)
    loss = cross_entropy(output.logits, label) + weight * (found * torch.randn_like(found)).sum()
    names, parameters = zip(*classifier.model.named_parameters(), strict=True)
    gradients = torch.autograd.grad(loss, parameters, allow_unused=True)
    return output, {"logits": output.logits, "map": found} | dict(zip(names, gradients, strict=True))


def operations(tensor):
    """Names of all nodes in a tensor's graph."""
    seen, waiting = set(), [tensor.grad_fn]
    while waiting:
        node = waiting.pop()
        if node is not None and node not in seen:
            seen.add(node)
            waiting += [source for source, _ in node.next_functions]
    return {node.name() for node in seen}


def is_cut(output):
    return "IndexCopyBackward0" in operations(output.logits)


@pytest.mark.parametrize("map", [class_map, layer_cam])
@pytest.mark.parametrize("kind", WITHOUT)
def test_logits_maps_and_gradients_are_the_same(kind, map):
    output, found = step(Classifier(build(WITHOUT[kind])), map)
    hooked = build(WITHOUT[kind])
    hooked.register_forward_hook(lambda *_: None)
    whole, expected = step(Classifier(hooked), map)
    assert is_cut(output)
    assert not is_cut(whole)
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("kind", WITH)
def test_patches_that_are_read_keep_their_graph(kind):
    output, _ = step(Classifier(build(WITH[kind])))
    assert not is_cut(output)


def test_a_map_of_an_earlier_block_keeps_the_graph_of_the_blocks_between():
    output, _ = step(Classifier(build(vit), features="blocks.0"))
    assert not is_cut(output)


def test_edited_features():
    def edit(features):
        return 3 * features + 1

    output, found = step(Classifier(build(vit)), edit=edit)
    hooked = build(vit)
    hooked.blocks[2].mlp.register_forward_hook(lambda *_: None)
    _, expected = step(Classifier(hooked), edit=edit)
    assert is_cut(output)
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-12)


def test_as_many_images_as_tokens():
    output, _ = step(Classifier(build(vit)), images=17)
    assert not is_cut(output)


def test_a_hook_of_the_user_sees_values_with_their_graph():
    model, seen = build(vit), []
    model.blocks[2].register_forward_hook(lambda module, args, output: seen.append(output))
    image = torch.randn(3, 3, 32, 32, dtype=torch.float64)
    Classifier(model, input_size=(3, 32, 32))(image)
    model(image)
    weight = model.blocks[2].mlp.fc1.weight
    found, expected = (torch.autograd.grad(tokens[:, 1:].square().sum(), weight) for tokens in seen)
    torch.testing.assert_close(seen[0], seen[1])
    torch.testing.assert_close(found, expected)


def test_under_autocast_every_weight_learns():
    gradients = []
    for hooks in (0, 1):
        model = build(vit).float()
        for _ in range(hooks):
            model.register_forward_hook(lambda *_: None)
        classifier = Classifier(model)
        with torch.autocast("cpu", torch.bfloat16):
            output = classifier(torch.randn(3, 3, 32, 32, generator=torch.Generator().manual_seed(0)))
            loss = cross_entropy(output.logits, LABEL) + class_map(classifier, output, LABEL).square().sum()
        loss.backward()
        assert is_cut(output) == (not hooks)
        gradients.append({name: parameter.grad for name, parameter in model.named_parameters()})
    assert all(gradient.any() for gradient in gradients[0].values())
    torch.testing.assert_close(*gradients, rtol=0.1, atol=0.02)


@pytest.mark.parametrize("axes", ["BNC", "NBC"])
def test_patches_have_values_and_no_graph(axes):
    generator = torch.Generator().manual_seed(0)
    tokens = torch.randn(2, 6, 4, generator=generator, dtype=torch.float64)
    tokens = (tokens if axes == "BNC" else tokens.transpose(0, 1)).requires_grad_()
    weight = torch.randn(4, 4, generator=generator, dtype=torch.float64, requires_grad=True)

    def block():
        batch = tokens if axes == "BNC" else tokens.transpose(0, 1)
        attended = scaled_dot_product_attention(*[batch[:, None]] * 3)[:, 0]
        attended = attended if axes == "BNC" else attended.transpose(0, 1)
        return layer_norm(gelu(linear(attended, weight)), (4,)).movedim(axes.index("N"), 0)

    expected = block()
    with PatchesWithoutGraph(Grid(axes, (1, 4), prefix=1, suffix=1), tokens):
        found = block()
    torch.testing.assert_close(found, expected)
    for others in ([0], [5]):
        torch.testing.assert_close(
            torch.autograd.grad(found[others].square().sum(), (tokens, weight), retain_graph=True),
            torch.autograd.grad(expected[others].square().sum(), (tokens, weight), retain_graph=True),
        )
    assert not any(gradient.any() for gradient in torch.autograd.grad(found[1:5].square().sum(), (tokens, weight)))
