"""The command line: `lookright COMMAND`, see `lookright --help`."""

import inspect
import sys
import traceback
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import jsonargparse

from lookright.errors import InputError, nearest
from lookright.interruption import Interrupted, ending_at_sigterm

if TYPE_CHECKING:
    from lookright.run_directory.settings_file import SettingsFile


def demo(out: Path = Path("runs/demo"), seeds: int = 3, jobs: int = 2) -> None:
    """Render the bestiary, train ERM and CAMAL where scenery gives the label away, and write the report.

    Args:
        out: directory of the study; the images go to its `bestiary`.
        seeds: runs of each method.
        jobs: runs at a time.
    """
    from lookright.report import write_report
    from lookright.study.demo import run_demo

    print(f"Open {write_report(run_demo(out, seeds, jobs))}")


def train(arguments: list[str]) -> None:
    """Train a classifier with a method, and evaluate it on the test splits."""
    from lookright.training.results import evaluate_run
    from lookright.training.run import resume
    from lookright.training.run import train as train_run
    from lookright.training.settings import settings_file

    run = _train_or_resume("train", arguments, settings_file, train_run, resume)
    if run.settings.evaluation.evaluate:
        _print_splits(evaluate_run(run)["splits"])
    print(f"Write the report with: lookright report {run.directory}")


def evaluate(
    run: Path, data: Path | None = None, split: str | None = None, out: Path | None = None, map: str | None = None
) -> None:
    """Measure a trained run: accuracy, attention, faithfulness.

    Args:
        run: directory of the run.
        data: folder with labels.csv; by default the one it was trained on.
        split: a split, or several with commas between; by default all but train and val.
        out: where to write; by default the run's directory, and needed for other data.
        map: what is measured, such as grad_cam, layer_cam or integrated_gradients; by default what the run's settings
            say.
    """
    from lookright.training.results import evaluate_run
    from lookright.training.run import load_run

    result = evaluate_run(load_run(run), data, split.split(",") if split else None, out, map=map)
    _print_splits(result["splits"])


def explain(run: Path, images: list[Path], out: Path = Path("explanations"), map: str | None = None) -> None:
    """Write each image with the map of the predicted class laid over it.

    Args:
        run: directory of the run.
        images: image files.
        out: directory for the pictures.
        map: what is shown, such as grad_cam, layer_cam or integrated_gradients; by default what the run's settings say.
    """
    from lookright.training.explanation import explain_images
    from lookright.training.run import load_run

    for path in explain_images(load_run(run), images, out, map):
        print(path)


def predict(
    run: Path,
    folder: Path,
    out: Path = Path("predictions.csv"),
    overlays: Path | None = None,
    map: str | None = None,
    batch_size: int = 32,
) -> None:
    """Write class, confidence and where the model looked for each image of a folder, as CSV.

    Args:
        run: directory of the run.
        folder: with images; where it has a labels.csv, the images that it names, and how much attention lay in their
            masks.
        out: the CSV file to write.
        overlays: a directory for pictures of the images under their maps.
        map: such as grad_cam or layer_cam; by default what the run's settings say.
        batch_size: images at a time.
    """
    from lookright.predict import predict_folder
    from lookright.training.run import load_run

    counts = predict_folder(load_run(run), folder, out, map, overlays, batch_size)
    print(f"{counts.images} images in {out}")
    if counts.unreadable:
        warnings.warn(f"{counts.unreadable} files could not be read; the column problem says why.", stacklevel=2)


def export(
    run: Path,
    out: Path | None = None,
    format: Literal["onnx", "safetensors"] = "onnx",
    images: Path | None = None,
    map: str | None = None,
) -> None:
    """Write a trained run for use without lookright: ONNX with the class map in its graph, or weights with a card.

    Args:
        run: directory of the run.
        out: the file to write (onnx) or the folder (safetensors); by default model.onnx or model in the run's
            directory.
        format: onnx, or safetensors for the plain model as a folder of the Hugging Face hub's layout.
        images: a folder of images on which the ONNX file is compared with the run; by default the run's own data.
        map: the ONNX graph's second output; by default class_map where it has a closed form, and none elsewhere.
    """
    from lookright.training.run import load_run

    if format == "safetensors":
        from lookright.export.hub import export_folder

        print(export_folder(load_run(run), out or run / "model"))
        return
    from lookright.export.onnx import export_onnx

    print(export_onnx(load_run(run), out or run / "model.onnx", images, map))


