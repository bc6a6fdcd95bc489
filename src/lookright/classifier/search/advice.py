"""What to name where nothing fits: the layers at hand with their shapes, and the call that would work."""

import difflib
from collections.abc import Mapping, Sequence

_LISTED = 8

Layers = Mapping[str, Sequence[int]]


def unknown_name(kind: str, argument: str, given: str, names: Sequence[str]) -> str:
    """For a name that no module has.

    >>> print(unknown_name("ResNet", "features", "layer_4", ["conv1", "layer3", "layer4", "fc"]))
    features='layer_4' is no module of ResNet. Did you mean 'layer4' or 'layer3'?
    """
    close = difflib.get_close_matches(given, names, 3) or [name for name in names if "." not in name][-_LISTED:]
    return f"{argument}={given!r} is no module of {kind}. Did you mean {' or '.join(map(repr, close))}?"


def no_features(kind: str, image_size: Sequence[int], given: str | None, maps: Layers, others: Layers) -> str:
    """For a model without a spatial map that carries everything, or a named layer that is no map.

    Args:
        kind: the model.
        image_size: (H, W).
        given: the name that the user gave.
        maps: (C, h, w) of the layers that hand out a map on the path to the logits, the last first.
        others: shapes of what else lies on that path, without the batch, the last first.
    """
    size = " × ".join(map(str, image_size))
    if given and maps:
        problem = f"features={given!r} of {kind} is no feature map on the path to the logits."
    elif maps:
        problem = f"{kind} has no feature map through which everything passes on the way to the logits."
    else:
        return (
            f"No layer of {kind} hands out a feature map (B, C, h, w), or patch tokens, on the path from an image of "
            f"{size} to the logits. What lies there, the last first:\n{_lines(others)}\n"
            "Attention needs a map of at least two positions. If the model computes one between its modules, let it "
            "pass an nn.Identity() named map, and call Classifier(model, features='map')."
        )
    call = f"Classifier(model, features={next(iter(maps))!r})"
    return f"{problem} Layers with a map, the last first, for an image of {size}:\n{_lines(maps)}\nName one: {call}."


def no_positions(kind: str, given: str, better: str | None) -> str:
    """For a named layer after which only some tokens reach the logits.

    Args:
        kind: the model.
        given: the name that the user gave.
        better: a layer all of whose positions reach the logits.
    """
    advice = "Leave features out" + (f", or name {better!r}." if better else ".")
    return (
        f"After features={given!r} of {kind} only the class token reaches the logits, so that every map on the patches "
        f"is zero and a loss on it trains nothing. {advice}"
    )


def early(kind: str, found: str) -> str:
    """For features that lie far from the logits.

    Args:
        kind: the model.
        found: the layer that they were found at.
    """
    return (
        f"The features of {kind} are taken at {found!r}, before most of its layers: no later map through which "
        "everything passes could be read. Maps from there say little. Name a later layer, Classifier(model, "
        "features=...); for tokens say the grid of the patches, Classifier(model, grid=(h, w), prefix=n)."
    )


def no_head(kind: str, given: str, layers: Layers) -> str:
    """For a named head that is no layer with flat inputs on the path.

    Args:
        kind: the model.
        given: the name that the user gave.
        layers: shapes of the inputs of the layers that would do, without the batch, the last first.
    """
    problem = f"head={given!r} of {kind} is no layer on the path to the logits that takes an embedding (B, D)."
    if not layers:
        return f"{problem} No layer does; leave the head out: Classifier(model, features=...)."
    call = f"Classifier(model, head={next(iter(layers))!r})"
    return f"{problem} Layers that do, the last first, and what they take:\n{_lines(layers)}\nName one: {call}."


def _lines(layers: Layers) -> str:
    listed = list(layers.items())[:_LISTED]
    width = max(len(name) for name, _ in listed) if listed else 0
    return "\n".join(f"  {name:{width}}  (B, {', '.join(map(str, shape))})" for name, shape in listed)
