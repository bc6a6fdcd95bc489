"""What `Classifier` finds in every architecture of timm and torchvision that can be built without weights.

    python benchmarks/architectures.py                  # adds what is missing to benchmarks/results/architectures.csv
    python benchmarks/architectures.py --match 'vit*'   # only these; --again looks again
    python benchmarks/architectures.py --check          # real numbers on the smallest member of each family
    python benchmarks/architectures.py --page           # writes docs/architectures.md from the table

Layers are decided on the meta device, so that giants need no memory. The check runs the smallest member of each class
of models, with random weights, on the CPU: logits equal those of the plain model, its features carry the logits, and
the closed-form class map adds up to them where it is said to be exact.
"""

import argparse
import fnmatch
import gc
import itertools
import warnings
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import timm
import torch
import torchvision
from torch import Tensor, nn

from lookright import Classifier
from lookright.attribution import cam, class_map

TABLE = Path(__file__).parent / "results" / "architectures.csv"
PAGE = Path(__file__).parents[1] / "docs" / "architectures.md"
KEY = ["library", "architecture"]
COLUMNS = [
    *KEY,
    *("family", "type", "parameters", "image", "route", "features", "side", "axes", "channels", "rows", "columns"),
    *("prefix", "head", "embedding", "map", "reason", "check"),
]
LARGEST_CHECKED = 200_000_000


def names() -> Iterator[tuple[str, str]]:
    """One of each module, then the next of each, so that a part of the sweep says much."""
    modules = [[("timm", name) for name in timm.list_models(module=module)] for module in timm.list_modules()]
    modules.append([("torchvision", name) for name in torchvision.models.list_models(module=torchvision.models)])
    for members in itertools.zip_longest(*modules):
        yield from filter(None, members)


def build(library: str, name: str) -> nn.Module:
    if library == "timm":
        return timm.create_model(name, num_classes=1000)
    spared = {"init_weights": False} if name in ("googlenet", "inception_v3") else {}
    return torchvision.models.get_model(name, weights=None, **spared)


def first_line(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error).strip().splitlines()[0]}" if str(error) else type(error).__name__


def look(library: str, name: str) -> dict[str, object]:
    """One row of the table."""
    row: dict[str, object] = {"library": library, "architecture": name}
    try:
        with torch.device("meta"):
            model = build(library, name)
    except Exception as on_meta:
        try:
            model = build(library, name)
        except Exception as error:
            return row | {"reason": f"not built: {first_line(error)}; on the meta device: {first_line(on_meta)}"}
    row |= {
        "family": type(model).__module__.rsplit(".", 1)[-1],
        "type": type(model).__name__,
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
    }
    try:
        classifier = Classifier(model.eval())
        size = image_size(model)
        device = next(model.parameters()).device
        output = classifier(torch.zeros(1, *size, device=device))
    except Exception as error:
        return row | {"reason": first_line(error)}
    route = classifier.route
    _, channels, rows, columns = output.features.shape
    return row | {
        "image": "×".join(map(str, size)),
        "route": "methods" if route.methods else "hooks",
        "features": route.features.module,
        "side": route.features.side,
        "axes": route.grid.axes,
        "channels": channels,
        "rows": rows,
        "columns": columns,
        "prefix": route.grid.prefix,
        "head": route.head,
        "embedding": output.embedding.shape[1],
        "map": "cam" if classifier.cam_is_exact else "grad_cam",
    }


def image_size(model: nn.Module) -> tuple[int, int, int]:
    if hasattr(model, "pretrained_cfg"):
        return timm.data.resolve_data_config({}, model=model)["input_size"]
    side = getattr(model, "image_size", 224)
    return (3, side, side)