def study(config: Path, out: Path | None = None, executor: Literal["local", "ray"] = "local", jobs: int = 1) -> None:
    """Do the runs of a study that are missing.

    Args:
        config: the study's YAML file.
        out: directory of the study; by default `runs/` and the file's name.
        executor: local, or ray for a cluster.
        jobs: runs at a time.
    """
    from lookright.study import run_study

    out = out or Path("runs", config.stem)
    run_study(config, out, executor, jobs)
    print(f"{out / 'results.csv'}\nWrite the report with: lookright report {out}")


def report(directory: Path, out: Path | None = None) -> None:
    """Write the HTML report of a study or a run.

    Args:
        directory: of the study or run.
        out: the file to write; by default report.html in the directory.
    """
    from lookright.report import write_report

    print(write_report(directory, out))


def results(directories: list[Path], out: Path = Path("results.md")) -> None:
    """Write the tables of studies as a Markdown page.

    Args:
        directories: of the studies.
        out: the file to write.
    """
    from lookright.report.results_markdown import write_results

    write_results(directories, out)
    print(out)


def bestiary(
    out: Path,
    images_per_pair: int = 60,
    images_at_home: int | None = None,
    size: int = 96,
    seed: int = 0,
    contact_sheet: bool = False,
) -> None:
    """Render the built-in data set: creatures of Freedoom in its levels, with exact masks.

    Args:
        out: the folder to make.
        images_per_pair: images of each creature in each level.
        images_at_home: images of each creature in its home level, if more.
        size: side of an image in pixels.
        seed: chooses places, headings and distances.
        contact_sheet: also write contact_sheet.png into the folder.
    """
    from lookright.data.bestiary import render_bestiary

    table = render_bestiary(out, images_per_pair=images_per_pair, images_at_home=images_at_home, size=size, seed=seed)
    print(f"{len(table)} images in {out}")
    if contact_sheet:
        sheet(out)


def sheet(folder: Path, out: Path | None = None) -> None:
    """Write a picture of images beside their masks.

    Args:
        folder: with labels.csv.
        out: the file to write; by default contact_sheet.png in the folder.
    """
    from lookright.data.contact_sheet import contact_sheet

    out = out or folder / "contact_sheet.png"
    contact_sheet(folder, out)
    print(out)


def index(folder: Path) -> None:
    """Write labels.csv into a folder of the layout domain/class/image.

    Args:
        folder: with one folder per domain, and in each one per class.
    """
    from lookright.data.domain_folders import index_domain_folders

    print(f"{len(index_domain_folders(folder))} images in {folder / 'labels.csv'}")


def check(folder: Path, html: Path | None = None, weights: Path | None = None) -> None:
    """Tell what is in a folder and what may be wrong with it: bad masks, copies, scenery that gives classes away.

    Args:
        folder: with labels.csv.
        html: also write the page with pictures to this file.
        weights: also write suggested mask weights to this CSV file.
    """
    from lookright.data.check import as_text, write_html
    from lookright.data.check import check as check_folder

    checked = check_folder(folder)
    print(as_text(checked))
    if html is not None:
        write_html(checked, html)
        print(html)
    if weights is not None:
        checked.weights.to_csv(weights, index=False)
        print(weights)


def convert(source: Path, out: Path, format: str | None = None, several: Literal["skip", "largest"] = "skip") -> None:
    """Write labels.csv, images and masks from COCO, VOC, LabelMe, Label Studio, CVAT, YOLO, Oxford Pets or suffixes.

    Args:
        source: a file of annotations, or a folder.
        out: the folder to make.
        format: coco, label_studio, cvat, voc, oxford_pets, yolo, labelme or suffixes; by default recognised.
        several: what to do with images on which several labels are marked: skip, or take the largest.
    """
    from lookright.data.convert import convert as convert_folder

    table, left_out = convert_folder(source, out, format, several)
    for reason in left_out[:10]:
        print(f"Left out: {reason}", file=sys.stderr)
    if len(left_out) > 10:
        print(f"Left out: {len(left_out) - 10} more", file=sys.stderr)
    print(f"{len(table)} images in {out}, {len(left_out)} left out")


def vlcs(archive: Path, out: Path) -> None:
    """Check and unpack DomainBed's archive of VLCS, which is downloaded by hand.

    Args:
        archive: VLCS.tar.gz.
        out: the folder to make.
    """
    from lookright.data.domain_folders import unpack_vlcs

    print(f"{len(unpack_vlcs(archive, out))} images in {out}")


def terra_incognita(out: Path) -> None:
    """Download DomainBed's selection of the Caltech Camera Traps (6.5 GB).

    Args:
        out: the folder to make.
    """
    from lookright.data.terra_incognita import download_terra_incognita

    print(f"{len(download_terra_incognita(out))} images in {out}")


