import json
import re
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest

from lookright import InputError
from lookright.report import write_report

EVIL = "<script>alert('x')</script>\"&"


class Page(HTMLParser):
    """Tags, attributes and text of a page."""

    def __init__(self, html):
        super().__init__()
        self.html, self.tags, self.attributes, self.pieces, self.is_text = html, [], [], [], True
        self.feed(html)
        self.text = re.sub(r"\s+", " ", " ".join(self.pieces).replace("\u202f", " ").replace("\u00a0", " "))

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.is_text = tag not in ("script", "style")
        self.attributes += [(tag, *attribute) for attribute in attributes]

    def handle_data(self, data):
        if self.is_text:
            self.pieces.append(data)

    def handle_endtag(self, tag):
        self.is_text = True

    def values(self, name):
        return [value for _, attribute, value in self.attributes if attribute == name]


def report(directory):
    return Page(write_report(directory).read_text(encoding="utf-8"))


def test_whole_page(make_study):
    directory = make_study()
    page = report(directory)
    assert page.tags.count("li") >= 2 * 6
    assert "On conflicting pairs CAMAL classified" in page.text
    assert "points more than ERM" in page.text
    assert "my extra metric" in page.text
    assert "↓ lower is better" in page.text
    assert "lookright report" in page.text
    assert "torch" in page.text
    assert "not bold" in page.text
    assert "b" not in page.tags
    assert sorted(path.name for path in directory.iterdir()) == ["report.html", "results.csv", "runs", "study.yaml"]


def test_numbers_are_those_of_the_results(make_study):
    directory = make_study()
    page = report(directory)
    means = pd.read_csv(directory / "results.csv").groupby(["name", "split"])[["accuracy", "deletion"]].mean()
    for value in means.to_numpy().ravel():
        assert f"{value:.3f}" in page.text


def test_page_asks_for_nothing(make_study):
    page = report(make_study())
    for name in ("href", "src", "xlink:href", "action", "srcset"):
        assert all(re.match(r"#|data:", value) for value in page.values(name)), name
    assert not re.search(r"url\((?!#)", page.html)
    assert "@import" not in page.html
    policy = next(value for value in page.values("content") if "default-src" in value)
    assert policy.startswith("default-src 'none'")


def test_ids_are_unique_and_references_lead_somewhere(make_study):
    page = report(make_study(methods={"ERM": 0.7, "A": 0.8, "B": 0.75}))
    ids = page.values("id")
    assert len(ids) == len(set(ids))
    references = [value[1:] for value in page.values("href") + page.values("xlink:href") if value.startswith("#")]
    references += re.findall(r"url\(#([^)]+)\)", page.html)
    assert set(references) <= set(ids)


def test_same_study_same_bytes(make_study):
    directory = make_study()
    assert write_report(directory).read_bytes() == write_report(directory).read_bytes()


def test_text_from_data_is_escaped(make_study):
    directory = make_study(
        methods={"ERM": 0.7, EVIL: 0.8},
        labels=(EVIL, "$\\alpha$", "ünïcode"),
        files='it\'s "{index}" <img src=x onerror=alert(1)>.png',
        protocol="<i>protocol</i>",
    )
    results = pd.read_csv(directory / "results.csv")
    results["split"] = results["split"].replace("unseen", "<u>split</u>")
    results["model"] = "<s>model</s>"
    results.rename(columns={"my_extra_metric": "<em>metric</em>"}).to_csv(directory / "results.csv", index=False)
    for run in (directory / "runs").rglob("environment.json"):
        run.write_text(json.dumps({"device": EVIL, EVIL: [EVIL]}))
    (directory / "study.yaml").write_text("</code></pre>" + EVIL)
    page = report(directory)
    assert page.tags.count("script") == 1
    assert not {"img", "i", "u", "s", "em"} & set(page.tags)
    assert not [name for name in page.attributes if name[1].startswith("on")]
    assert EVIL in page.text
    assert EVIL in page.values("data-label")
    assert "<u>split</u>" in page.values("data-title")
    assert any("onerror" in (value or "") for value in page.values("aria-label"))


def test_unfinished_study(make_study):
    directory = make_study()
    results = pd.read_csv(directory / "results.csv")
    results = results[~((results["name"] == "CAMAL") & (results["seed"] == 1))]
    results[~((results["name"] == "ERM") & (results["seed"] == 2) & (results["split"] == "unseen"))].to_csv(
        directory / "results.csv", index=False
    )
    (directory / "runs/shortcut/1/seed-1/result.json").unlink()
    page = report(directory)
    assert "Missing: ERM seed 2 on unseen; CAMAL seed 1." in page.text
    assert "Begun without a result: runs/shortcut/1/seed-1." in page.text
    assert "Differences are over the seeds shared with ERM (CAMAL: 0, 2)." in page.text


def test_finished_study_says_nothing_of_missing_runs(make_study):
    assert "Unfinished" not in report(make_study()).text


def test_planned_protocol_without_a_run(make_study):
    directory = make_study()
    (directory / "study.yaml").write_text("protocols: {shortcut: , open-set: }")
    assert "No finished run yet of: open-set." in report(directory).text


