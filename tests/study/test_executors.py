import os

import pytest

from lookright.errors import InputError
from lookright.study.executors import execute


def test_a_process_that_dies_is_reported():
    with pytest.raises(InputError, match="A process that worked on a run died"):
        list(execute(os._exit, [1], jobs=2))
