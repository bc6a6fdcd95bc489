"""Bad inputs of every kind, drawn by a seed and typed at the command line: each is done, or refused in a sentence.

A hundred of them are tests. As a program, this draws as many as wanted and writes the table of docs/reliability.md:

    python tests/robust/test_inputs.py --inputs 1200 --seed 1 --record
"""

import argparse
import contextlib
import csv
import hashlib
import io
import json
import os
import pickle
import random
import resource
import select
import shutil
import signal
import sys
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from lookright.cli import main
from lookright.training.results import evaluate_run
from lookright.training.run import train

SECONDS = 60
"""After which an input counts as a hang."""

MEMORY = 8 * 2**30
"""Bytes that an input of the program may take."""

SMALL = {
    "model": "small_cnn",
    "model_arguments": {"width": 4},
    "size": 16,
    "epochs": 1,
    "batch_size": 4,
    "workers": 0,
    "accelerator": "cpu",
    "curve_points": 2,
    "gallery": 2,
    "loggers": [],
}
NUMBERS = ("-1", "0", "nan", "inf", "-inf", "1e400", "2.5", "ten", "9" * 40, "")
OTHERS = ("null", "true", "[]", "{}", "[1, 2]", "{a: {b: c}}", "[[[[1]]]]", "é", "../up", "a" * 300, "!!int x", "- -")
VALUES = (None, True, -1, 10**40, 2.5, float("nan"), "", "text", "../../up", [], [[]], {}, {"a": 1}, [None, 1])


@dataclass(frozen=True)
class Input:
    """What is prepared in the place, and what is typed there."""

    kind: str
    what: str
    prepare: Callable[[Path], object]
    arguments: list[str]


def options(settings: dict[str, object]) -> list[str]:
    """Settings as they are typed."""
    return [part for name, value in settings.items() for part in (f"--{name}", json.dumps(value).strip('"'))]


TRAIN = ["train", "--data", "data", "--out", "new", *options(SMALL)]
PNG = "data/images/0.png"


