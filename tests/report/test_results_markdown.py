import re

import pandas as pd
import pytest

from lookright import InputError
from lookright.report import write_report, write_results
from lookright.statistics import mean_interval, paired_difference


def cells(line):
    return [cell.strip() for cell in line.strip("|").split(" | ")]


def test_tables_hold_the_statistics(make_study, tmp_path):
    directory = make_study(methods={"ERM": 0.74, "CAMAL": 0.82}, splits=("unseen",))
    out = tmp_path / "docs" / "results.md"
    write_results([directory], out)
    text = out.read_text().replace("\u00a0", " ")
    results = pd.read_csv(directory / "results.csv").pivot(index="seed", columns="name", values="accuracy")
    mean, difference = mean_interval(results["CAMAL"]), paired_difference(results["CAMAL"], results["ERM"])
    lines = [cells(line) for line in text.splitlines() if line.startswith("| CAMAL")]
    assert lines[0][:3] == ["CAMAL", "0, 1, 2", f"{mean.value:.3f} ± {(mean.high - mean.low) / 2:.3f}"]
    assert lines[1][1] == f"+{difference.value:.3f} [+{difference.low:.3f}, +{difference.high:.3f}], p < 0.001"
    assert str(directory / "study.yaml") in text
    assert (directory / "study.yaml").read_text() in text
    assert "- device: cpu\n" in text
    assert "- versions: python 3.13, torch 2.15" in text
    widths = {len(cells(line)) for line in text.splitlines() if line.startswith("|") and "Difference" not in line}
    assert len(widths) == 2


def test_the_floor_of_an_alignment_metric_stands_below_it(make_study, tmp_path):
    directory = make_study(splits=("unseen",))
    results = pd.read_csv(directory / "results.csv")
    results.assign(flat_energy_in_mask=0.183).to_csv(directory / "results.csv", index=False)
    write_results([directory], tmp_path / "results.md")
    lines = [cells(line) for line in (tmp_path / "results.md").read_text().splitlines() if line.startswith("|")]
    floor = next(line for line in lines if line[0] == "a flat map")
    assert floor[lines[0].index("Energy in mask ↑")] == "0.183"
    assert set(floor[2:]) == {"0.183", "–"}
    assert not any("flat" in heading for heading in lines[0])
    assert "A flat map scores 0.183." in write_report(directory).read_text()


def test_names_end_no_cell_and_open_no_tag(make_study, tmp_path):
    out = tmp_path / "results.md"
    write_results([make_study(methods={"ERM": 0.7, "a | b <script>": 0.8})], out)
    text = re.sub("````.*?````", "", out.read_text(), flags=re.DOTALL)  # the configuration stands as it is
    assert "a \\| b &lt;script>" in text
    assert "<script" not in text


def test_one_seed_has_no_interval(make_study, tmp_path):
    out = tmp_path / "results.md"
    write_results([make_study(seeds=(0,))], out)
    table = [line for line in out.read_text().splitlines() if line.startswith("| CAMAL")]
    assert not any("±" in line or "p" in line.replace("CAMAL", "") for line in table)


def test_bad_directory(tmp_path):
    with pytest.raises(InputError, match="no directory"):
        write_results([tmp_path / "nowhere"], tmp_path / "results.md")
