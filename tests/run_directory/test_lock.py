import subprocess
import sys

import pytest

from lookright import InputError
from lookright.run_directory.lock import only_writer, require_empty


def test_a_second_writer_is_refused_and_a_dead_one_lets_go(tmp_path):
    code = (
        "import pathlib, sys, time; from lookright.run_directory.lock import only_writer\n"
        "with only_writer(pathlib.Path(sys.argv[1])): print('held', flush=True); time.sleep(600)"
    )
    other = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert other.stdout.readline() == "held\n"
    with pytest.raises(InputError, match="Another process is writing"), only_writer(tmp_path):
        pass
    other.kill()
    other.wait()
    with only_writer(tmp_path):
        require_empty(tmp_path)


def test_a_directory_with_files_is_not_empty(tmp_path):
    require_empty(tmp_path / "new")
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="already holds files"):
        require_empty(tmp_path)
    with pytest.raises(InputError, match="is a file"):
        require_empty(tmp_path / "file")