def check(library: str, name: str) -> str:
    """'passed', or what went wrong."""
    torch.manual_seed(0)
    model = build(library, name).eval()
    with torch.no_grad():  # What is initialised with zeros would hide the rest.
        for parameter in model.parameters():
            parameter += 0.02 * torch.randn_like(parameter)
    image = torch.randn(2, *image_size(model))
    classifier = Classifier(model)
    output = classifier(image)
    target = output.logits.argmax(1)
    map = class_map(classifier, output, target)
    with torch.no_grad():
        plain = logits_of(model(image))
        edited = classifier(image, edit=torch.zeros_like).logits
    failures = []
    scale = plain.abs().max()
    if (output.logits - plain).abs().max() > 1e-5 * scale:
        failures.append("the logits differ from those of the plain model")
    if (edited - plain).abs().max() <= 1e-5 * scale:
        failures.append("the logits do not depend on the features")
    (gradient,) = torch.autograd.grad(output.logits.gather(1, target[:, None]).sum(), output.features)
    if not gradient.flatten(1).any(1).all() or not map.isfinite().all():
        failures.append("the gradient with respect to the features vanishes")
    if classifier.cam_is_exact:
        bias = getattr(model.get_submodule(classifier.route.head), "bias", None)
        logit = cam(classifier, output, target).mean((1, 2)) + (0 if bias is None else bias[target])
        if (logit - output.logits.gather(1, target[:, None])[:, 0]).abs().max() > 1e-4 * scale:
            failures.append("the mean of the class map is not the logit")
    return "; ".join(failures) or "passed"


def logits_of(result: object) -> Tensor:
    return result[0] if isinstance(result, tuple) else result


def read() -> pd.DataFrame:
    return pd.read_csv(TABLE, keep_default_na=False, dtype=str) if TABLE.exists() else pd.DataFrame(columns=COLUMNS)


def write(rows: dict[tuple[str, str], dict[str, object]]) -> None:
    table = pd.DataFrame(rows.values(), columns=COLUMNS).sort_values(KEY)
    TABLE.parent.mkdir(exist_ok=True)
    partial = TABLE.with_suffix(".partial")
    table.to_csv(partial, index=False)
    partial.rename(TABLE)


def sweep(match: str, again: bool) -> None:
    rows = {(row["library"], row["architecture"]): row for row in read().to_dict("records")}
    wanted = [key for key in names() if fnmatch.fnmatch(key[1], match) and (again or key not in rows)]
    for number, key in enumerate(wanted, 1):
        rows[key] = look(*key)
        print(f"{number}/{len(wanted)} {key[1]}: {rows[key].get('map') or rows[key]['reason']}", flush=True)
        if number % 10 == 0 or number == len(wanted):
            gc.collect()
            write(rows)


def check_families(match: str) -> None:
    rows = {(row["library"], row["architecture"]): row for row in read().to_dict("records")}
    found = pd.DataFrame([row for row in rows.values() if row["map"]]).astype({"parameters": int})
    for _, family in found.sort_values("parameters").groupby(["library", "family", "type", "map"]):
        smallest = family.iloc[0]
        key = (smallest["library"], smallest["architecture"])
        if not fnmatch.fnmatch(key[1], match) or rows[key]["check"] == "passed":
            continue
        if smallest["parameters"] > LARGEST_CHECKED:
            rows[key]["check"] = "unchecked: too large"
        else:
            try:
                rows[key]["check"] = check(*key)
            except Exception as error:
                rows[key]["check"] = first_line(error)
        print(f"{key[1]}: {rows[key]['check']}", flush=True)
        write(rows)


MAPS = {"cam": "CAM", "grad_cam": "Grad-CAM"}


INTRODUCTION = """# Architectures

What `lookright.Classifier` finds in every architecture of timm and every classification model of torchvision, by
`benchmarks/architectures.py`. Each architecture has its row in `benchmarks/results/architectures.csv`. Measured with
timm {timm}, torchvision {torchvision} and torch {torch}.

| library | names | looked at | built | features found | share of those built | CAM exact | Grad-CAM | without hooks |
|---|---|---|---|---|---|---|---|---|"""

