"""The page as an application: who may ask, which part of it answers, and what is said where it cannot."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from werkzeug.exceptions import HTTPException, NotFound
from werkzeug.wrappers import Request, Response

from lookright.errors import InputError, said_by_system
from lookright.studio.annotating import Annotating
from lookright.studio.annotations import Annotations, Outdated
from lookright.studio.background import Background
from lookright.studio.columns import Columns
from lookright.studio.findings import Findings
from lookright.studio.folder import NotShown, StudioFolder
from lookright.studio.guard import LARGEST_BODY, require_allowed
from lookright.studio.pictures import Pictures
from lookright.studio.places import Places
from lookright.studio.proposals import Proposals
from lookright.studio.response import Answers, as_json
from lookright.studio.scores import RunScores
from lookright.studio.trainer import Trainer
from lookright.training.run import TrainedRun

PAGE = Path(__file__).parent / "page"
TYPES = {".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".txt": "text/plain"}

HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}


class Studio:
    """The page as a WSGI application.

    Args:
        folder: that is shown.
        token: that every address begins with.
        port: that it is served at.
        annotator: the name that masks are drawn under until the page gives another.
        runs: whose maps are shown, by the name that the page gives them, beside those that an earlier page trained.
        segmenter: the import path of a user's own, see `lookright.studio.proposals`.
        config: settings of the trainings that the page starts; None: those of the first run.
        notice: that the page begins with.

    Raises:
        InputError: the segmenter cannot be imported.
    """

    def __init__(
        self,
        folder: StudioFolder,
        token: str,
        port: int,
        annotator: str,
        runs: Mapping[str, TrainedRun] | None = None,
        segmenter: str | None = None,
        config: Path | None = None,
        notice: str = "",
    ) -> None:
        self.folder = folder
        self.token = token
        self.port = port
        self.annotations = Annotations(folder)
        self.findings = Findings(folder)
        named = [RunScores(name, run, folder) for name, run in (runs or {}).items()]
        self.trainer = Trainer(folder, named[0].run if named else None, config, self._trained)
        former = [self._scores(run) for run in self.trainer.former([scores.run for scores in named])]
        # The page sets the last run beside the first: one that was trained, unless two were named.
        self.runs = [*named[:1], *former, *named[1:]]
        self.page = {path.name: path for path in PAGE.iterdir() if path.suffix in TYPES}
        places, proposals = Places(folder), Proposals(folder, self.runs, segmenter)
        self.answers: Answers = (
            Columns(folder, annotator, self.annotations, places, self.runs, proposals, notice).answers
            | Pictures(folder, self.annotations, proposals).answers
            | Annotating(folder, self.annotations, places, self.runs, proposals).answers
            | Background(self.annotations, self.findings, self.trainer, self.runs).answers
        )

    def start(self) -> None:
        """Begin to score the folder's images."""
        for scores in self.runs:
            scores.start()

    def stop(self) -> None:
        """End what goes on in the background."""
        self.trainer.stop()
        for scores in self.runs:
            scores.stop()

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Any:
        """One request."""
        request = Request(environ)
        request.max_content_length = LARGEST_BODY
        response = self.respond(request)
        for name, value in HEADERS.items():
            response.headers[name] = value
        response.headers.setdefault("Cache-Control", "no-store")
        return response(environ, start_response)

    def respond(self, request: Request) -> Response:
        """The answer, or in a sentence why there is none."""
        try:
            path = require_allowed(request, self.token, self.port)
            if request.method == "GET" and path in ("", *self.page):
                return self._file(path or "index.html")
            answer = self.answers.get((request.method, path))
            if answer is None:
                raise NotFound("The page asks for no such thing.")
            return answer(request)
        except HTTPException as error:
            return as_json({"error": error.description}, error.code or 500)
        except NotShown as error:
            return as_json({"error": str(error)}, 404)
        except Outdated as error:
            return as_json({"error": str(error), "version": error.version}, 409)
        except InputError as error:
            return as_json({"error": " ".join(str(error).split())}, 400)
        except OSError as error:
            return as_json({"error": said_by_system(error)}, 500)

    def _file(self, name: str) -> Response:
        path = self.page[name]
        return Response(path.read_bytes(), mimetype=TYPES[path.suffix])

    def _trained(self, run: TrainedRun) -> None:
        self.runs.append(self._scores(run))
        self.runs[-1].start()

    def _scores(self, run: TrainedRun) -> RunScores:
        return RunScores(f"trained {run.directory.name}", run, self.folder)