def masks(run: Path, data: Path | None = None, out: Path = Path("masks")) -> None:
    """Write the masks that ALIGN learned as a data set for any other method.

    Args:
        run: directory of a run of ALIGN.
        data: folder with labels.csv; by default the one it was trained on.
        out: the folder to make.
    """
    from lookright.training.masks import write_masks
    from lookright.training.run import load_run

    trained = load_run(run)
    print(f"{len(write_masks(trained, data or trained.settings.data, out))} masks in {out}")


def rl_train(arguments: list[str]) -> None:
    """Train an agent that plays a ViZDoom scenario from pixels, by PPO with a method's guidance."""
    from lookright.rl.ppo import resume
    from lookright.rl.ppo import train as train_agent
    from lookright.rl.settings import settings_file

    print(_train_or_resume("rl train", arguments, settings_file, train_agent, resume))


def rl_evaluate(run: Path, episodes: int | None = None) -> None:
    """Measure a trained agent: return, attention, faithfulness.

    Args:
        run: directory of the run.
        episodes: to play; by default as many as the run's settings say.
    """
    from lookright.rl.evaluate import evaluate as evaluate_agent

    _print_values(evaluate_agent(run, episodes))


def rl_watch(run: Path, out: Path | None = None, episode: int = 0, greedy: bool = False) -> None:
    """Write a film of an episode with the agent's attention laid over it.

    Args:
        run: directory of the run.
        out: the file to write; by default in the run's directory.
        episode: which episode, a number that seeds it.
        greedy: play the likeliest action instead of drawing one.
    """
    from lookright.rl.watch import watch

    print(watch(run, out, episode, greedy))


def rl_study(config: Path, out: Path | None = None, jobs: int = 1) -> None:
    """Do the runs of a study of agents that are missing.

    Args:
        config: the study's YAML file.
        out: directory of the study; by default `runs/` and the file's name.
        jobs: runs at a time.
    """
    from lookright.rl.study import study

    print(study(config, out, jobs).to_string(index=False))
    print(f"Write the results with: lookright rl results {out or Path('runs', config.stem)}")


def rl_results(directory: Path, out: Path = Path("results-rl.md")) -> None:
    """Write the results of a study of agents as a Markdown page with figures.

    Args:
        directory: of the study.
        out: the file to write; its figure goes beside it.
    """
    from lookright.rl.results import write_results

    write_results(directory, out)
    print(out)


Command = Callable[..., None]

COMMANDS: dict[str, Command | dict[str, Command]] = {
    "demo": demo,
    "train": train,
    "evaluate": evaluate,
    "explain": explain,
    "predict": predict,
    "export": export,
    "study": study,
    "report": report,
    "results": results,
    "data": {
        "bestiary": bestiary,
        "sheet": sheet,
        "index": index,
        "check": check,
        "convert": convert,
        "vlcs": vlcs,
        "terra_incognita": terra_incognita,
    },
    "masks": masks,
    "rl": {
        "train": rl_train,
        "evaluate": rl_evaluate,
        "watch": rl_watch,
        "study": rl_study,
        "results": rl_results,
    },
}
"""By name; a group is a dict of commands."""

