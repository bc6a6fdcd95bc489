import importlib.util
from pathlib import Path

import pytest

EXAMPLES = sorted((Path(__file__).parents[1] / "examples").glob("*.py"))


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_runs_and_is_short(path, squares, tmp_path, monkeypatch, capsys):
    if path.stem == "hugging_face_trainer":
        pytest.importorskip("accelerate")
    monkeypatch.chdir(tmp_path)
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.main(squares, epochs=1, size=32)
    assert capsys.readouterr().out
    assert len(path.read_text().splitlines()) < 65
