"""SIGKILL at the file operations of short runs, which are then taken up again: nothing is lost, nothing differs.

    python tests/robust/kill.py --kills 20 --record

A run is killed, with all its processes, before an operation: opening a file to write, renaming, making or removing a
file or folder, wherever in the run's directory. Whoever repeats the command must get the weights, result and log of a
run that nobody killed. Each run is a process of its own, forked from this one, which has imported everything.
"""

import argparse
import json
import mmap
import multiprocessing
import os
import signal
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import safetensors
import torch
import yaml
from reliability import as_table, record
from test_inputs import SMALL, write_place

from lookright.rl import environments
from lookright.rl.agent_settings import parse_settings as parse_agent
from lookright.rl.agent_study import finish_run as finish_agent
from lookright.rl.evaluate import evaluate
from lookright.study import executors
from lookright.study.study import finish_run, run_study
from lookright.training.settings import parse_settings

METHODS: dict[str, Any] = {
    "ERM": "ERM",
    "CAMAL": "CAMAL",
    "SAGE": "SAGE",
    "ALIGN": {"class_path": "ALIGN", "init_args": {"warmup": 1, "masker_warmup": 1, "classifier_steps": 2}},
}
CLASSIFIER = SMALL | {"epochs": 3, "checkpoint_every": 2, "faithfulness": "none"}
AGENT = {"scenario": "basic", "method": "CAMAL", "total_timesteps": 16, "num_envs": 1, "num_steps": 8, "episodes": 1}
AGENT |= {"num_minibatches": 2, "update_epochs": 1, "checkpoint_every": 1, "checkpoint_episodes": 0, "device": "cpu"}
WRITES = ("os.rename", "os.mkdir", "os.rmdir", "os.remove", "os.link", "tempfile.mkdtemp", "shutil.rmtree")
Work = Callable[[Path], object]


def classifier(method: Any) -> Work:
    return lambda out: finish_run(parse_settings({"data": "data", "out": str(out), "method": method, **CLASSIFIER}))


def agent(out: Path) -> None:
    if (out / "result.json").is_file():
        evaluate(out)
    else:
        finish_agent(parse_agent({"out": str(out), **AGENT}))


def study(out: Path) -> None:
    run_study(Path("two.yaml"), out, jobs=2)


def works() -> dict[str, Work]:
    """By what the table calls them."""
    return {name: classifier(method) for name, method in METHODS.items()} | {
        "agent (CAMAL)": agent,
        "study, 2 jobs": study,
    }


def operations(out: Path, at: int | None) -> Callable[[], int]:
    """Counts the operations in a folder from now on, and ends this group of processes before one of them."""
    count, inside = mmap.mmap(-1, 8), str(out)  # shared with the processes that this one forks

    def counted() -> int:
        return int.from_bytes(count[:], "little")

    def hook(event: str, arguments: tuple) -> None:
        if event == "open":
            path, mode, flags = arguments
            writes = bool(set(mode or "") & set("wax+")) or bool(flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT))
        elif event in WRITES:
            path, writes = arguments[0], True
        else:
            return
        if writes and isinstance(path, str | os.PathLike) and os.path.abspath(os.fspath(path)).startswith(inside):
            number = counted() + 1
            count[:] = number.to_bytes(8, "little")
            if number == at:
                os.killpg(0, signal.SIGKILL)

    sys.addaudithook(hook)
    return counted


def in_a_process(work: Work, out: Path, at: int | None = None) -> tuple[bool, int]:
    """Whether the work came to its end, and how many operations it took."""
    reading, writing = os.pipe()
    process = os.fork()
    if process == 0:
        os.setpgid(0, 0)
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, 1)
        if at is not None:
            os.dup2(null, 2)
        code = 1
        try:
            counted = operations(out.resolve(), at)
            work(out)
            os.write(writing, str(counted()).encode())
            code = 0
        finally:
            os._exit(code)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        said = pipe.read()
    return os.waitpid(process, 0)[1] == 0, int(said or 0)


