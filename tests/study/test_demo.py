import pytest

from lookright.report import write_report
from lookright.study.demo import run_demo


def test_from_nothing_to_a_report(tmp_path):
    pytest.importorskip("vizdoom")
    out = run_demo(tmp_path / "demo", seeds=1, jobs=1, images_per_pair=3, images_at_home=10, epochs=1)
    page = write_report(out).read_text()
    for text in ("CAMAL", "ERM", "aligned", "conflicting", "unseen"):
        assert text in page
