import pytest
import timm
import torch
from torch import nn
from torch.autograd import gradcheck, gradgradcheck
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.functional import gelu, scaled_dot_product_attention

from lookright import CAMAL, Classifier
from lookright.classifier.twice_differentiable import PARTS, twice_differentiable


def attention(*tensors, **arguments):
    with twice_differentiable():
        return scaled_dot_product_attention(*tensors, **arguments)


def tokens(*shape, number=3):
    generator = torch.Generator().manual_seed(0)
    return [
        torch.randn(shape, dtype=torch.float64, generator=generator).requires_grad_()  #
        for _ in range(number)
    ]


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"scale": 0.3},
        {"is_causal": True},
        {"attn_mask": torch.arange(5, dtype=torch.float64).expand(5, 5)},
    ],
    ids=["plain", "scale", "causal", "mask"],
)
@pytest.mark.parametrize("batch", [1, PARTS + 1])
def test_attention_and_its_derivatives(arguments, batch):
    inputs = tokens(batch, 2, 5, 3) if batch == 1 else tokens(batch, 1, 5, 1)
    with sdpa_kernel(SDPBackend.MATH):
        torch.testing.assert_close(attention(*inputs, **arguments), scaled_dot_product_attention(*inputs, **arguments))
    assert gradcheck(lambda *tensors: attention(*tensors, **arguments), inputs, fast_mode=True)
    assert gradgradcheck(lambda *tensors: attention(*tensors, **arguments), inputs, fast_mode=True)


def test_tokens_without_a_batch_are_not_cut_apart():
    assert gradgradcheck(attention, tokens(5, 3))


@pytest.mark.parametrize("approximate", ["none", "tanh"])
def test_gelu_and_its_derivatives(approximate):
    def recomputed(tensor):
        with twice_differentiable():
            return gelu(tensor, approximate=approximate)

    (tensor,) = tokens(3, 4, number=1)
    torch.testing.assert_close(recomputed(tensor), gelu(tensor, approximate=approximate), rtol=0, atol=0)
    assert gradcheck(recomputed, tensor)
    assert gradgradcheck(recomputed, tensor)


def test_attention_under_autocast_has_the_dtype_of_autocast():
    inputs = [tensor.float().detach().requires_grad_() for tensor in tokens(2, 1, 5, 4)]
    with torch.autocast("cpu", torch.bfloat16):
        attended = attention(*inputs)
    assert attended.dtype == torch.bfloat16
    (gradient,) = torch.autograd.grad(attended.float().square().sum(), inputs[0], create_graph=True)
    gradient.square().sum().backward()
    assert all(tensor.grad.dtype == torch.float32 and tensor.grad.isfinite().all() for tensor in inputs)


def test_no_matrix_of_all_pairs_of_tokens_is_kept():
    kept = []

    def keep(tensor):
        kept.append(tuple(tensor.shape))
        return tensor

    inputs = tokens(2, 3, 7, 4)
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        torch.autograd.grad(attention(*inputs).square().sum(), inputs, create_graph=True)
    assert kept
    assert not any(shape[-2:] == (7, 7) for shape in kept)


def guided_step(model: nn.Module):
    """Loss and gradients of a step of CAMAL."""
    classifier = Classifier(model).train()
    method = CAMAL()
    method.attach(classifier)
    image = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    mask = torch.zeros(2, 32, 32)
    mask[:, 8:20, 4:16] = 1
    loss = method(classifier, {"image": image, "label": torch.tensor([0, 3]), "mask": mask}).total
    loss.backward()
    return {"loss": loss} | {
        name: parameter.grad for name, parameter in model.named_parameters() if parameter.grad is not None
    }


def timm_vit():
    arguments = {"img_size": 32, "patch_size": 8, "embed_dim": 16, "depth": 3, "num_heads": 2, "num_classes": 4}
    model = timm.create_model("vit_tiny_patch16_224", **arguments)
    return model, model.set_grad_checkpointing


def hugging_face_vit():
    transformers = pytest.importorskip("transformers")
    config = transformers.ViTConfig(
        **{"hidden_size": 16, "num_hidden_layers": 3, "num_attention_heads": 2, "intermediate_size": 32},
        **{"image_size": 32, "patch_size": 8, "num_labels": 4},
    )
    model = transformers.ViTForImageClassification(config)
    return model, model.gradient_checkpointing_enable


def convolutional():
    model = timm.create_model("test_resnet", num_classes=4)
    return model, model.set_grad_checkpointing


@pytest.mark.filterwarnings("ignore:.gradient_checkpointing_enable. is deprecated")
@pytest.mark.parametrize("build", [timm_vit, hugging_face_vit, convolutional])
def test_activation_checkpointing_changes_nothing(build):
    torch.manual_seed(0)
    model, _ = build()
    kept = guided_step(model)
    torch.manual_seed(0)
    model, checkpoint_activations = build()
    checkpoint_activations()
    torch.testing.assert_close(guided_step(model), kept, rtol=0, atol=0)
