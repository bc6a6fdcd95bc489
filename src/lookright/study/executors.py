"""Where the runs of a study run: in processes of this machine, or on a Ray cluster."""

import multiprocessing
import os
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
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
    work: Callable[[Task], Result],
    tasks: Sequence[Task],
    died: Callable[[Task], Result],
    executor: Executor = "local",
    jobs: int = 1,
) -> Iterator[Result]:
    """Do all tasks and give their results as they come.

    A process that dies takes no other task with it. Ray does its task again, up to three times.

    Args:
        work: importable by name.
        tasks: that can be pickled.
        died: gives the result of a task whose process dies.
        executor: `local` or `ray` (extra `ray`; joins the cluster that RAY_ADDRESS names, otherwise starts one here).
        jobs: how many at a time. They share the processor cores evenly; one local job is done in this very process.

    Raises:
        InputError: more or fewer jobs than can be, or Ray is asked for and not installed.
    """
    require_between("jobs", jobs, 1, MOST_JOBS)
    if executor == "ray":
        yield from _on_ray(work, tasks, jobs, died)
    elif jobs == 1:
        yield from map(work, tasks)
    else:
        yield from _in_processes(work, tasks, jobs, died)


def _in_processes(
    work: Callable[[Task], Result], tasks: Sequence[Task], jobs: int, died: Callable[[Task], Result]
) -> Iterator[Result]:
    """A process that dies ends its whole pool. What had begun is done one by one then, to tell which task does that."""
    waiting = dict(enumerate(tasks))
    while waiting:
        for number, result in _pool(work, waiting, jobs):
            del waiting[number]
            yield result
        begun = list(waiting)[: jobs + 1]  # a pool takes one more than it works on
        for number in begun:
            task = waiting.pop(number)
            done = [result for _, result in _pool(work, {number: task}, 1)]
            yield done[0] if done else died(task)


def _pool(work: Callable[[Task], Result], tasks: Mapping[int, Task], jobs: int) -> Generator[tuple[int, Result]]:
    """Results by number, up to the death of a process."""
    threads = max(1, (os.cpu_count() or 1) // jobs)
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(jobs, context, initializer=_prepare, initargs=(threads,)) as pool:
        futures = {pool.submit(work, task): number for number, task in tasks.items()}
        try:
            for future in as_completed(futures):
                yield futures[future], future.result()
        except BrokenProcessPool:
            return
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


def _on_ray(
    work: Callable[[Task], Result], tasks: Sequence[Task], jobs: int, died: Callable[[Task], Result]
) -> Iterator[Result]:
    try:
        import ray
    except ImportError:
        raise InputError("The executor 'ray' needs Ray; install it with pip install 'lookright[ray]'.") from None
    started_here = not ray.is_initialized()
    if started_here:
        # Without an address, Ray joins whatever cluster it finds, and waits for one that is gone.
        ray.init(os.environ.get("RAY_ADDRESS", "local"), log_to_driver=False, include_dashboard=False)
    try:
        nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        cpus, gpus = (_share([node.get(kind, 0) for node in nodes], jobs) for kind in ("CPU", "GPU"))
        remote: Any = ray.remote(_do).options(num_cpus=max(1, cpus), num_gpus=gpus)
        waiting = list(reversed(tasks))
        pending: dict[Any, Task] = {}
        while waiting or pending:
            while waiting and len(pending) < jobs:
                task = waiting.pop()
                pending[remote.remote(work, task, os.getcwd())] = task
            done = ray.wait(list(pending))[0][0]
            task = pending.pop(done)
            try:
                yield ray.get(done)
            except ray.exceptions.RayTaskError as error:  # what the work itself raised
                raise error.cause from None
            except ray.exceptions.RayError:
                yield died(task)
    finally:
        if started_here:
            ray.shutdown()


def _share(amounts: Sequence[float], jobs: int) -> float:
    """Of what several nodes have, what each of several jobs may take and one node can give.

    >>> _share([8, 8], 4), _share([8, 8, 8], 2), _share([1], 2), _share([0], 2)
    (4, 8, 0.5, 0.0)
    """
    share = min(sum(amounts) / jobs, max(amounts))
    return int(share) if share >= 1 else share


def _do(work: Callable[[Task], Result], task: Task, folder: str) -> Result:
    """A function for Ray, which does not take what functools.partial makes; paths are relative to the folder."""
    try:
        os.chdir(folder)
    except OSError as error:
        raise InputError(f"A node of the cluster has no folder {folder!r}. Start where all nodes see it.") from error
    return work(task)