REPORT_BUG = (
    "lookright: this is a bug of lookright, not of what you typed. What was finished is kept. Please report the lines "
    "above, and the command, at https://github.com/lookright/lookright/issues."
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; 0: done, 2: bad input, 70: a bug of ours, 130: interrupted, 143: asked to end (SIGTERM)."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in arguments
    arguments = [argument for argument in arguments if argument != "--debug"]
    warnings.showwarning = _show_warning  # type: ignore[assignment]
    try:
        with ending_at_sigterm():
            _run(_spelled_out(arguments))
    except KeyboardInterrupt as error:
        advice = str(error) or "interrupted. What was finished is kept; the same command goes on from there."
        print(f"lookright: {advice}", file=sys.stderr)
        return error.exit_code if isinstance(error, Interrupted) else 130
    except (InputError, jsonargparse.ArgumentError, OSError) as error:
        if debug:
            traceback.print_exc()
        print(f"lookright: {_readable(error)}", file=sys.stderr)
        return 2
    except Exception:
        traceback.print_exc()
        print(REPORT_BUG, file=sys.stderr)
        return 70
    return 0


def _spelled_out(arguments: list[str]) -> list[str]:
    """`--some-option` as `--some_option`, and an option without a value as true.

    >>> _spelled_out(["train", "--skip-unreadable", "--lr", "-1", "--weights=my-file"])
    ['train', '--skip_unreadable', 'true', '--lr', '-1', '--weights=my-file']
    """
    spelled: list[str] = []
    for position, argument in enumerate(arguments):
        name, equals, value = argument.partition("=")
        if not name.startswith("--") or name == "--help":
            spelled.append(argument)
            continue
        spelled.append("--" + name[2:].replace("-", "_") + equals + value)
        if not equals and (position + 1 == len(arguments) or arguments[position + 1].startswith("--")):
            spelled.append("true")
    return spelled


def _readable(error: Exception) -> str:
    if isinstance(error, InputError):
        return " ".join(str(error).split())
    if isinstance(error, OSError):
        where = f" {str(error.filename)!r}" if error.filename else ""
        return f"The system refuses{where}: {error.strerror or error}. What was finished is kept."
    from lookright.run_directory.settings_file import readable

    return readable(error)


def _run(arguments: list[str]) -> None:
    if arguments[:1] == ["--version"]:
        from importlib.metadata import version

        print(f"lookright {version('lookright')}")
        return
    found: Command | dict[str, Command] | dict[str, Command | dict[str, Command]] = COMMANDS
    name: list[str] = []
    while isinstance(found, dict):
        word = arguments[len(name)] if len(arguments) > len(name) else "--help"
        if word in ("-h", "--help"):
            print(_overview(" ".join(name), found))
            return
        if word not in found:
            known = " ".join(["lookright", *name])
            raise InputError(
                f"No command {word!r}.{nearest(word, found)} Expected {', '.join(found)}; see {known} --help."
            )
        found = found[word]
        name.append(word)
    _call(found, " ".join(name), arguments[len(name) :])


def _call(command: Command, name: str, arguments: list[str]) -> None:
    if command in (train, rl_train):
        command(arguments)
        return
    parameters = inspect.signature(command).parameters
    parser = jsonargparse.ArgumentParser(prog=f"lookright {name}", exit_on_error=False)
    listed = [parameter for parameter in parameters.values() if parameter.annotation == list[Path]]
    parser.add_function_arguments(command, as_positional=True, skip={parameter.name for parameter in listed})
    for parameter in listed:
        parser.add_argument(parameter.name, nargs="+", type=Path, help="one or several")
    _require_known_options(arguments, parameters)
    namespace = parser.parse_args(arguments)
    command(**{key: namespace[key] for key in parameters})


def _require_known_options(arguments: list[str], known: Iterable[str]) -> None:
    known = [*known, "help"]
    for argument in arguments:
        option = argument[2:].split("=")[0].split(".")[0].rstrip("+")
        if argument.startswith("--") and option and option not in known:
            raise InputError(f"No option '--{option}'.{nearest(option, known, '--')} See --help.")


def _train_or_resume(
    name: str,
    arguments: list[str],
    settings: "SettingsFile",
    train: Callable[[jsonargparse.Namespace], Any],
    resume: Callable[[Path], Any],
) -> Any:
    parser = jsonargparse.ArgumentParser(prog=f"lookright {name}", exit_on_error=False)
    parser.add_argument("--resume", type=Path, help="directory of an interrupted run, which then goes on")
    if any(argument.split("=")[0] == "--resume" for argument in arguments):
        return resume(parser.parse_args(arguments).resume)
    settings.add_to(parser)
    arguments = [_today_name(argument, settings.renamed) for argument in arguments]
    _require_known_options(arguments, [*settings.names, "config", "resume"])
    namespace = parser.parse_args(arguments)
    del namespace["resume"]
    return train(namespace)


def _today_name(argument: str, renamed: Mapping[str, str]) -> str:
    name, equals, value = argument.removeprefix("--").partition("=")
    if not argument.startswith("--") or name not in renamed:
        return argument
    warnings.warn(f"--{name} is called --{renamed[name].replace('_', '-')} now.", stacklevel=2)
    return f"--{renamed[name]}{equals}{value}"


def _overview(group: str, commands: Mapping[str, Any]) -> str:
    width = max(map(len, commands))
    lines = [
        f"  {name:<{width}}  {command.__doc__.splitlines()[0] if callable(command) else ', '.join(command)}"
        for name, command in commands.items()
    ]
    return "\n".join(
        [
            f"usage: lookright {group + ' ' if group else ''}COMMAND [--help] [--debug] ...",
            "",
            *lines,
            "",
            "--help behind a command or a group tells more; --debug shows the traceback of an error.",
        ]
    )


def _print_splits(splits: dict[str, dict[str, Any]]) -> None:
    for split, values in splits.items():
        print(split)
        _print_values(values)


def _print_values(values: dict[str, Any]) -> None:
    for name, value in values.items():
        shown = "undefined" if value is None else f"{value:.3f}" if isinstance(value, float) else value
        print(f"  {name:<28} {shown}")


def _show_warning(message: Warning | str, *_: Any) -> None:
    print(f"warning: {message}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
