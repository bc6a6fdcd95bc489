"""Every block of code in the README and in docs: Python runs as pasted, commands and studies are read as typed.

`docs/extending.md` and the notebook have tests of their own, which run their commands and cells, too.
"""

import ast
import dataclasses
import functools
import re
import shlex
from pathlib import Path

import matplotlib
import pytest
import torch
import yaml
from torch.nn import functional

import lookright
from lookright.cli import main
from lookright.cli.main import COMMANDS
from lookright.rl.agent_study import read_agent_study
from lookright.study.config import read_study
from lookright.training.settings import instantiate
from lookright.training.small_cnn import SmallCNN

ROOT = Path(__file__).parents[1]
OWN_TEST = {"extending.md", "find-the-shortcut.md"}
PAGES = [ROOT / "README.md", *sorted(path for path in (ROOT / "docs").rglob("*.md") if path.name not in OWN_TEST)]
TRAINS = ["docs/rl.md"]
"""Of their Python, the imports alone are executed: the rest trains agents."""
NEEDS = {"docs/masks-for-agents.md": "stable_baselines3"}
"""Pages whose Python runs where a package is that lookright itself does not need."""


def blocks(path, *languages):
    return [
        code
        for language, code in re.findall(r"^```(\w*)\n(.*?)^```", path.read_text(encoding="utf-8"), re.M | re.S)
        if language in languages
    ]


def name_of(path):
    return path.relative_to(ROOT).as_posix()


def lines(path):
    """The command lines of a page, without comments, as lists of words."""
    for code in blocks(path, "sh", "bash", ""):
        for line in code.replace("\\\n", " ").splitlines():
            if re.match(r"(lookright|make|pip|python|source|podman) ", line):
                yield shlex.split(line, comments=True)


LINES = [(name_of(path), words) for path in PAGES for words in lines(path)]


def names_of_a_page():
    """What pages take for granted."""
    classifier = lookright.Classifier(SmallCNN(3, width=4))
    image, label = torch.randn(6, 3, 32, 32), torch.arange(6) % 3
    mask = (torch.rand(6, 32, 32) > 0.7).float()
    batch = {"image": image, "label": label, "mask": mask, "mask_weight": torch.ones(6)}
    return batch | {
        "lookright": lookright,
        "torch": torch,
        "functional": functional,
        "classifier": classifier,
        "optimizer": torch.optim.AdamW(classifier.parameters()),
        "batch": batch,
        "loader": [batch, batch],
    }


@pytest.mark.parametrize("path", [path for path in PAGES if blocks(path, "python")], ids=name_of)
def test_python_runs_as_pasted(path, tmp_path, monkeypatch):
    if name_of(path) in NEEDS:
        pytest.importorskip(NEEDS[name_of(path)])
    matplotlib.use("agg")
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    names = names_of_a_page()
    for code in blocks(path, "python"):
        tree = ast.parse(code)
        if name_of(path) in TRAINS:
            tree.body = [line for line in tree.body if isinstance(line, ast.Import | ast.ImportFrom)]
        exec(compile(tree, name_of(path), "exec"), names)
    if "loss" in names:
        assert names["loss"].total.isfinite()


class Read(BaseException):
    """The arguments of a command are read, and it would begin."""


@pytest.fixture
def reads_alone(monkeypatch):
    """Commands end once their arguments are read."""

    def begin(*_, **__):
        raise Read

    def reading(commands):
        for name, found in commands.items():
            if isinstance(found, dict):
                reading(found)
            elif found.__name__ != "train":
                monkeypatch.setitem(commands, name, functools.wraps(found)(lambda **_: begin()))

    reading(COMMANDS)
    for module in ("lookright.training.run", "lookright.rl.ppo"):
        for name in ("train", "resume"):
            monkeypatch.setattr(f"{module}.{name}", begin)


@pytest.mark.parametrize(("page", "words"), LINES, ids=[f"{page}-{number}" for number, (page, _) in enumerate(LINES)])
def test_a_command_takes_what_is_typed(page, words, reads_alone, tmp_path, monkeypatch):
    program, *arguments = words
    if program == "lookright":
        monkeypatch.chdir(tmp_path)
        if arguments == ["--help"]:
            assert main(arguments) == 0
        else:
            with pytest.raises(Read):
                main(arguments)
    elif program == "make":
        assert re.search(rf"^{arguments[0]}:", (ROOT / "Makefile").read_text(), re.MULTILINE)
    elif program == "python":
        assert (ROOT / arguments[0]).is_file()


@pytest.mark.parametrize("path", [path for path in PAGES if blocks(path, "yaml")], ids=name_of)
def test_a_study_can_be_planned(path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for code in blocks(path, "yaml"):
        content = yaml.safe_load(code)
        if "methods" not in content:
            continue
        Path("study.yaml").write_text(code)
        if "scenarios" in content:
            assert {run.name for run in read_agent_study(Path("study.yaml")).runs(tmp_path)} == set(content["methods"])
            continue
        study = dataclasses.replace(read_study(Path("study.yaml")), seeds=[0], cross_validation=False)
        assert {instantiate(run.settings).name.split(",")[0] for run in study.runs(tmp_path)} == set(content["methods"])
