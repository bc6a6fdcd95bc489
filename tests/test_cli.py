import json
import shlex
import subprocess
import sys

import pandas as pd
import pytest
from PIL import Image

from lookright.cli import main
from lookright.cli.completion import ZSH, completion_script
from lookright.cli.main import COMMANDS
from lookright.data.image_folders import unlisted_images
from lookright.data.table import read_table


def train_arguments(data, out, *more):
    return [
        "train", "--data", str(data), "--out", str(out), "--model", "small_cnn", "--model_arguments", '{"width": 8}',
        "--size", "32", "--epochs", "2", "--batch_size", "12", "--workers", "0", "--curve-points", "4", *more,
    ]  # fmt: skip


@pytest.fixture(scope="module")
def run(tmp_path_factory, squares):
    out = tmp_path_factory.mktemp("runs") / "run"
    assert main(train_arguments(squares, out, "--method", "CAMAL", "--method.weight", "2")) == 0
    return out


def test_train_writes_a_whole_run(run):
    assert json.loads((run / "result.json").read_text())["method"] == "CAMAL"
    assert "weight: 2.0" in (run / "config.yaml").read_text()
    assert (run / "evaluation/test.csv").is_file()


def test_evaluate_a_split(run, squares, capsys):
    assert main(["evaluate", str(run), "--data", str(squares), "--split", "val,test"]) == 0
    printed = capsys.readouterr().out
    assert "val\n" in printed
    assert "energy_in_mask" in printed


def test_explain_images(run, squares, tmp_path, capsys):
    images = [str(squares / "images/1.png"), str(squares / "images/3.png")]
    assert main(["explain", str(run), *images, "--out", str(tmp_path / "out"), "--map", "hires_cam"]) == 0
    assert Image.open(tmp_path / "out/1.png").size == (64, 50)
    assert (tmp_path / "out/3.png").is_file()


def test_report_of_a_run(run, capsys):
    assert main(["report", str(run)]) == 0
    assert "<html" in (run / "report.html").read_text()


def test_contact_sheet(own_squares):
    assert main(["data", "sheet", str(own_squares)]) == 0
    assert (own_squares / "contact_sheet.png").is_file()
    assert unlisted_images(own_squares, read_table(own_squares)) == []


def test_contact_sheet_is_no_image_of_the_folder_that_it_shows(tmp_path):
    for name in "ab":
        Image.new("RGB", (8, 8)).save(tmp_path / f"{name}.png")
    assert main(["data", "index", str(tmp_path)]) == 0
    assert main(["data", "sheet", str(tmp_path)]) == 0
    assert main(["data", "index", str(tmp_path)]) == 0
    assert read_table(tmp_path)["image"].tolist() == ["a.png", "b.png"]


def test_help_does_not_wait_for_what_takes_long():
    code = (
        "import sys; from lookright.cli import main; main(['--help']); "
        "sys.exit(bool({'torch', 'jsonargparse', 'pandas'} & {*sys.modules}))"
    )
    assert subprocess.run([sys.executable, "-c", code], stdout=subprocess.DEVNULL).returncode == 0


def test_help_names_every_command(capsys):
    assert main(["--help"]) == 0
    printed = capsys.readouterr().out
    assert all(name in printed for name in COMMANDS)


COMMAND_LINES = [
    " ".join((name, *part))
    for name, found in COMMANDS.items()
    for part in ([(inner,) for inner in found] if isinstance(found, dict) else [()])
]


@pytest.mark.parametrize("command", COMMAND_LINES)
def test_every_command_explains_itself(command, capsys):
    with pytest.raises(SystemExit) as exit:
        main([*command.split(), "--help"])
    assert exit.value.code == 0
    assert f"lookright {command}" in capsys.readouterr().out


@pytest.mark.parametrize("group", ["data", "rl"])
@pytest.mark.parametrize("rest", [[], ["--help"]])
def test_every_group_explains_itself(group, rest, capsys):
    assert main([group, *rest]) == 0
    printed = capsys.readouterr().out
    assert all(name in printed for name in COMMANDS[group])


def test_a_bug_of_ours_says_so(monkeypatch, capsys):
    def bug(run):
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr("lookright.training.run.load_run", bug)
    assert main(["evaluate", "nowhere"]) == 70
    error = capsys.readouterr().err
    assert "ZeroDivisionError: a bug" in error
    assert error.splitlines()[-1].startswith("lookright: this is a bug of lookright")


def test_a_folder_that_cannot_be_written_is_one_line(squares, tmp_path, capsys):
    (tmp_path / "file").write_text("")
    assert main(train_arguments(squares, tmp_path / "file/run")) == 2
    assert str(tmp_path / "file") in capsys.readouterr().err