def kept(out: Path) -> dict[str, Any]:
    """Weights, results and logs of every run below a folder, without times."""
    found: dict[str, Any] = {}
    for path in sorted(out.rglob("*")):
        name = str(path.relative_to(out))
        if path.name == "model.safetensors":
            with safetensors.safe_open(path, "pt") as file:
                found |= {f"{name} {key}": file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
                found[f"{name} facts"] = without_times(json.loads(file.metadata()["facts"]))
        elif path.name == "result.json":
            found[name] = without_times(json.loads(path.read_text()))
        elif path.name == "metrics.csv":
            found[name] = path.read_text()
        elif path.name == "results.csv":
            table = pd.read_csv(path)
            found[name] = table[[column for column in table if "second" not in column]].to_csv()
    return found


def without_times(values: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in values.items() if "second" not in key}


def differences(before: dict[str, Any], after: dict[str, Any]) -> Iterator[str]:
    for name in before.keys() | after.keys():
        one, other = before.get(name), after.get(name)
        equal = torch.equal(one, other) if torch.is_tensor(one) and torch.is_tensor(other) else one == other
        if not equal:
            yield name


def drafts(out: Path) -> list[str]:
    return [str(path) for path in out.rglob(".*-????????") if path.is_dir()]


def kill_runs(name: str, work: Work, kills: int, until: float) -> dict[str, int]:
    """Kill as often as said, spread over the operations of a run; print what differs."""
    whole = Path(f"whole {name}")
    done, number = in_a_process(work, whole)
    if not done:
        raise SystemExit(f"{name} does not run")
    expected, counts = kept(whole), dict.fromkeys(("operations", "kills", "lost", "different", "leftovers"), 0)
    counts["operations"] = number
    places = sorted({1 + round(place * (number - 1) / max(kills - 1, 1)) for place in range(kills)})
    for place in places:
        if time.monotonic() > until:
            break
        out = Path(f"{name} {place}")
        if in_a_process(work, out, place)[0]:
            continue  # the operations of several processes come in any order
        counts["kills"] += 1
        if not in_a_process(work, out)[0]:
            counts["lost"] += 1
            print(f"{name}, killed before operation {place}: cannot be taken up", file=sys.stderr)
            continue
        found = list(differences(expected, kept(out)))
        counts["different"] += bool(found)
        counts["leftovers"] += bool(drafts(out))
        if found or drafts(out):
            print(f"{name}, killed before operation {place}: {found[:4]} {drafts(out)}", file=sys.stderr)
    return counts


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=20, help="of each run; of more than there are operations, all")
    parser.add_argument("--seconds", type=float, default=3600)
    parser.add_argument("--only", default="")
    parser.add_argument("--record", action="store_true", help="write the table into docs/reliability.md")
    chosen = parser.parse_args()
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    asked = {name: work for name, work in works().items() if chosen.only in name}
    forked = multiprocessing.get_context("fork")  # what was imported need not be imported again
    vars(executors)["multiprocessing"] = SimpleNamespace(
        get_context=lambda _: forked, parent_process=multiprocessing.parent_process
    )
    vars(environments)["start_method"] = lambda _: "fork"
    columns = ("operations", "kills", "lost", "different", "leftovers")
    rows: list[list[object]] = [["Run", *columns]]
    total = dict.fromkeys(columns, 0)
    with tempfile.TemporaryDirectory() as folder:
        os.environ["XDG_CACHE_HOME"] = str(Path(folder, "cache"))
        in_a_process(lambda _: write_place(Path(folder, "place")), Path(folder))
        os.chdir(Path(folder, "place/work"))
        config = {"methods": ["ERM", "CAMAL"], "seeds": [0], "protocols": {"GivenSplits": {"data": "data"}}}
        Path("two.yaml").write_text(yaml.safe_dump(config | {"settings": CLASSIFIER}))
        until = time.monotonic() + chosen.seconds
        for name, work in asked.items():
            counts = kill_runs(name, work, chosen.kills, until)
            total = {key: total[key] + counts[key] for key in columns}
            rows.append([name, *counts.values()])
            print(rows[-1], flush=True)
    rows.append(["all", *total.values()])
    print(as_table(rows))
    if chosen.record:
        record("Kills", as_table(rows))


if __name__ == "__main__":
    main()
