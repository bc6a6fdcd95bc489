import multiprocessing
import subprocess
import sys
import time
from pathlib import Path

import pytest

from lookright.study.executors import execute

WORK_FOR_EVER = """
import os, pathlib, sys, time
from lookright.study.executors import execute

def work(path):
    pathlib.Path(path).write_text(str(os.getpid()))
    time.sleep(600)

if __name__ == "__main__":
    list(execute(work, sys.argv[1:], None, jobs=2))
"""


@pytest.mark.parametrize("executor", ["local", "ray"])
def test_a_process_that_dies_takes_no_other_task_with_it(monkeypatch, executor):
    """With `eval` as the work, the tasks are expressions; processes are forked, which is sooner done."""
    if executor == "ray":
        pytest.importorskip("ray")
    forked = multiprocessing.get_context("fork")
    monkeypatch.setattr(multiprocessing, "get_context", lambda method: forked)
    tasks = ["1", "__import__('os')._exit(1)", "2", "3", "4", "5"]
    assert sorted(execute(eval, tasks, lambda task: "died", executor, jobs=2), key=str) == [1, 2, 3, 4, 5, "died"]


def test_on_ray_work_is_done_in_this_folder_and_what_it_raises_is_raised(tmp_path, monkeypatch):
    pytest.importorskip("ray")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "here").touch()
    done = execute(eval, ["__import__('os').listdir()", "1 / 0"], lambda task: "died", "ray")
    assert next(done) == ["here"]
    with pytest.raises(ZeroDivisionError):
        next(done)


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="needs /proc to see processes end")
def test_processes_end_with_a_parent_that_is_killed(tmp_path):
    script, pid = tmp_path / "study.py", tmp_path / "pid"
    script.write_text(WORK_FOR_EVER)
    parent = subprocess.Popen([sys.executable, str(script), str(pid)])
    wait_until(lambda: pid.is_file() and pid.read_text())
    parent.kill()
    parent.wait()
    wait_until(lambda: not is_running(pid.read_text()))


def wait_until(condition, seconds=300):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


def is_running(pid):
    try:
        return Path("/proc", pid, "stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