def write_place(place: Path) -> None:
    """Data, a finished run of ALIGN, an interrupted one, a study's file, an annotation, and a file that is nobody's."""
    draw = np.random.default_rng(0)
    for folder in ("images", "masks"):
        (place / "work/data" / folder).mkdir(parents=True)
    rows = []
    for number in range(16):
        pixels, mask = draw.integers(0, 255, (16, 16, 3), np.uint8), np.zeros((16, 16), np.uint8)
        mask[4:10, 4:10] = 255
        Image.fromarray(pixels).save(place / f"work/data/images/{number}.png")
        Image.fromarray(mask).save(place / f"work/data/masks/{number}.png")
        split = "train" if number < 8 else "val" if number < 12 else "test"
        rows.append([f"images/{number}.png", "ab"[number % 2], f"masks/{number}.png", split, "cd"[number // 2 % 2]])
    with (place / "work/data/labels.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["image", "label", "mask", "split", "domain"], *rows])
    method = {"class_path": "ALIGN", "init_args": {"warmup": 0, "masker_warmup": 0}}
    with contextlib.chdir(place / "work"):
        evaluate_run(train({"data": "data", "out": "run", "method": method, **SMALL, "epochs": 2}))
        shutil.copytree("run", "begun", ignore=shutil.ignore_patterns("model.safetensors", "result.json", "evaluation"))
    config = {"methods": ["ERM"], "seeds": [0], "protocols": {"GivenSplits": {"data": "data"}}, "settings": SMALL}
    (place / "work/study.yaml").write_text(yaml.safe_dump(config))
    (place / "work/config.yaml").write_text(yaml.safe_dump({"data": "data", "out": "new", **SMALL}))
    agents = {"scenarios": ["basic"], "methods": {"ERM": {"num_envs": 0}}, "seeds": [0]}
    agents |= {"settings": {"total_timesteps": 0}}  # no agent is ever trained, whatever else is changed
    (place / "work/agents.yaml").write_text(yaml.safe_dump(agents))
    segment = {"id": 1, "image_id": 1, "category_id": 1, "segmentation": [[2, 2, 9, 2, 9, 9]], "iscrowd": 0}
    coco = {"images": [{"id": 1, "file_name": "data/images/0.png", "width": 16, "height": 16}]}
    coco |= {"annotations": [segment], "categories": [{"id": 1, "name": "a"}]}
    (place / "work/coco.json").write_text(json.dumps(coco))
    (place / "outside").mkdir()
    (place / "outside/labels.csv").write_text("nobody's\n")


# What can be wrong with a file.


def damaged(path: str, draw: random.Random) -> tuple[str, Callable[[Path], object]]:
    """A file truncated, with other bytes, of another kind, or not there."""
    kind = draw.choice(["truncated", "bytes", "empty", "text", "other", "folder", "pipe", "gone", "loop", "twice"])
    share, seed = draw.random(), draw.random()
    other = draw.choice([PNG, "run/config.yaml", "run/result.json", "run/model.safetensors", "run/last.ckpt"])

    def damage(place: Path) -> None:
        target, content = place / path, (place / path).read_bytes()
        target.unlink()
        if kind == "truncated":
            target.write_bytes(content[: int(share * len(content))])
        elif kind == "bytes":
            chosen, changed = random.Random(seed), bytearray(content)
            for _ in range(8):
                changed[chosen.randrange(len(changed))] = chosen.randrange(256)
            target.write_bytes(changed)
        elif kind == "empty":
            target.touch()
        elif kind == "text":
            target.write_text("{nothing: [of, the, kind\n")
        elif kind == "other":
            target.write_bytes(content if place / other == target else (place / other).read_bytes())
        elif kind == "folder":
            target.mkdir()
        elif kind == "pipe":
            os.mkfifo(target)
        elif kind == "loop":
            target.symlink_to(target.name)
        elif kind == "twice":
            target.write_bytes(content * 2)

    return f"{path} {kind}", damage


def retyped(path: str, draw: random.Random) -> tuple[str, Callable[[Path], object]]:
    """A YAML or JSON file of which one value, at any depth, is another."""
    seed, value = draw.random(), draw.choice(VALUES)

    def change(place: Path) -> None:
        file = place / path
        content = yaml.safe_load(file.read_text())
        places = list(positions(content))
        holder, key = random.Random(seed).choice(places)
        holder[key] = value
        as_json = path.endswith(".json")
        file.write_text(json.dumps(content) if as_json else yaml.safe_dump(content))

    return f"{path} with {value!r} somewhere", change


def positions(content: object) -> Iterator[tuple]:
    """Every place of a value."""
    for key, value in content.items() if isinstance(content, dict) else enumerate(content):
        yield content, key
        if isinstance(value, dict | list):
            yield from positions(value)


# Kinds of input.


def settings(draw: random.Random) -> Input:
    numbers = (
        "size",
        "epochs",
        "batch_size",
        "accumulate",
        "lr",
        "weight_decay",
        "momentum",
        "clip",
        "patience",
        "seed",
    )
    numbers += ("cache", "workers", "devices", "gallery", "curve_points", "faithfulness_images", "mask_share")
    numbers += (
        "lr_warmup",
        "checkpoint_every",
        "augmentation.crop",
        "augmentation.colour_jitter",
        "augmentation.greyscale",
    )
    words = ("model", "model_arguments", "weights", "method", "protocol", "map", "measures", "optimizer", "select")
    words += ("precision", "accelerator", "faithfulness", "mask_control", "loggers", "flip", "name", "data", "config")
    arguments = [*TRAIN, "--evaluate", "false"]
    for _ in range(draw.choice([1, 1, 2])):
        if draw.random() < 0.6:
            arguments += [f"--{draw.choice(numbers)}", draw.choice(NUMBERS)]
        elif draw.random() < 0.3:
            arguments += ["--method", draw.choice(["CAMAL", "SAGE", "ALIGN", "DRE", "RRR", "ADL", "GRADIA"])]
            arguments += [f"--method.{draw.choice(['weight', 'map', 'warmup', 'alpha', 'seed'])}", draw.choice(NUMBERS)]
        else:
            arguments += [f"--{draw.choice(words)}", draw.choice(OTHERS + NUMBERS)]
    return Input("settings", " ".join(arguments[len(TRAIN) :]), lambda place: None, arguments)


def tables(draw: random.Random) -> Input:
    command = draw.choice(
        [TRAIN, ["data", "check", "data"], ["predict", "run", "data"], ["evaluate", "run"], ["data", "sheet", "data"]]
    )
    if draw.random() < 0.3:
        what, prepare = damaged("data/labels.csv", draw)
        return Input("labels.csv", what, prepare, command)
    row, column = draw.randrange(17), draw.randrange(6)
    cells = (
        "../../outside/labels.csv",
        "/etc/hostname",
        "images",
        "",
        "a" * 300,
        "1 2 3",
        "nan",
        "-1",
        "a;b",
        "\0",
        "é",
    )
    cells += ('"', "test/../../x", "images/0.png", "masks/1.png;masks/2.png", "train", "TRAIN", "0 0 5 5", "..", "a\tb")
    cell, header = (
        draw.choice(cells),
        draw.choice(["mask_weight", "box", "mask_value", "mask_polarity", "split", "image"]),
    )

    def prepare(place: Path) -> None:
        lines = [[*line, ""] for line in csv.reader((place / "data/labels.csv").open())]
        lines[0][5] = header
        lines[row][column] = cell
        with (place / "data/labels.csv").open("w", newline="") as file:
            csv.writer(file).writerows(lines)

    return Input("labels.csv", f"{cell!r} in row {row}, column {column}, and {header}", prepare, command)


def images(draw: random.Random) -> Input:
    path = draw.choice([PNG, "data/masks/0.png", "data/images/13.png", "data/masks/13.png"])
    commands = [
        TRAIN,
        ["data", "check", "data"],
        ["predict", "run", "data"],
        ["evaluate", "run"],
        ["explain", "run", path],
    ]
    what, prepare = damaged(path, draw)
    more = [[], ["--skip_unreadable", "true"]]
    command = draw.choice(commands)
    return Input("images and masks", what, prepare, command + (draw.choice(more) if command is TRAIN else []))


def yaml_files(draw: random.Random) -> Input:
    path, command = draw.choice(
        [
            ("study.yaml", ["study", "study.yaml", "--out", "studied"]),
            ("config.yaml", ["train", "--config", "config.yaml", "--evaluate", "false"]),
            ("agents.yaml", ["rl", "study", "agents.yaml", "--out", "agents"]),
        ]
    )
    what, prepare = draw.choice([retyped, retyped, retyped, damaged])(path, draw)
    return Input("YAML of studies and runs", what, prepare, command)


def files_of_a_run(draw: random.Random) -> Input:
    finished = ["config.yaml", "result.json", "model.safetensors", "last.ckpt", "environment.json"]
    finished += ["evaluation/test.csv", "evaluation/test.npz"]
    commands = [
        ["evaluate", "run"],
        ["report", "run"],
        ["explain", "run", PNG],
        ["predict", "run", "data"],
        ["masks", "run"],
        ["export", "run", "--format", "safetensors"],
        ["rl", "evaluate", "run"],
    ]
    if draw.random() < 0.4:
        path = f"begun/{draw.choice(['config.yaml', 'last.ckpt', 'metrics.csv', 'environment.json'])}"
        command = ["train", "--resume", "begun"]
    else:
        path, command = f"run/{draw.choice(finished)}", draw.choice(commands)
    change = retyped if path.endswith((".yaml", ".json")) and draw.random() < 0.6 else damaged
    what, prepare = change(path, draw)
    return Input("files of a run", what, prepare, command)


def output_places(draw: random.Random) -> Input:
    places = [
        "file",
        "pipe",
        "/dev/null",
        "/dev/full",
        "file/below",
        "a" * 300,
        "run",
        "data",
        "loop",
        "/proc/none/a",
        "",
    ]
    place = draw.choice([*places, "../outside/labels.csv", "../outside", "a/" * 3000 + "b", "run/result.json"])
    commands = [
        [*TRAIN, "--out"],
        ["evaluate", "run", "--out"],
        ["report", "run", "--out"],
        ["explain", "run", PNG, "--out"],
        ["predict", "run", "data", "--out"],
        ["export", "run", "--format", "safetensors", "--out"],
        ["masks", "run", "--out"],
        ["data", "sheet", "data", "--out"],
        ["data", "check", "data", "--html"],
        ["data", "check", "data", "--weights"],
        ["data", "convert", "coco.json"],
        ["study", "study.yaml", "--out"],
        ["results", "run", "--out"],
    ]
    if place in ("../outside/labels.csv", "run/result.json"):  # a file that the user names may be replaced
        commands = [command for command in commands if command[0] in ("train", "study", "masks", "export", "explain")]

    def prepare(folder: Path) -> None:
        (folder / "file").write_text("a file")
        os.mkfifo(folder / "pipe")
        (folder / "loop").symlink_to("loop")

    return Input("output places", f"{place[:40]!r}", prepare, [*draw.choice(commands), place])


def annotations(draw: random.Random) -> Input:
    what, prepare = draw.choice([retyped, retyped, damaged])("coco.json", draw)
    return Input("annotations", what, prepare, ["data", "convert", "coco.json", "made"])


def arguments(draw: random.Random) -> Input:
    commands = [
        ["evaluate", "run", "--split"],
        ["evaluate", "run", "--map"],
        ["evaluate", "run", "--data"],
        ["predict", "run", "data", "--batch_size"],
        ["study", "study.yaml", "--jobs"],
        ["study", "study.yaml", "--executor"],
        ["rl", "train", "--out", "agent", "--num_envs", "100", "--num_steps"],
        ["rl", "train", "--out", "agent", "--total_timesteps", "0", "--clip_coef"],
        ["rl", "train", "--out", "agent", "--total_timesteps", "0", "--scenario"],
        ["rl", "watch", "run", "--episode"],
        ["data", "bestiary", "drawn", "--size"],
        ["report"],
        ["results"],
        ["train", "--resume"],
    ]
    typed = [*draw.choice(commands), draw.choice(NUMBERS[:3] + NUMBERS[5:] + OTHERS)]
    return Input("arguments", " ".join(typed), lambda place: None, typed)


KINDS = (settings, tables, images, yaml_files, files_of_a_run, output_places, annotations, arguments)


def inputs(number: int, seed: int) -> list[Input]:
    """As many inputs, of all kinds in turn."""
    draw = random.Random(seed)
    return [KINDS[position % len(KINDS)](draw) for position in range(number)]


# What counts.


class Hang(BaseException):
    """An input took longer than `SECONDS`."""


def digests(place: Path) -> dict[str, str]:
    """Every plain file of a place, without locks."""
    files = [path for path in place.rglob("*") if path.name != ".lock" and path.is_file() and not path.is_symlink()]
    return {str(path.relative_to(place)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def outcome(given: Input, whole: Path, place: Path) -> tuple[str, str]:
    """What became of an input in a copy of the place: `done`, `refused`, or what is wrong; and what was said."""
    shutil.copytree(whole, place, symlinks=True)
    said = io.StringIO()

    def hang(*_: object) -> None:
        raise Hang

    given.prepare(place / "work")
    before, handler = digests(place), signal.signal(signal.SIGALRM, hang)
    signal.alarm(SECONDS)
    try:
        with (
            contextlib.chdir(place / "work"),
            contextlib.redirect_stderr(said),
            contextlib.redirect_stdout(io.StringIO()),
        ):
            code: object = main(given.arguments)
    except Hang:
        code = "hang"
    except SystemExit as error:
        code = error.code
    except BaseException as error:
        code = f"{type(error).__name__}: {error}"
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, handler)
    after, text = digests(place), said.getvalue().strip()
    lost = [name for name, digest in before.items() if after.get(name) != digest]
    new_outside = [name for name in after if name not in before and not name.startswith("work/")]
    named_outside = any(argument.startswith("../outside") for argument in given.arguments)
    if code == "hang":
        return "hang", text
    if code not in (0, 2):
        return "traceback", text or str(code)
    if (new_outside and not named_outside) or (lost and any(not name.startswith("work/") for name in lost)):
        return "outside", str(new_outside + lost)
    if code == 2 and lost:
        return "lost", f"{lost}: {text}"
    last = text.splitlines()[-1] if text else ""
    if code == 2 and not (last.startswith("lookright: ") and len(last) > 30):
        return "traceback", text
    return ("refused" if code == 2 else "done"), text


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A place that no test changes."""
    place = tmp_path_factory.mktemp("robust") / "place"
    write_place(place)
    return place


def coordinates(*values: object) -> Callable[[Path], object]:
    """A polygon of these in the annotations."""

    def change(place: Path) -> None:
        content = json.loads((place / "coco.json").read_text())
        content["annotations"][0]["segmentation"] = [[*values]]
        (place / "coco.json").write_text(json.dumps(content))

    return change


FOUND = [
    Input("annotations", "a pipe", lambda place: os.mkfifo(place / "p.json"), ["data", "convert", "p.json", "made"]),
    Input(
        "output places",
        "a pipe",
        lambda place: os.mkfifo(place / "pipe"),
        ["data", "check", "data", "--weights", "pipe"],
    ),
    Input("output places", "a pipe", lambda place: os.mkfifo(place / "0.png"), ["explain", "run", PNG, "--out", "."]),
    Input("output places", "no name", lambda place: None, ["results", "runs/study", "--out", ""]),
    Input("settings", "more images than there are", lambda place: None, [*TRAIN, "--batch_size", "9" * 40]),
    Input("settings", "more memory than there is", lambda place: None, [*TRAIN, "--curve_points", "9" * 40]),
    Input("annotations", "no number", coordinates(2, 2, "2", 2, 9, 9), ["data", "convert", "coco.json", "made"]),
    Input("annotations", "far away", coordinates(2, 2, 1_000_001, 2, 9, 9), ["data", "convert", "coco.json", "made"]),
]
"""By other seeds and by hand, one of each kind; all are refused."""

FIXED = inputs(104, seed=0)


@pytest.mark.parametrize("number", range(len(FIXED)), ids=lambda number: f"{FIXED[number].kind}-{number}")
def test_an_input_is_done_or_refused_in_a_sentence(number, whole, tmp_path):
    found, said = outcome(FIXED[number], whole, tmp_path / "place")
    assert found in ("done", "refused"), f"{FIXED[number].what}: {said}"


USUAL = (
    [*TRAIN, "--method", "SAGE"],
    ["evaluate", "run"],
    ["explain", "run", PNG],
    ["predict", "run", "data"],
    ["masks", "run"],
    ["export", "run", "--format", "safetensors"],
    ["report", "run"],
    ["data", "check", "data"],
    ["data", "sheet", "data"],
    ["data", "convert", "coco.json", "made"],
    ["study", "study.yaml"],
    ["results", "runs/study"],
    ["rl", "study", "agents.yaml"],
)


def import_all(whole: Path, place: Path) -> None:
    """Do what is usual once, so that the processes that are forked from this one have all modules."""
    for arguments in USUAL:
        outcome(Input("usual", "", lambda place: None, arguments), whole, place)
        shutil.rmtree(place)


def outcome_apart(given: Input, whole: Path, place: Path) -> tuple[str, str]:
    """As `outcome`, in a process of its own, which may hang, die or want all memory without harm to others."""
    reading, writing = os.pipe()
    process = os.fork()
    if process == 0:
        os.close(reading)
        resource.setrlimit(resource.RLIMIT_DATA, (MEMORY, MEMORY))
        try:
            found = outcome(given, whole, place)
            with os.fdopen(writing, "wb") as pipe:
                pickle.dump(found, pipe)
        finally:
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        in_time = select.select([pipe], [], [], SECONDS + 30)[0]
        if not in_time:
            os.kill(process, signal.SIGKILL)
        told = pipe.read()
    status = os.waitpid(process, 0)[1]
    if told:
        found, said = pickle.loads(told)
        hungry = found == "refused" and any(word in said for word in ("MemoryError", "allocate", "memory"))
        return ("traceback", said) if hungry else (found, said)
    return ("traceback", f"the process died, status {status}") if in_time else ("hang", "")


@pytest.mark.parametrize("given", FOUND, ids=lambda given: given.what.replace(" ", "-"))
def test_what_was_found_once_is_refused(given, whole, tmp_path):
    found, said = outcome(given, whole, tmp_path / "place")
    assert found == "refused", said


def run_program() -> None:
    from reliability import as_table, record

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--inputs", type=int, default=1200)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--verbose", action="store_true")
    parser.add_argument("--first", type=int, default=0, help="leave out the inputs before this one")
    parser.add_argument("--record", action="store_true", help="write the table into docs/reliability.md")
    chosen = parser.parse_args()
    counts: Counter[tuple[str, str]] = Counter()
    started = time.monotonic()
    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory() as folder:
        os.environ["XDG_CACHE_HOME"] = str(Path(folder, "cache"))
        write_place(Path(folder, "whole"))
        import_all(Path(folder, "whole"), Path(folder, "place"))
        for number, given in enumerate(inputs(chosen.inputs, chosen.seed)[chosen.first :], start=chosen.first):
            begun = time.monotonic()
            if begun - started > chosen.seconds:
                break
            found, said = outcome_apart(given, Path(folder, "whole"), Path(folder, "place"))
            seconds = time.monotonic() - begun
            counts[given.kind, found] += 1
            if found not in ("done", "refused") or chosen.verbose:
                line = said if chosen.verbose else "\n".join(said.splitlines()[-12:])
                told = f"{found} in {seconds:.1f} s: {number}, {given.kind}: {given.what}\n  {given.arguments}\n{line}"
                print(told, file=sys.stderr, flush=True)
            shutil.rmtree(folder + "/place")
    columns = ("done", "refused", "traceback", "hang", "outside", "lost")
    rows: list[list[object]] = [["Kind", "inputs", *columns]]
    for kind in [*sorted({kind for kind, _ in counts}), None]:
        row = [sum(n for (k, f), n in counts.items() if kind in (k, None) and f == column) for column in columns]
        rows.append([kind or "all", sum(row), *row])
    print(as_table(rows))
    if chosen.record:
        record("Bad inputs", as_table(rows))


if __name__ == "__main__":
    run_program()
