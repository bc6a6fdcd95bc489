"""What the page asks for while an image is annotated."""

from collections.abc import Sequence
from typing import Any

from werkzeug.exceptions import BadRequest
from werkzeug.wrappers import Request, Response

from lookright.studio.annotations import Annotation, Annotations
from lookright.studio.drawing import EVIDENCE, Codes, drawn, painted
from lookright.studio.folder import StudioFolder
from lookright.studio.places import Places
from lookright.studio.proposals import SHAPES, Proposals
from lookright.studio.request import body_of, image_of
from lookright.studio.response import Answers, as_json
from lookright.studio.scores import RunScores


class Annotating:
    """Draws into masks, and tells what they are.

    Args:
        folder: that is shown.
        annotations: that are drawn.
        places: of the annotators.
        runs: whose alignment follows the masks; may grow.
        proposals: that can be taken.
    """

    def __init__(
        self,
        folder: StudioFolder,
        annotations: Annotations,
        places: Places,
        runs: Sequence[RunScores],
        proposals: Proposals,
    ) -> None:
        self._folder = folder
        self._annotations = annotations
        self._places = places
        self._runs = runs
        self._proposals = proposals
        self.answers: Answers = {
            ("GET", "api/annotation"): self._annotation,
            ("POST", "api/draw"): self._draw,
            ("POST", "api/undo"): self._undo,
            ("POST", "api/place"): self._place,
        }

    def _annotation(self, request: Request) -> Response:
        image = image_of(request)
        found = self._annotations.read(image, request.args.get("annotator", ""))
        row = self._folder.row(image)
        return as_json(_described(found) | {name: row.get(name, "") for name in ("label", "split", "domain")})

    def _draw(self, request: Request) -> Response:
        image, annotator, version, body = body_of(request)
        operation = body.get("operation")
        if not isinstance(operation, dict):
            raise BadRequest("Expected an operation.")

        def draw(codes: Codes) -> Codes:
            if operation.get("shape") not in SHAPES:
                return drawn(codes, operation)
            return painted(codes, self._proposals.marked(image, operation, *codes.shape), operation.get("paint"))

        return self._changed(image, self._annotations.change(image, annotator, version, draw))

    def _undo(self, request: Request) -> Response:
        image, annotator, version, _ = body_of(request)
        return self._changed(image, self._annotations.undo(image, annotator, version))

    def _changed(self, image: str, annotation: Annotation) -> Response:
        for scores in self._runs:
            if image in scores.by_image:
                scores.align(image)
        return as_json(_described(annotation))

    def _place(self, request: Request) -> Response:
        image, annotator, _, _ = body_of(request)
        self._places.write(annotator, image)
        return as_json({})


def _described(annotation: Annotation) -> dict[str, Any]:
    codes = annotation.codes
    return {
        "version": annotation.version,
        "is_own": annotation.is_own,
        "can_undo": annotation.is_own,
        "height": codes.shape[0],
        "width": codes.shape[1],
        "share": float((codes == EVIDENCE).mean()),
    }
