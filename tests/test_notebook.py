"""The notebook is its page, and running it from top to bottom finds what it says."""

import json
import runpy
from pathlib import Path

import matplotlib

TUTORIALS = Path(__file__).parents[1] / "docs/tutorials"


def test_the_notebook_is_what_its_page_says():
    made = runpy.run_path(str(TUTORIALS / "notebook.py"))
    assert made["NOTEBOOK"].read_text(encoding="utf-8") == made["notebook"](made["PAGE"].read_text(encoding="utf-8"))


def test_its_five_cells_find_the_shortcut_and_mend_it(capsys):
    matplotlib.use("agg")
    cells = json.loads((TUTORIALS / "find_the_shortcut.ipynb").read_text(encoding="utf-8"))["cells"]
    code = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    assert len(code) == 5
    names = {}
    for cell in code[:4]:
        exec(cell, names)
    for side in names["place"]:
        assert {*range(10, 17)} <= {*range(side.start, side.stop)}  # the tag
    assert names["follow"](names["classifier"]) > 0.5
    assert names["before"]["right on the evidence alone"] < 0.8
    exec(code[4], names)
    assert names["follow"](names["classifier"]) < 0.2
    assert names["after"]["right"] > names["before"]["right"] + 0.2
    assert "after" in capsys.readouterr().out
