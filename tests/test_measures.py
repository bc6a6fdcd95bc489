import json
import sys
from importlib import import_module

import pandas as pd
import pytest

from lookright import InputError
from lookright.measures import MEASURES, find_measure, measures_of
from lookright.report import write_report
from lookright.training.results import evaluate_run
from lookright.training.run import train

DICE = """
def dice(map, mask):
    \"\"\"Overlap of the mask and the map's upper half, twice over their sizes.

    More text.
    \"\"\"
    from torch.nn import functional
    map = functional.interpolate(map[:, None], mask.shape[-2:], mode="nearest")[:, 0]
    high = (map > 0.5).float()
    return 2 * (high * mask).sum((1, 2)) / (high + mask).sum((1, 2))


dice.higher_is_better = True


def constant(map, mask):
    return map.sum()


def nothing(image):
    return image
"""


@pytest.fixture
def own_module(tmp_path, monkeypatch):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "own_overlap.py").write_text(DICE)
    monkeypatch.syspath_prepend(tmp_path / "mine")
    yield "own_overlap"
    sys.modules.pop("own_overlap", None)


@pytest.mark.parametrize("measure", [row for row in MEASURES.values() if row.function], ids=lambda row: row.name)
def test_every_row_names_a_function_and_its_direction(measure):
    module, _, name = measure.function.rpartition(".")
    assert measure.load() is getattr(import_module(module), name)
    direction = getattr(measure.load(), "higher_is_better", measure.higher_is_better)
    assert direction == measure.higher_is_better


def test_a_metric_in_one_file_outside_the_package_is_measured_and_shown(own_module, squares, settings, tmp_path):
    measures = [f"{own_module}.dice", "relevance_rank"]
    run = train(settings(squares, tmp_path / "run", epochs=1, faithfulness="none", measures=measures))
    result = evaluate_run(run)
    table = pd.read_csv(tmp_path / "run" / "evaluation" / "test.csv")
    assert result["splits"]["test"]["dice"] == pytest.approx(table["dice"].mean(), abs=1e-4)
    assert 0 < table["dice"].mean() < 1
    assert table["dice"].notna().tolist() == (table["mask_weight"] > 0).tolist()
    assert "relevance_rank" in table
    assert json.loads((tmp_path / "run" / "result.json").read_text())["measures"].keys() == {"dice"}
    page = write_report(tmp_path / "run").read_text()
    assert "Overlap of the mask and the map&#39;s upper half, twice over their sizes." in page
    assert "More text" not in page


def test_what_is_no_measure_is_refused_before_anything_is_done(own_module, squares, settings, tmp_path):
    for measure, message in (
        ("dicee", "No measure 'dicee'. Expected accuracy"),
        ("no.such.module", "cannot be imported"),
        (f"{own_module}.nothing", "takes image; expected map and mask"),
    ):
        with pytest.raises(InputError, match=message):
            train(settings(squares, tmp_path / "run", measures=[measure]))
    assert not (tmp_path / "run").exists()


def test_a_measure_gives_one_value_an_image(own_module, squares, settings, tmp_path):
    run = train(settings(squares, tmp_path / "run", epochs=1, faithfulness="none", measures=[f"{own_module}.constant"]))
    with pytest.raises(InputError, match=r"measure 'constant' gave \(\) for \d+ images; expected one value for each"):
        evaluate_run(run)


def test_more_faithfulness_is_asked_for_by_the_setting_or_by_name():
    assert [row.name for row in measures_of("faithfulness", "none")] == []
    assert [row.name for row in measures_of("faithfulness", "curves")] == ["insertion", "deletion"]
    assert "sufficiency" in [row.name for row in measures_of("faithfulness", "all")]
    assert [row.name for row in measures_of("faithfulness", "none", ["deletion"])] == ["deletion"]
    assert [row.name for row in measures_of("evidence", evidence=False)] == []
    assert [row.name for row in measures_of("evidence", evidence=False, further=["scenery_accuracy"])] == [
        "scenery_accuracy"
    ]
    assert find_measure("lookright.metrics.BrierScore").kind == "classification"
    assert find_measure("lookright.metrics.evidence_accuracy").kind == "evidence"
    assert find_measure("lookright.metrics.PxAP").kind == "alignment"
    assert find_measure("lookright.metrics.max_sensitivity").kind == "faithfulness"
