"""docs/extending.md, as a user follows it."""

import json
import re
import shlex
import sys
from pathlib import Path

import pytest
from PIL import Image

from lookright.cli import main

PAGE = (Path(__file__).parents[1] / "docs" / "extending.md").read_text(encoding="utf-8")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The files of the page in a folder that is the working directory."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    for name, code in re.findall(r"```python\n# (my_\w+)\.py\n(.*?)```", PAGE, re.DOTALL):
        (tmp_path / f"{name}.py").write_text(code)
        monkeypatch.delitem(sys.modules, name, raising=False)
    return tmp_path


def test_the_commands_of_the_page_do_what_it_says(folder):
    (folder / "shots").mkdir()
    for number in range(24):
        image = Image.new("RGB", (32, 32), (40, 40, 40))
        image.paste((250, 0, 0) if number % 2 else (0, 0, 250), (8, 4, 20, 16))
        image.save(folder / "shots" / f"{number}.png")
        (folder / "shots" / f"{number}.txt").write_text(f"{'red' if number % 2 else 'blue'} 8 4 20 16")
    (block,) = re.findall(r"```bash\n(.*?)```", PAGE, re.DOTALL)
    for line in block.replace("\\\n", " ").splitlines():
        assert main(shlex.split(line)[1:]) == 0, line

    assert "train/outsideshare" in (folder / "run" / "metrics.csv").read_text().splitlines()[0]
    result = json.loads((folder / "run" / "result.json").read_text())
    assert result["map"] == "my_map.feature_norm"
    assert set(result["splits"]) == {"test"}
    assert 0 < result["splits"]["test"]["dice"] < 1
    page = (folder / "run" / "report.html").read_text(encoding="utf-8")
    assert "Twice the overlap of mask and map over their sum." in page
    assert "OutsideShare" in page


def test_a_format_that_is_none_is_refused(folder, capsys):
    (folder / "shots").mkdir()
    assert main(["data", "convert", "shots", "out", "--format", "my_format.read"]) == 2
    assert "import path of a lookright.data.formats.Format" in capsys.readouterr().err
    assert main(["data", "convert", "shots", "out", "--format", "coca"]) == 2
    assert "coco" in capsys.readouterr().err
