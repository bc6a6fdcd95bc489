"""Commands of studies: many runs, their report and their page."""

from pathlib import Path
from typing import Literal


def demo(out: Path = Path("runs/demo"), seeds: int = 3, jobs: int = 2) -> None:
    """Render the bestiary, train ERM and CAMAL where scenery gives the label away, and write the report.

    Args:
        out: directory of the study; the images go to its `bestiary`.
        seeds: runs of each method.
        jobs: runs at a time.
    """
    from lookright.report import write_report
    from lookright.study.demo import run_demo

    print(f"Open {write_report(run_demo(out, seeds, jobs))}")


def study(config: Path, out: Path | None = None, executor: Literal["local", "ray"] = "local", jobs: int = 1) -> None:
    """Do the runs of a study that are missing.

    Args:
        config: the study's YAML file.
        out: directory of the study; by default `runs/` and the file's name.
        executor: local, or ray for a cluster.
        jobs: runs at a time.
    """
    from lookright.study import run_study

    out = out or Path("runs", config.stem)
    run_study(config, out, executor, jobs)
    print(f"{out / 'results.csv'}\nWrite the report with: lookright report {out}")


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
