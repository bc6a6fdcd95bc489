"""Commands of studies: many runs, their report and their page."""

from pathlib import Path
from typing import Any, Literal

from lookright.cli.figures import as_json


def demo(
    out: Path = Path("runs/demo"), data: Path | None = None, seeds: int = 3, jobs: int = 2, budget: float = 8
) -> None:
    """Train plainly, with CAMAL and with Graft + CAMAL at equal compute, write the report, and say what was seen.

    Args:
        out: directory of the study.
        data: a folder with labels.csv, masks and a column split; by default the bestiary is rendered, where scenery
            gives the label away.
        seeds: runs of each method.
        jobs: runs at a time.
        budget: compute of each run, in epochs of plain training.
    """
    from lookright.report import write_report
    from lookright.study.demo import run_demo, what_was_seen

    results = run_demo(out, data, seeds, jobs, budget)
    print("", *what_was_seen(results), f"Open {write_report(out)}", sep="\n")


def study(
    config: Path,
    out: Path | None = None,
    executor: Literal["local", "ray"] = "local",
    jobs: int = 1,
    set: dict[str, Any] = {},  # noqa: B006, read alone
) -> None:
    """Do the runs of a study that are missing; `lookright study status DIRECTORY` tells how far they are.

    Args:
        config: the study's YAML file.
        out: directory of the study; by default `runs/` and the file's name.
        executor: local, or ray for a cluster.
        jobs: runs at a time.
        set: settings of every run in place of the file's `settings`, such as `--set.epochs 2 --set.lr 0.01`.
    """
    from lookright.study import run_study
    from lookright.study.grid import with_settings

    out = out or Path("runs", config.stem)
    with with_settings(config, set) as changed:
        run_study(changed, out, executor, jobs)
    print(f"{out / 'results.csv'}\nWrite the report with: lookright report {out}")


def status(directory: Path, watch: float = 0, json: bool = False) -> None:
    """Tell of each run of a study whether it is finished, running, failed (and why), interrupted or waiting.

    Args:
        directory: of the study.
        watch: look again every so many seconds, until nothing is left to do; 0 looks once.
        json: print one JSON object, the state of each run by its directory, and do not watch.
    """
    import time

    from rich.live import Live
    from rich.text import Text

    from lookright.errors import require_between
    from lookright.study.status import run_states
    from lookright.trust import require_trusted
    from lookright.yaml_file import read_yaml

    path = directory / "study.yaml"
    content = read_yaml(path)
    require_trusted(content, path)
    if isinstance(content, dict) and "scenarios" in content:
        from lookright.rl.agent_study import read_agent_study

        outs = [Path(run.out) for run in read_agent_study(path).runs(directory)]
    else:
        from lookright.study import planned_directories

        outs = planned_directories(path, directory)
    require_between("watch", watch, 0, 86400)
    states = dict(run_states(directory, outs))
    if json or not watch:
        print(as_json(states) if json else _as_lines(states))
        return
    with Live(Text(_as_lines(states)), auto_refresh=False, vertical_overflow="visible") as shown:
        while any(state in ("running", "waiting", "interrupted") for state in states.values()):
            time.sleep(watch)
            states = dict(run_states(directory, outs))
            shown.update(Text(_as_lines(states)), refresh=True)


def _as_lines(states: dict[str, str]) -> str:
    from collections import Counter

    counts = Counter(state.partition(":")[0] for state in states.values())
    total = ", ".join(f"{number} {state}" for state, number in counts.items())
    return "\n".join([*(f"{name}  {state}" for name, state in states.items()), total])


def export(directory: Path, out: Path | None = None) -> None:
    """Write every figure of a study as CSV or Parquet, or its means as a table for LaTeX.

    Args:
        directory: of the study.
        out: the file to write, which ends with .csv, .parquet or .tex; by default figures.csv in the directory.
    """
    from lookright.report.directory import read_results
    from lookright.report.results_table import results_table, write_table

    out = out or directory / "figures.csv"
    write_table(results_table(read_results(directory)), out)
    print(out)


def report(directory: Path, out: Path | None = None) -> None:
    """Write the HTML report of a study or a run.

    Args:
        directory: of the study or run.
        out: the file to write; by default report.html in the directory.
    """
    from lookright.report import write_report

    print(write_report(directory, out))


def results(directories: list[Path], out: Path = Path("results.md")) -> None:
    """Write the tables of studies as a Markdown page.

    Args:
        directories: of the studies.
        out: the file to write.
    """
    from lookright.report.results_markdown import write_results

    write_results(directories, out)
    print(out)
