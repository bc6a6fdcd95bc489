"""Attention rollout."""

import torch
from jaxtyping import Float
from torch import Tensor

from lookright.attribution.attention import identity, per_image, to_patches, token_attention
from lookright.attribution.registry import registered, starts_from
from lookright.attribution.target import Target
from lookright.classifier import Classifier, Output


@registered
@starts_from("image")
def attention_rollout(classifier: Classifier, output: Output, target: Target | None = None) -> Float[Tensor, "B h w"]:
    """A = Ã_L ⋯ Ã_1 in the row of the class token, with Ã_l = ½ mean over heads of softmax(QKᵀ/√d) + ½ I.

    Abnar and Zuidema, "Quantifying Attention Flow in Transformers", ACL 2020, equation 1. The row is that of the tokens
    that the head reads: the class token, the mean of class and distillation token (DeiT), or of the patches where they
    are averaged.

    Args:
        classifier: gave the output.
        output: of `classifier(image.requires_grad_())`: the probabilities are read from its graph.
        target: not used: what the tokens attend to does not depend on the class.

    Raises:
        InputError: if the output carries no graph from the image to the logits, or the model has no attention between
            all of its tokens.
    """
    attention = token_attention(classifier, output)
    with torch.autocast(output.logits.device.type, enabled=False):
        flow = identity(attention[0], output)
        for values in attention:
            flow = (per_image(values, output).mean(1) @ flow + flow) / 2
        return to_patches(flow, output, attention[-1], classifier.route.grid)
