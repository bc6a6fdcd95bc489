"""Attention weighted by its gradient."""

import torch
from jaxtyping import Float
from torch import Tensor

from lookright.attribution.attention import identity, per_image, to_patches, token_attention
from lookright.attribution.gradient import target_gradient
from lookright.attribution.registry import registered, starts_from
from lookright.attribution.target import Target
from lookright.classifier import Classifier, Output


@registered
@starts_from("image")
def attention_gradient(
    classifier: Classifier, output: Output, target: Target, constant_gradient: bool = False
) -> Float[Tensor, "B h w"]:
    """R ← R + Ā R, block by block from R = I, with Ā = mean over heads of ReLU(∂logit[target]/∂A ⊙ A).

    A is softmax(QKᵀ/√d). The map is the row of R of the tokens that the head reads: the class token, the mean of class
    and distillation token (DeiT), or of the patches where they are averaged.

    Chefer et al., "Generic Attention-model Explainability for Interpreting Bi-Modal and Encoder-Decoder Transformers",
    ICCV 2021, equations 5 and 6.

    Args:
        classifier: gave the output.
        output: of `classifier(image.requires_grad_())`: the probabilities are read from its graph.
        target: (B,) the class to explain, or (B, K) the weight of each logit.
        constant_gradient: a loss on the map changes A alone and takes ∂logit/∂A as given, which needs no second
            derivative.

    Raises:
        InputError: if the output carries no graph from the image to the logits, or the model has no attention between
            all of its tokens.
    """
    attention = token_attention(classifier, output)
    gradient = target_gradient(output, target, attention, constant_gradient)
    with torch.autocast(output.logits.device.type, enabled=False):
        relevance = identity(attention[0], output)
        for values, slope in zip(attention, gradient, strict=True):
            assert slope is not None  # It was found on the path to the logits.
            weighted = (per_image(slope, output) * per_image(values, output)).clamp_min(0).mean(1)
            relevance = relevance + weighted @ relevance
        return to_patches(relevance, output, attention[-1], classifier.route.grid)
