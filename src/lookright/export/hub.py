"""A run's plain model as a folder of the Hugging Face hub's layout: weights, configuration and model card."""

import json
from pathlib import Path
from typing import Any

import timm
import yaml
from torch import nn

from lookright.errors import InputError
from lookright.replacing import replacing
from lookright.run_directory import read_json, save_model
from lookright.training.model import build_model, require_known_model
from lookright.training.run import TrainedRun


def export_folder(run: TrainedRun, out: Path) -> Path:
    """Write `model.safetensors`, `config.json` and a filled `README.md`, the model card.

    The folder is complete without lookright: a timm model is read by
    `timm.create_model("local-dir:FOLDER", pretrained=True)`, and from the hub, once uploaded, by `hf-hub:OWNER/NAME`.
    `read_folder` reads any.

    Args:
        run: a trained run.
        out: the folder; must not exist.

    Raises:
        InputError: `out` exists.
    """
    if out.exists():
        raise InputError(f"{str(out)!r} exists. Name a folder that does not, or delete it.")
    out.parent.mkdir(parents=True, exist_ok=True)
    config = _config(run)
    with replacing(out) as draft:
        draft.mkdir()
        save_model(draft / "model.safetensors", run.classifier.model, config["lookright"])
        (draft / "config.json").write_text(json.dumps(config, indent=2) + "\n")
        (draft / "README.md").write_text(_card(run, out.name))
    return out


def read_folder(folder: Path) -> tuple[nn.Module, dict[str, Any]]:
    """The model of a folder that `export_folder` wrote, in eval mode, and its `config.json`.

    Raises:
        InputError: the folder has no `config.json`, or one that another program wrote.
    """
    path = folder / "config.json"
    if not path.is_file():
        raise InputError(f"{str(folder)!r} has no config.json. Expected a folder that lookright export wrote.")
    config = read_json(path, {"lookright": dict, "num_classes": int})
    facts, weights = config["lookright"], str(folder / "model.safetensors")
    if not isinstance(facts.get("model"), str) or not isinstance(facts.get("model_arguments"), dict):
        raise InputError(f"{str(path)!r} names no model with its arguments. Expected what lookright export wrote.")
    require_known_model(facts["model"], facts["model_arguments"], path)
    model, _ = build_model(facts["model"], config["num_classes"], weights, facts["model_arguments"])
    return model.eval(), config


def _config(run: TrainedRun) -> dict[str, Any]:
    settings, channels = run.settings, len(run.preprocessing.mean)
    return {
        "architecture": settings.model,
        "num_classes": len(run.classes),
        "label_names": run.classes,
        "model_args": settings.model_arguments,
        "pretrained_cfg": {
            "input_size": [channels, run.preprocessing.size, run.preprocessing.size],
            "interpolation": "bilinear",
            "crop_pct": 1.0,
            "crop_mode": "squash",
            "mean": list(run.preprocessing.mean),
            "std": list(run.preprocessing.std),
            "num_classes": len(run.classes),
        },
        "lookright": {"model": settings.model, "model_arguments": settings.model_arguments},
    }


def _card(run: TrainedRun, name: str) -> str:
    settings, optimisation, method = run.settings, run.settings.optimisation, run.settings.method
    is_timm = timm.is_model(settings.model)
    front = {
        "library_name": "timm" if is_timm else "lookright",
        "pipeline_tag": "image-classification",
        "tags": ["image-classification", "lookright", type(method).__name__.lower()],
    }
    read = (
        f'import timm\n\nmodel = timm.create_model("local-dir:{name}", pretrained=True).eval()'
        if is_timm
        else "from pathlib import Path\n\nfrom lookright.export.hub import read_folder\n\n"
        f'model, config = read_folder(Path("{name}"))'
    )
    mean, std = (
        ", ".join(f"{value:.3f}" for value in values) for values in (run.preprocessing.mean, run.preprocessing.std)
    )
    return f"""---
{yaml.safe_dump(front, sort_keys=False)}---

# {name}

`{settings.model}`, trained by [lookright](https://github.com/lookright/lookright) with `{method!r}`.

## Use

```python
{read}
```

Input: RGB, resized to {run.preprocessing.size} × {run.preprocessing.size} pixels without cropping, scaled to
[0, 1], then normalised by mean ({mean}) and standard deviation ({std}).

Classes: {", ".join(run.classes)}.

## Training

| | |
|---|---|
| data | `{settings.data.name}`, fingerprint `{run.fingerprint}` |
| epochs | {settings.schedule.epochs} |
| batch size | {optimisation.batch_size} |
| optimiser | {optimisation.optimizer}, learning rate {optimisation.lr:g}, weight decay {optimisation.weight_decay:g} |
| weights to begin with | {settings.weights or "none"} |
| seed | {settings.seed} |

## Evaluation

{_evaluation(run)}
"""


def _evaluation(run: TrainedRun) -> str:
    path = run.directory / "result.json"
    splits = read_json(path, ("splits",))["splits"] if path.is_file() else {}
    if not splits:
        return "Not evaluated."
    names = list(dict.fromkeys(name for values in splits.values() for name in values))
    lines = [f"| | {' | '.join(splits)} |", "|---" * (len(splits) + 1) + "|"]
    lines += [f"| {name} | {' | '.join(_shown(values.get(name)) for values in splits.values())} |" for name in names]
    return "\n".join(lines)


def _shown(value: float | None) -> str:
    return "undefined" if value is None else f"{value:.3f}" if isinstance(value, float) else str(value)
