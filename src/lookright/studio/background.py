"""What the page starts and then asks after: the check of the folder, and a training."""

from collections.abc import Sequence
from contextlib import suppress

from werkzeug.wrappers import Request, Response

from lookright.errors import InputError
from lookright.studio.annotations import Annotations
from lookright.studio.change import change
from lookright.studio.findings import Findings
from lookright.studio.request import body_of
from lookright.studio.response import Answers, as_json
from lookright.studio.scores import RunScores
from lookright.studio.trainer import Trainer


class Background:
    """Starts what takes longer than an answer may, and tells how far it is.

    Args:
        annotations: whose agreement is among the findings.
        findings: of the folder.
        trainer: on the folder.
        runs: the last of which is set beside the first; may grow.
    """

    def __init__(
        self, annotations: Annotations, findings: Findings, trainer: Trainer, runs: Sequence[RunScores]
    ) -> None:
        self._annotations = annotations
        self._findings = findings
        self._trainer = trainer
        self._runs = runs
        self.answers: Answers = {
            ("GET", "api/findings"): self._found,
            ("POST", "api/findings"): self._find,
            ("GET", "api/train"): self._training,
            ("POST", "api/train"): self._train,
        }

    def _found(self, request: Request) -> Response:
        return as_json(self._findings.read() | {"agreement": self._annotations.agreement()})

    def _find(self, request: Request) -> Response:
        body_of(request)
        self._findings.start()
        return as_json({})

    def _training(self, request: Request) -> Response:
        """How far a training is, and what the last one changed."""
        found = None
        if self._runs:
            with suppress(InputError):  # a protocol that does not fit this folder holds out nothing that can be told
                found = change(self._runs[0] if len(self._runs) > 1 else None, self._runs[-1])
        return as_json(self._trainer.read() | {"runs": [scores.about for scores in self._runs], "change": found})

    def _train(self, request: Request) -> Response:
        body_of(request)
        self._trainer.start()
        return as_json(self._trainer.read())