EXPLANATION = """
*Built* means built without trained weights, on the meta device or else on the CPU. *CAM exact*: the logits are one
linear layer on the mean of the features, so that the class map is closed-form; everywhere else `class_map` is Grad-CAM.
*Without hooks*: under `torch.compile` the model runs through timm's `forward_features` and `forward_head`; all others
run with hooks that last for one forward.

Layers are decided without weights. Numbers were checked with random weights on the smallest member of {checked} classes
of models, of which {passed} passed: logits equal those of the plain model, features that are replaced by zeros change
them, the gradient with respect to the features is not zero, and the mean of the closed-form map is the logit.

## Families

Grid: the layout of the tensor that the features are read from (BCHW and BHWC maps, BNC tokens), and the number of
tokens before the patches.

| library | module | architectures | found | route | grid | map | checked on |
|---|---|---|---|---|---|---|---|"""


def page() -> None:
    table = read()
    built = table[~table["reason"].str.startswith("not built")]
    found = built[built["map"] != ""]
    checked = found[~found["check"].isin(["", "unchecked: too large"])]
    versions = {"timm": timm.__version__, "torchvision": torchvision.__version__, "torch": torch.__version__}
    lines = [INTRODUCTION.format(**{name: version.split("+")[0] for name, version in versions.items()})]
    for library, rows in table.groupby("library"):
        known, here = built[built["library"] == library], found[found["library"] == library]
        every = sum(name[0] == library for name in names())
        counts = [every, len(rows), len(known), len(here), f"{len(here) / len(known):.1%}"]
        counts += [(here["map"] == map).sum() for map in MAPS] + [(here["route"] == "methods").sum()]
        lines.append("| " + " | ".join(map(str, [library, *counts])) + " |")
    if (missing := len(list(names())) - len(table)) > 0:
        lines.append(
            f"\n**The sweep is not finished: {missing} names were not looked at yet.** The script goes on with them."
        )
    lines.append(EXPLANATION.format(checked=len(checked), passed=(checked["check"] == "passed").sum()))
    for (library, family), rows in built.groupby(["library", "family"]):
        here = rows[rows["map"] != ""]
        grids = here["axes"] + here["prefix"].map(lambda prefix: "" if prefix in ("", "0") else f" +{prefix}")
        passed = here[here["check"] == "passed"]["architecture"]
        cells = [library, family, len(rows), len(here), listed(here["route"]), listed(grids)]
        cells += [listed(here["map"].map(MAPS)), ", ".join(passed)]
        lines.append("| " + " | ".join(map(str, cells)) + " |")
    lines += ["", "## Exceptions", "", *exceptions("Built, but no features found", built[built["map"] == ""], "reason")]
    lines += exceptions("Not built without weights", table[table["reason"].str.startswith("not built")], "reason")
    failed = checked[checked["check"] != "passed"]
    lines += exceptions("Found, but the check of the numbers failed", failed, "check")
    partial = PAGE.with_suffix(".partial")
    partial.write_text("\n".join(lines).rstrip() + "\n")
    partial.rename(PAGE)


def listed(values: pd.Series) -> str:
    counts = values.value_counts()
    return ", ".join(counts.index if len(counts) == 1 else [f"{value} ({count})" for value, count in counts.items()])


def exceptions(title: str, rows: pd.DataFrame, column: str) -> list[str]:
    bullets = [f"- `{row['architecture']}` ({row['library']}): {row[column]}" for row in rows.to_dict("records")]
    return [f"{title}: {len(rows)}.", "", *bullets, *([""] if bullets else [])]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--match", default="*", help="only architectures whose name fits this pattern")
    parser.add_argument("--again", action="store_true", help="look again at what the table has")
    parser.add_argument("--check", action="store_true", help="numbers on the smallest member of each class of models")
    parser.add_argument("--page", action="store_true", help="write docs/architectures.md from the table")
    arguments = parser.parse_args()
    warnings.filterwarnings("ignore")
    if arguments.check:
        check_families(arguments.match)
    elif arguments.page:
        page()
    else:
        sweep(arguments.match, arguments.again)
