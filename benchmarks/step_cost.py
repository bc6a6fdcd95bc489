"""Time and memory of a training step, as multiples of plain training's.

Every round times one step of each contender, one after the other, so that whatever else the machine does hits all of
them alike; the figure is the median over the rounds of the ratio within a round. On a CPU it is the processor time of
one thread, which other programs on the machine disturb least. Peak memory is what a process of its own reaches in three
steps above what it held before the first; of `methods` it is not measured.

    python benchmarks/step_cost.py guidance --model resnet50 --size 224 --batch-size 4
    python benchmarks/step_cost.py guidance --model vit_small_patch16_224 --size 224 --batch-size 4
    python benchmarks/step_cost.py sage
    python benchmarks/step_cost.py align
    python benchmarks/step_cost.py methods --size 64      # every method with its defaults, after its warm-up
    python benchmarks/step_cost.py methods --model vit_tiny_patch16_224 --size 224 --batch-size 8 --only CFT
    python benchmarks/step_cost.py table                  # docs/cost.md, columns of docs/methods/index.md and README.md

`table` reads benchmarks/results/step_cost_*.json, and what each method needs from the methods themselves. `guidance`
sets CAMAL beside what a user would write without lookright: an attention loss on captum's Grad-CAM, and one that runs
the model a second time and differentiates it whole.
"""

import argparse
import json
import multiprocessing
import resource
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import timm
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.attention import SDPBackend, sdpa_kernel

from lookright import ALIGN, CAMAL, DRE, ERM, SAGE, SGT, Classifier, InputError, Method, methods
from lookright.methods.group_dro import count_groups
from lookright.perturb import Blur, Noise, ZeroFill
from lookright.run_directory.environment import processor
from lookright.run_directory.settings_file import class_names

CLASSES = 8
GROUPS = 4
PLAIN = "plain PyTorch"
RESULTS = Path(__file__).parent / "results"
Batch = dict[str, Tensor]
Loss = Callable[[Batch], Tensor]
Built = tuple[Loss, torch.optim.Optimizer]
Contender = Callable[[nn.Module], Built]
INDEX = Path(__file__).parents[1] / "docs" / "methods" / "index.md"
README = Path(__file__).parents[1] / "README.md"
TOLD = {"mask": "masks", "group": "groups", "domain": "domains"}
"""Of what a method needs, what its user must have; in the words of the index."""


