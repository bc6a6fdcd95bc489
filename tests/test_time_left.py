import sys

from lookright import time_left
from lookright.time_left import with_time_left


def test_a_pipe_gets_a_line_a_minute(monkeypatch, capsys):
    now = iter(range(0, 10_000, 25))  # a step takes 25 seconds
    monkeypatch.setattr(time_left.time, "monotonic", lambda: next(now))
    assert list(with_time_left("abcdefg", "runs/x", 7)) == [*"abcdefg"]
    told = capsys.readouterr().err.splitlines()
    assert told == ["runs/x: 3 of 7, about 2 min left", "runs/x: 6 of 7, about 25 s left"]


def test_what_is_quick_or_not_to_be_shown_says_nothing(monkeypatch, capsys):
    assert list(with_time_left(range(3), "quick", 3)) == [0, 1, 2]
    now = iter(range(0, 10_000, 100))
    monkeypatch.setattr(time_left.time, "monotonic", lambda: next(now))
    assert list(with_time_left(range(3), "hidden", 3, shown=False)) == [0, 1, 2]
    assert capsys.readouterr() == ("", "")


def test_a_terminal_gets_a_bar_and_the_output_stays_clean(monkeypatch, capsys):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    assert list(with_time_left(range(3), "runs/x", 3)) == [0, 1, 2]
    out, err = capsys.readouterr()
    assert out == ""
    assert "runs/x" in err