def test_one_seed_has_an_interval_over_images_and_none_over_seeds(make_study):
    page = report(make_study(seeds=(0,)))
    assert "which says nothing about training once more (difference over the same 6 images" in page.text
    assert "▲" not in page.text
    assert "▲" in report(make_study(protocol="three-seeds")).text


def test_single_run(make_study):
    directory = make_study()
    out = directory / "elsewhere" / "page.html"
    assert write_report(directory / "runs/shortcut/1/seed-0", out) == out
    page = Page(out.read_text(encoding="utf-8"))
    assert "On conflicting pairs CAMAL classified" in page.text
    assert "Difference to" not in page.text


def test_closed_set_and_open_set_side_by_side(make_study):
    page = report(make_study(methods={"ERM": 0.7, "SAGE": 0.8}, open_set=True, splits=("test",)))
    assert "Closed set and open set side by side" in page.text
    assert "AUPR (energy)" in page.text
    assert "told unknown images from known ones" in page.text
    assert "side by side" not in report(make_study(protocol="closed")).text.split("closed · small_cnn")[-1]


def test_the_rate_of_known_attacks_is_no_open_set_rate(make_study):
    directory = make_study(methods={"ERM": 0.7})
    results = pd.read_csv(directory / "results.csv")
    results.assign(apcer_at_1_bpcer_worst_attack=0.25).to_csv(directory / "results.csv", index=False)
    page = report(directory)
    assert "APCER at 1 % BPCER (worst attack)" in page.text
    assert "side by side" not in page.text


def test_undefined_everywhere(make_study):
    directory = make_study(seeds=(0, 1))
    results = pd.read_csv(directory / "results.csv")
    results.loc[results["split"] == "conflicting", ["energy_in_mask", "accuracy"]] = np.nan
    results.loc[results["name"] == "CAMAL", "insertion"] = np.nan
    results.loc[results["name"] == "ERM", "deletion"] = np.inf
    results.to_csv(directory / "results.csv", index=False)
    for table in (directory / "runs").rglob("evaluation/*.csv"):
        pd.read_csv(table).assign(energy_in_mask=np.nan, confidence=np.nan).to_csv(table, index=False)
    page = report(directory)
    assert not re.search(r"\b(nan|inf)\b", page.text, re.IGNORECASE)


def test_without_evaluations_there_is_no_gallery(make_study):
    directory = make_study()
    for path in (directory / "runs").rglob("evaluation/*"):
        path.unlink()
    page = report(directory)
    assert "cards" not in page.values("id")
    assert "Accuracy against attention" in page.text


def test_page_stays_small(make_study):
    directory = make_study(count=60, seeds=(0, 1))
    page = report(directory)
    assert page.values("class").count("card") == 2 * 24
    assert len(page.html) < 2e6


def test_bad_directory(tmp_path):
    with pytest.raises(InputError, match="neither results.csv"):
        write_report(tmp_path)


@pytest.mark.parametrize(("size", "said"), [(3, True), (40, False)])
def test_a_worst_group_of_a_few_images_is_said_to_be_noise(make_study, size, said):
    directory = make_study()
    results = pd.read_csv(directory / "results.csv")
    results.assign(smallest_group=size, worst_group_accuracy=0.125).to_csv(directory / "results.csv", index=False)
    page = report(directory)
    glance = page.html[page.html.index('class="glance stacked"') :]
    glance = glance[: glance.index("</table>")]
    assert ("noise: 3 images in the smallest group" in glance) == said
    assert ("0.125" not in glance) == said
    assert ("The smallest group has 3 images: noise." in page.text) == said


def test_floors_stand_beside_what_they_are_floors_of(make_study):
    directory = make_study()
    results = pd.read_csv(directory / "results.csv")
    results.assign(flat_energy_in_mask=0.211, random_energy_in_mask=0.219).to_csv(
        directory / "results.csv", index=False
    )
    page = report(directory)
    assert page.text.count("A flat map scores 0.211, a random map 0.219.") == 2  # one a split
    assert "flat energy in mask" not in page.text
    assert "random energy in mask" not in page.text


def test_reliability_diagram_where_calibration_was_measured(make_study):
    directory = make_study(count=40)
    assert "Calibration: on the dashed line" in report(directory).text
    results = pd.read_csv(directory / "results.csv").drop(columns="expected_calibration_error")
    results.to_csv(directory / "results.csv", index=False)
    assert "Calibration: on the dashed line" not in report(directory).text


def test_bins_of_a_few_images_are_not_drawn(make_study):
    assert "Calibration: on the dashed line" not in report(make_study(count=2)).text


@pytest.mark.parametrize(("seeds", "methods", "ranked"), [(5, 3, True), (4, 3, False), (5, 2, False)])
def test_three_methods_over_five_seeds_are_ranked(make_study, seeds, methods, ranked):
    names = {"ERM": 0.6, "A": 0.7, "B": 0.8}
    page = report(make_study(seeds=tuple(range(seeds)), methods=dict(list(names.items())[:methods]), count=2))
    assert ("Mean ranks by accuracy over 5 seeds" in page.text) == ranked
    assert ("critical difference" in page.text) == ranked
