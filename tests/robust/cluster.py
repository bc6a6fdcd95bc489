"""A study on a cluster of two Ray nodes on this machine, whose workers are killed, and of which a node is taken away.

    python tests/robust/cluster.py --record

Every run's result has to be there once, and weights, results and logs have to be those of a study in one process.
"""

import argparse
import os
import signal
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from threading import Event, Thread
from typing import Any

import pandas as pd
import yaml
from kill import CLASSIFIER, differences, kept
from ray.cluster_utils import Cluster
from reliability import as_table, record
from test_inputs import write_place

from lookright.study.study import run_study

STUDY = {"methods": ["ERM", "CAMAL"], "seeds": [0, 1, 2], "protocols": {"GivenSplits": {"data": "data"}}}
NODE: dict[str, Any] = {"num_cpus": 1, "include_dashboard": False}


def workers() -> list[int]:
    """Processes in which Ray does a run now."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if path.read_bytes().startswith(b"ray::_do"):
                found.append(int(path.parent.name))
        except OSError:  # it has ended
            continue
    return found


def kill_workers(most: int, seconds: float, over: Event, count: Callable[[], object]) -> None:
    """Kill the worker that has been seen for longest, now and then."""
    since: dict[int, float] = {}
    for _ in range(most):
        while not over.wait(0.1):
            since = {pid: since.get(pid, time.monotonic()) for pid in workers()}
            ripe = [pid for pid, seen in since.items() if time.monotonic() - seen > seconds]
            if ripe:
                os.kill(ripe[0], signal.SIGKILL)
                count()
                break


def disturbed(out: Path, kills: int, removes: int, seconds: float) -> tuple[int, int]:
    """How many workers were killed and nodes taken away while the study ran."""
    killed: list[int] = []
    cluster = Cluster(initialize_head=True, head_node_args=NODE)
    second = cluster.add_node(num_cpus=1)
    os.environ["RAY_ADDRESS"] = cluster.address
    over, taken = Event(), 0
    killer = Thread(target=kill_workers, args=(kills, seconds, over, lambda: killed.append(1)))
    killer.start()
    study = Thread(target=run_study, args=(Path("six.yaml"), out), kwargs={"executor": "ray", "jobs": 2})
    study.start()
    while study.is_alive():
        if taken < removes and len(list(out.rglob("result.json"))) >= 2:
            cluster.remove_node(second, allow_graceful=False)
            taken += 1
            cluster.add_node(num_cpus=1)
        study.join(0.2)
    over.set()
    killer.join()
    cluster.shutdown()
    return len(killed), taken


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=4)
    parser.add_argument("--seconds", type=float, default=20, help="that a worker has before it is killed")
    parser.add_argument("--record", action="store_true", help="write the table into docs/reliability.md")
    chosen = parser.parse_args()
    warnings.simplefilter("ignore")
    columns = ("runs", "workers killed", "nodes taken away", "missing", "twice", "different")
    rows: list[list[object]] = [["Study", *columns]]
    with tempfile.TemporaryDirectory() as folder:
        os.environ["XDG_CACHE_HOME"] = str(Path(folder, "cache"))
        write_place(Path(folder, "place"))
        os.chdir(Path(folder, "place/work"))
        Path("six.yaml").write_text(yaml.safe_dump(STUDY | {"settings": CLASSIFIER}))
        run_study(Path("six.yaml"), Path("whole"))
        expected = kept(Path("whole"))
        runs = pd.read_csv("whole/results.csv")[["method", "seed", "split"]]
        for name, kills, removes in (("workers killed", chosen.kills, 0), ("a node taken away", 0, 1)):
            out = Path(name)
            killed, taken = disturbed(out, kills, removes, chosen.seconds)
            table = pd.read_csv(out / "results.csv")[["method", "seed", "split"]]
            missing = len(runs.merge(table, how="left", indicator=True).query("_merge == 'left_only'"))
            found = [name for name in differences(expected, kept(out)) if name != "results.csv"]
            rows.append([name, len(STUDY["methods"]) * len(STUDY["seeds"]), killed, taken, missing])
            rows[-1] += [int(table.duplicated().sum()), len(found)]
            print(rows[-1], found[:4], flush=True)
    print(as_table(rows))
    if chosen.record:
        record("Ray", as_table(rows))


if __name__ == "__main__":
    main()
