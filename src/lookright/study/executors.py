"""Where the runs of a study run: in processes of this machine, or on a Ray cluster."""

import multiprocessing
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from threading import Thread
from typing import Any, Literal, TypeVar

from lookright.errors import InputError, require_between

Task = TypeVar("Task")
Result = TypeVar("Result")
Executor = Literal["local", "ray"]

MOST_JOBS = 1024
"""At a time."""


def execute(
    work: Callable[[Task], Result], tasks: Sequence[Task], executor: Executor = "local", jobs: int = 1
) -> Iterator[Result]:
    """Do all tasks and give their results as they come.

    Args:
        work: importable by name.
        tasks: that can be pickled.
        executor: `local` or `ray` (extra `ray`; joins the cluster that RAY_ADDRESS names, otherwise starts one here).
        jobs: how many at a time. Local jobs share the processor cores evenly.

    Raises:
        InputError: more or fewer jobs than can be, Ray is asked for and not installed, or a local process died.
    """
    require_between("jobs", jobs, 1, MOST_JOBS)
    if executor == "ray":
        yield from _on_ray(work, tasks, jobs)
    elif jobs == 1:
        yield from map(work, tasks)
    else:
        threads = max(1, (os.cpu_count() or 1) // jobs)
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(jobs, context, initializer=_prepare, initargs=(threads,)) as pool:
            futures = [pool.submit(work, task) for task in tasks]
            try:
                for future in as_completed(futures):
                    yield future.result()
            except BrokenProcessPool as error:
                raise InputError(
                    "A process that worked on a run died, which may be for want of memory. "
                    "The same command goes on with what is missing; fewer --jobs need less."
                ) from error
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise


def _prepare(threads: int) -> None:
    import torch

    torch.set_num_threads(threads)
    Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    # A parent that is killed cannot tell its processes, which would finish their runs unseen.
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def _on_ray(work: Callable[[Task], Result], tasks: Sequence[Task], jobs: int) -> Iterator[Result]:
    try:
        import ray
    except ImportError:
        raise InputError("The executor 'ray' needs Ray; install it with pip install 'lookright[ray]'.") from None
    started_here = not ray.is_initialized()
    if started_here:
        ray.init(log_to_driver=False, include_dashboard=False)
    try:
        resources = ray.cluster_resources()
        remote: Any = ray.remote(_do).options(
            num_cpus=max(1, resources.get("CPU", 1) // jobs), num_gpus=resources.get("GPU", 0) / jobs
        )
        pending = [remote.remote(work, task) for task in tasks]
        while pending:
            done, pending = ray.wait(pending)
            yield from ray.get(done)
    finally:
        if started_here:
            ray.shutdown()


def _do(work: Callable[[Task], Result], task: Task) -> Result:
    """A function for Ray, which does not take what functools.partial makes."""
    return work(task)