def optimizer_of(model: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.AdamW(model.parameters())


def plain(model: nn.Module) -> Built:
    return lambda batch: functional.cross_entropy(model(batch["image"]), batch["label"]), optimizer_of(model)


def guided(method: Method) -> Contender:
    def build(model: nn.Module) -> Built:
        classifier, optimizer = Classifier(model), optimizer_of(model)
        count_groups(method, [1] * GROUPS)
        method.attach(classifier, optimizer)
        return lambda batch: method(classifier, batch).total, optimizer

    return build


def every_method() -> dict[str, Method]:
    """With its defaults, after 32 steps or its warm-up: in the first steps some methods measure more than later."""
    kinds = [getattr(methods, name) for name in class_names(Method) if hasattr(methods, name)]
    built = {kind.__name__: kind() for kind in kinds}
    for method in built.values():
        method.step = max(32, getattr(method, "warmup_steps", 0))
    return built


def checkpointed(contender: Contender) -> Contender:
    """With the activations of blocks recomputed in the backward pass."""

    def build(model: nn.Module) -> Built:
        model.set_grad_checkpointing()
        return contender(model)

    return build


def attention_loss(map: Tensor, mask: Tensor) -> Tensor:
    """What CAMAL minimises, written out."""
    map = map.clamp_min(0)
    low, high = map.amin((1, 2), keepdim=True), map.amax((1, 2), keepdim=True)
    map = (map - low) / (high - low + 1e-8)
    mask = functional.interpolate(mask[:, None], (map.shape[1], map.shape[2]), mode="area")[:, 0]
    inside = (map * mask).sum((1, 2)) / mask.sum((1, 2))
    return ((map * (1 - mask)).sum((1, 2)) / (1 - mask).sum((1, 2)) - inside).mean()


def layer_of(model: nn.Module) -> nn.Module:
    """The layer that Grad-CAM is usually taken from."""
    blocks = getattr(model, "blocks", None)
    return model.get_submodule("layer4") if blocks is None else blocks[-1].norm1


def as_grid(tokens: Tensor, prefix: int = 1) -> Tensor:
    patches = tokens[:, prefix:]
    return patches.transpose(1, 2).unflatten(2, (round(patches.shape[1] ** 0.5), -1))


def captum_grad_cam(model: nn.Module) -> Built:
    from captum.attr import LayerGradCam

    layer = LayerGradCam(model, layer_of(model))
    is_transformer = hasattr(model, "blocks")

    def loss(batch: Batch) -> Tensor:
        with sdpa_kernel(SDPBackend.MATH):  # fused attention has no second derivative
            map = layer.attribute(
                batch["image"],
                target=batch["label"],
                attr_dim_summation=not is_transformer,  # tokens come with their channels last
                grad_kwargs={"create_graph": True},
            )
        map = as_grid(map).sum(1) if is_transformer else map[:, 0]
        task = functional.cross_entropy(model(batch["image"]), batch["label"])
        return task + attention_loss(map, batch["mask"])

    return loss, optimizer_of(model)


def second_forward(model: nn.Module) -> Built:
    """The task from one forward, the map from another, its gradient down to the image."""
    layer = layer_of(model)
    is_transformer = hasattr(model, "blocks")

    def loss(batch: Batch) -> Tensor:
        task = functional.cross_entropy(model(batch["image"]), batch["label"])
        kept: list[Tensor] = []
        handle = layer.register_forward_hook(lambda module, args, output: kept.append(output))
        try:
            image = batch["image"].clone().requires_grad_()
            with sdpa_kernel(SDPBackend.MATH):
                score = model(image).gather(1, batch["label"][:, None]).sum()
                _, gradient = torch.autograd.grad(score, (image, kept[0]), create_graph=True)
        finally:
            handle.remove()
        features = as_grid(kept[0]) if is_transformer else kept[0]
        gradient = as_grid(gradient) if is_transformer else gradient
        map = (gradient.mean((2, 3), keepdim=True) * features).sum(1)
        return task + attention_loss(map, batch["mask"])

    return loss, optimizer_of(model)


def align(turn: str, **arguments) -> Contender:
    """After the warm-ups, and always in the same turn: the steps are not counted."""
    method = ALIGN(warmup=0, masker_warmup=0, masker_steps=1, classifier_steps=1, **arguments)
    method.step = ("masker", "classifier").index(turn)
    method.stepped = lambda *_: None
    return guided(method)


ALIGNS = {
    "ALIGN": {},
    "ALIGN, small U-Net": {"masker": "unet"},
    "ALIGN, zero fill": {"fill": ZeroFill()},
    "ALIGN, regularisation 0": {"regularisation": 0.0},
}
CONTENDERS: dict[str, dict[str, Contender]] = {
    "methods": {PLAIN: plain, **{name: guided(method) for name, method in every_method().items()}},
    "guidance": {
        PLAIN: plain,
        "ERM": guided(ERM()),
        "CAMAL": guided(CAMAL()),
        "plain PyTorch, checkpointed": checkpointed(plain),
        "CAMAL, checkpointed": checkpointed(guided(CAMAL())),
        "captum's Grad-CAM": captum_grad_cam,
        "second forward": second_forward,
    },
    "sage": {
        PLAIN: plain,
        "SAGE": guided(SAGE()),
        "SAGE, blur": guided(SAGE(perturbation=Blur())),
        "SAGE, noise": guided(SAGE(perturbation=Noise())),
        "SAGE, batchnorm original": guided(SAGE(batchnorm="original")),
        "SAGE, share 0.5": guided(SAGE(share=0.5)),
        "SAGE, share 0.25": guided(SAGE(share=0.25)),
        "CAMAL + SAGE": guided(CAMAL() + SAGE()),
    },
    "align": {
        PLAIN: plain,
        "DRE": guided(DRE()),
        "SGT": guided(SGT()),
        **{
            f"{name}: {turn}": align(turn, **arguments)
            for name, arguments in ALIGNS.items()
            for turn in ("masker", "classifier")
        },
    },
}


def prepare(contender: Contender, arguments: argparse.Namespace, device: str) -> Callable[[], float]:
    """A function that does one step of training and gives its seconds."""
    torch.manual_seed(0)
    shape = (arguments.batch_size, arguments.size, arguments.size)
    batch = {
        "image": torch.randn(shape[0], 3, *shape[1:], device=device),
        "label": torch.randint(CLASSES, shape[:1], device=device),
        "mask": (torch.rand(shape, device=device) > 0.7).float(),
        "domain": torch.randint(GROUPS, shape[:1], device=device),
        "group": torch.randint(GROUPS, shape[:1], device=device),
    }
    model = timm.create_model(arguments.model, num_classes=CLASSES).to(device)
    loss, optimizer = contender(model)

    def step() -> float:
        start = _now(device)
        optimizer.zero_grad()
        loss(batch).backward()
        optimizer.step()
        return _now(device) - start

    return step


def _now(device: str) -> float:
    if device == "cpu":
        return time.process_time()
    torch.cuda.synchronize()
    return time.perf_counter()


def peak_memory(group: str, name: str, arguments: argparse.Namespace, device: str) -> float:
    """MiB that three steps reach above what was held before."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(_peak_memory, (group, name, arguments, device))


def _peak_memory(group: str, name: str, arguments: argparse.Namespace, device: str) -> float:
    if device == "cpu":
        torch.set_num_threads(1)
    step = prepare(CONTENDERS[group][name], arguments, device)
    if device == "cpu":
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    else:
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated() / 2**20
    for _ in range(3):
        step()
    if device == "cpu":
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024 - before
    return torch.cuda.max_memory_allocated() / 2**20 - before


def measure(arguments: argparse.Namespace) -> None:
    device = "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cpu":
        torch.set_num_threads(1)
    contenders = CONTENDERS[arguments.group]
    if arguments.only:
        contenders = {name: contenders[name] for name in (PLAIN, *arguments.only)}
    # A process for each method takes longer than all their steps.
    looked_at = () if arguments.group == "methods" else contenders
    memory = {name: peak_memory(arguments.group, name, arguments, device) for name in looked_at}
    steps = {name: prepare(contender, arguments, device) for name, contender in contenders.items()}
    for name, step in list(steps.items()):
        try:
            step()
        except InputError as error:  # of `methods`: one that does not serve this model
            print(f"{name} is left out: {error}")
            del steps[name]
    rounds = [{name: step() for name, step in steps.items()} for _ in range(arguments.rounds)]
    if arguments.group == "methods":
        average_turns(rounds)
    if arguments.group == "align":
        for name in ALIGNS:
            for seconds in rounds:
                seconds[name] = (seconds[f"{name}: masker"] + seconds[f"{name}: classifier"]) / 2
            memory[name] = max(memory[f"{name}: masker"], memory[f"{name}: classifier"])

    ratios = {name: [seconds[name] / seconds[PLAIN] for seconds in rounds] for name in rounds[0]}
    result = {
        "group": arguments.group,
        "model": arguments.model,
        "batch_size": arguments.batch_size,
        "size": arguments.size,
        "rounds": arguments.rounds,
        "device": torch.cuda.get_device_name() if device == "cuda" else f"one thread of {processor()}",
        "torch": torch.__version__,
        "seconds_of_a_plain_step": round(statistics.median(seconds[PLAIN] for seconds in rounds), 4),
        "peak_mebibytes_of_a_plain_step": round(memory[PLAIN], 1) if memory else None,
        "time": {name: round(statistics.median(values), 3) for name, values in ratios.items()},
        "quartiles": {
            name: [round(q, 3) for q in statistics.quantiles(values)[::2]] for name, values in ratios.items()
        },
        "memory": {name: round(value / memory[PLAIN], 3) for name, value in memory.items()},
    }
    RESULTS.mkdir(exist_ok=True)
    out = RESULTS / f"step_cost_{arguments.group}_{arguments.model}_{device}.json"
    temporary = out.with_suffix(".tmp")
    temporary.write_text(json.dumps(result, indent=2) + "\n")
    temporary.replace(out)
    print("\n".join(table(result)))


def average_turns(rounds: list[dict[str, float]]) -> None:
    """Where the sides of a method take turns, a step is the mean of two that follow each other."""
    for name, method in every_method().items():
        if "unused_parameters" in method.needs and name in rounds[0]:
            seconds = [one[name] for one in rounds]
            for index, one in enumerate(rounds[:-1]):
                one[name] = (seconds[index] + seconds[index + 1]) / 2
            rounds[-1][name] = rounds[-2][name] if len(rounds) > 1 else seconds[-1]


def table(result: dict) -> list[str]:
    """Markdown."""
    lines = [
        f"`{result['model']}`, {result['batch_size']} images of {result['size']} × {result['size']}, "
        f"{result['device']}, {result['rounds']} rounds; a plain step takes {result['seconds_of_a_plain_step']:.3g} s"
        + (f" and {result['peak_mebibytes_of_a_plain_step']:.0f} MiB." if result["memory"] else "."),
        "",
        "| | time | quartiles | peak memory |" if result["memory"] else "| | time | quartiles |",
        "|---|---|---|---|" if result["memory"] else "|---|---|---|",
    ]
    for name, ratio in result["time"].items():
        low, high = result["quartiles"][name]
        memory = f" {result['memory'][name]:.2f} |" if result["memory"] else ""
        lines.append(f"| {name} | {ratio:.2f} | {low:.2f} to {high:.2f} |{memory}")
    return lines


def fill_in(index: str) -> str:
    """The index of methods with what they need and cost, two columns of its table."""
    time: dict[str, float] = {}
    for path in sorted(RESULTS.glob("step_cost_methods_*.json"), reverse=True):  # a ViT tells what a ResNet left out
        time |= json.loads(path.read_text())["time"]
    known, lines = every_method(), []
    for line in index.splitlines():
        cells = line.split("|")
        if len(cells) > 6 and (name := cells[1].strip().lstrip("[").split("]")[0]) in known:
            needs = [word for need, word in TOLD.items() if need in known[name].needs]
            cells[4] = f" {', '.join(needs) or 'nothing'} "
            cells[6] = f" {time[name]:.1f} " if name in time else " "
            line = "|".join(cells)
        lines.append(line)
    return "\n".join(lines) + "\n"


def write_page(out: Path) -> None:
    lines = [
        "# What a training step costs",
        "",
        "In multiples of a plain PyTorch step of the same model, measured and written by `benchmarks/step_cost.py`.",
    ]
    for path in sorted(RESULTS.glob("step_cost_*.json")):
        lines += ["", *table(json.loads(path.read_text()))]
    out.write_text("\n".join(lines) + "\n")
    for page in (INDEX, README):
        page.write_text(fill_in(page.read_text()))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("group", choices=[*CONTENDERS, "table"])
    parser.add_argument("--model", default="resnet18")
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--size", type=int, default=96, help="side of the images, in pixels")
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument(
        "--only", nargs="+", metavar="NAME", help="of the group's contenders, these beside plain PyTorch"
    )
    arguments = parser.parse_args()
    if arguments.group == "table":
        write_page(Path(__file__).parents[1] / "docs" / "cost.md")
    else:
        measure(arguments)


if __name__ == "__main__":
    main()
