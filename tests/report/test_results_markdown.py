import re
from pathlib import Path

import pandas as pd
import pytest

from lookright import InputError
from lookright.cli import main
from lookright.report import write_report, write_results
from lookright.report.directory import read_results
from lookright.report.results_markdown import digest
from lookright.report.results_table import COLUMNS, results_table
from lookright.statistics import mean_interval, paired_difference

PAGES = sorted((Path(__file__).parents[2] / "docs").glob("results*-table.csv"))
TABLES = [path for path in PAGES if not path.name.startswith("results-rl")]  # those of agents: test_agents_markdown.py


def cells(line):
    return [cell.strip() for cell in line.strip("|").split(" | ")]


def test_tables_hold_the_statistics(make_study, tmp_path):
    directory = make_study(methods={"ERM": 0.74, "CAMAL": 0.82}, splits=("unseen",))
    out = tmp_path / "docs" / "results.md"
    write_results([directory], out)
    text = out.read_text().replace("\u00a0", " ")
    results = pd.read_csv(directory / "results.csv").pivot(index="seed", columns="name", values="accuracy")
    mean, difference = mean_interval(results["CAMAL"]), paired_difference(results["CAMAL"], results["ERM"])
    (line,) = [cells(line) for line in text.splitlines() if line.startswith("| CAMAL")]
    assert line[1] == "0, 1, 2"
    assert f"{mean.value:.3f} ± {(mean.high - mean.low) / 2:.3f}" in line
    assert f"+{difference.value:.3f} [+{difference.low:.3f}, +{difference.high:.3f}], p < 0.001" in line
    table = pd.read_csv(out.with_name("results-table.csv"))
    (row,) = table[(table["method"] == "CAMAL") & (table["measure"] == "Accuracy")].to_dict("records")
    assert row["mean"] == pytest.approx(mean.value, abs=1e-6)
    assert row["low"] == pytest.approx(difference.low, abs=1e-6)
    assert (row["study"], row["split"], row["p"], row["better"]) == (directory.name, "unseen", "< 0.001", "higher")
    assert "(results-table.csv)" in text
    assert str(directory / "study.yaml") in text
    assert (directory / "study.yaml").read_text() in text
    assert "- device: cpu\n" in text
    assert "- versions: python 3.13, torch 2.15" in text
    assert len({len(cells(line)) for line in text.splitlines() if line.startswith("|")}) == 1


def test_the_floor_of_an_alignment_metric_stands_below_it(make_study, tmp_path):
    directory = make_study(splits=("unseen",))
    results = pd.read_csv(directory / "results.csv")
    results.assign(flat_energy_in_mask=0.183).to_csv(directory / "results.csv", index=False)
    write_results([directory], tmp_path / "results.md")
    lines = [cells(line) for line in (tmp_path / "results.md").read_text().splitlines() if line.startswith("|")]
    floor = next(line for line in lines if line[0] == "a flat map")
    assert floor[lines[0].index("Energy in mask, unseen ↑")] == "0.183"
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


@pytest.mark.parametrize("out", ["", "folder"])
def test_a_folder_is_no_page(make_study, tmp_path, monkeypatch, out):
    study = make_study()
    monkeypatch.chdir(tmp_path)
    Path("folder").mkdir()
    before = sorted(tmp_path.iterdir())
    with pytest.raises(InputError, match="is a folder. Expected the name of a Markdown file"):
        write_results([study], Path(out))
    assert sorted(tmp_path.iterdir()) == before


def test_bad_directory(tmp_path):
    with pytest.raises(InputError, match="no directory"):
        write_results([tmp_path / "nowhere"], tmp_path / "results.md")


@pytest.mark.parametrize("path", TABLES, ids=lambda path: path.stem)
def test_a_committed_page_is_the_digest_of_its_table(path):
    page = path.with_name(path.name.replace("-table.csv", ".md")).read_text(encoding="utf-8")
    table = pd.read_csv(path, dtype={"seeds": str, "p": str})
    for _, rows in table.groupby(["study", "protocol", "model"], sort=False, dropna=False):
        assert any(digest(rows, split) in page for split in rows["split"].unique())


@pytest.mark.parametrize("end", ["csv", "parquet", "tex"])
def test_a_study_is_exported(make_study, tmp_path, capsys, end):
    if end == "parquet":
        pytest.importorskip("pyarrow")
    directory, out = make_study(methods={"ERM": 0.7, "50 % & more": 0.8}), tmp_path / f"figures.{end}"
    assert main(["study", "export", str(directory), "--out", str(out)]) == 0
    assert capsys.readouterr().out == f"{out}\n"
    if end == "tex":
        text = out.read_text()
        assert "50 \\% \\& more" in text
        table = results_table(read_results(directory))
        assert all(
            f"{mean:.3f} ± {half:.3f}" in text for mean, half in table[["mean", "half_width"]].dropna().to_numpy()
        )
        return
    table = pd.read_csv(out) if end == "csv" else pd.read_parquet(out)
    assert list(table) == list(COLUMNS)
    assert {*table["method"]} >= {"ERM", "50 % & more"}


def test_another_end_is_refused(make_study, tmp_path, capsys):
    assert main(["study", "export", str(make_study()), "--out", str(tmp_path / "figures.xlsx")]) == 2
    assert ".parquet" in capsys.readouterr().err
    assert not (tmp_path / "figures.xlsx").exists()