def broken(folder, kind):
    """A folder with one mistake, and the arguments that meet it."""
    table = pd.read_csv(folder / "labels.csv")
    if kind == "column":
        table = table.drop(columns="label")
    if kind == "image":
        (folder / "images/4.png").write_bytes((folder / "images/4.png").read_bytes()[:200])
    if kind == "mask size":
        Image.new("L", (5, 5)).save(folder / "masks/1.png")
    if kind == "label":
        table.loc[table["split"] == "test", "label"] = "violet"
    if kind == "split":
        table = table[table["split"] != "train"]
    if kind == "masks":
        table["mask"] = ""
    table.to_csv(folder / "labels.csv", index=False)


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("column", "No column 'label'"),
        ("image", "images/4.png"),
        ("mask size", "has 5 by 5 pixels and its image 'images/1.png' 32 by 32"),
        ("label", "label 'violet', which training never saw"),
        ("split", "No image in split 'train'"),
        ("masks", "CAMAL needs masks"),
    ],
)
def test_bad_data_is_one_clear_line(own_squares, tmp_path, capsys, kind, message):
    broken(own_squares, kind)
    assert main(train_arguments(own_squares, tmp_path / "run", "--method", "CAMAL")) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.startswith("lookright: ")
    assert error.count("\n") == 1
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["fly"], "No command 'fly'"),
        (["evalute", "run"], "No command 'evalute'. Do you mean evaluate?"),
        (["rl", "trian"], "No command 'trian'. Do you mean train?"),
        (["train", "--data", "d", "--out", "o", "--epocs", "3"], "No option '--epocs'. Do you mean --epochs?"),
        (["evaluate", "run", "--splt", "test"], "No option '--splt'. Do you mean --split?"),
        (["train", "--data", "d", "--out", "o", "--epochs", "0"], "epochs = 0; expected a number from 1 to 1000000"),
        (["train", "--data", "nowhere", "--out", "run"], "No folder 'nowhere'"),
        (["train", "--data", "d", "--out", "o", "--method", "CAMEL"], "No method 'CAMEL'"),
        (["train", "--data", "d", "--out", "o", "--method", "CAMAL", "--method.wieght", "1"], "wieght"),
        (["train", "--data", "d", "--out", "o", "--epochs", "ten"], "ten"),
        (["train", "--out", "o"], "data"),
        (["evaluate", "nowhere"], "No config.yaml in 'nowhere'"),
        (["study", "nowhere.yaml"], "No file 'nowhere.yaml'"),
        (["report", "nowhere"], "nowhere"),
        (["train", "--data", "d", "--out", "o", "--map", "gradcam"], "No map 'gradcam'"),
        (["train", "--resume", "nowhere"], "No config.yaml in 'nowhere'"),
    ],
)
def test_bad_arguments_are_one_clear_line(arguments, message, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_a_model_that_cannot_be_built_leaves_nothing_behind(squares, tmp_path, capsys):
    assert main(train_arguments(squares, tmp_path / "run", "--model", "resnet9000")) == 2
    assert "No model 'resnet9000'" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_unreadable_images_can_be_skipped(own_squares, tmp_path, capsys):
    broken(own_squares, "image")
    assert main(train_arguments(own_squares, tmp_path / "run", "--skip-unreadable")) == 0
    assert "images/4.png" in capsys.readouterr().err
    assert json.loads((tmp_path / "run/environment.json").read_text())["data"]["skipped"] == 1


def test_a_run_of_another_data_set_is_refused(own_squares, run, capsys):
    table = pd.read_csv(own_squares / "labels.csv")
    table["label"] = table["label"].replace("red", "crimson")
    table.to_csv(own_squares / "labels.csv", index=False)
    assert main(["evaluate", str(run), "--data", str(own_squares)]) == 2
    assert "label 'crimson', which training never saw" in capsys.readouterr().err


def test_debug_shows_the_traceback(capsys):
    assert main(["evaluate", "nowhere", "--debug"]) == 2
    assert "Traceback" in capsys.readouterr().err


def test_as_a_user_types_it():
    done = subprocess.run(
        [sys.executable, "-m", "lookright.cli", "evaluate", "nowhere"], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 2
    assert done.stderr.startswith("lookright: No config.yaml in 'nowhere'")
    assert done.stdout == ""


def test_figures_for_another_program(run, squares, capsys):
    assert main(["evaluate", str(run), "--data", str(squares), "--split", "test", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == json.loads((run / "result.json").read_text())["splits"]


def offered(shell, *words):
    script = completion_script(COMMANDS, shell).replace(ZSH, "")
    typed = " ".join(map(shlex.quote, ["lookright", *words]))
    ask = f'{script}\nCOMP_WORDS=({typed}); COMP_CWORD={len(words)}; _lookright; echo "${{COMPREPLY[@]}}"'
    return subprocess.run(["bash", "-c", ask], capture_output=True, text=True, check=True).stdout.split()


@pytest.mark.parametrize("shell", ["bash", "zsh"])
def test_the_tabulator_key_completes(shell):
    assert offered(shell, "ev") == ["evaluate"]
    assert offered(shell, "data", "c") == ["check", "convert"]
    assert offered(shell, "data", "check", "--h") == ["--html", "--help"]
    assert offered(shell, "study", "study.yaml", "--jo") == ["--jobs"]
    assert offered(shell, "study", "st") == ["status"]
    assert offered(shell, "train", "--data", "d", "--skip") == ["--skip-unreadable"]
    assert offered(shell, "rl", "train", "--scen") == ["--scenario"]


def test_the_script_is_printed(capsys):
    assert main(["completion", "zsh"]) == 0
    assert capsys.readouterr().out.startswith(ZSH)
