"""Everything that the grid sorts and filters by, column by column."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from werkzeug.wrappers import Request, Response

from lookright.studio.annotations import Annotations
from lookright.studio.enough import ENOUGH
from lookright.studio.folder import StudioFolder
from lookright.studio.places import Places
from lookright.studio.proposals import Proposals
from lookright.studio.request import run_of
from lookright.studio.response import Answers, as_json
from lookright.studio.scores import RunScores, Score, disagreement
from lookright.studio.teaching import choose

MOST_ASKED_FOR = 200


class Columns:
    """Tells of every image at once what the table, the annotators and the runs say.

    Args:
        folder: that is shown.
        annotator: the name that masks are drawn under until the page gives another.
        annotations: of the folder.
        places: of the annotators.
        runs: by their numbers; may grow.
        proposals: that the page can make.
        notice: that the page begins with; empty for none.
    """

    def __init__(
        self,
        folder: StudioFolder,
        annotator: str,
        annotations: Annotations,
        places: Places,
        runs: Sequence[RunScores],
        proposals: Proposals,
        notice: str = "",
    ) -> None:
        self._folder = folder
        self._annotator = annotator
        self._annotations = annotations
        self._places = places
        self._runs = runs
        self._proposals = proposals
        self._notice = notice
        self._between: dict[str, tuple[Score, Score, tuple[float, float]]] = {}
        self.answers: Answers = {
            ("GET", "api/folder"): self._table,
            ("GET", "api/scores"): self._scores,
            ("GET", "api/teach"): self._teach,
        }

    def _table(self, request: Request) -> Response:
        table = self._folder.table
        columns = {name: table[name].tolist() for name in ("image", "label", "split", "domain") if name in table}
        who = self._annotations.by_image()
        return as_json(
            {
                "name": self._folder.root.name,
                "notice": self._notice,
                "columns": columns
                | {
                    "has_mask": (table["mask_weight"] > 0).tolist(),
                    "annotators": [who.get(image, []) for image in table["image"]],
                },
                "annotator": self._annotator,
                "places": self._places.read(),
                "runs": [scores.about for scores in self._runs],
                "enough": ENOUGH,
                "has_segmenter": self._proposals.segmenter is not None,
            }
        )

    def _scores(self, request: Request) -> Response:
        """What the runs say, in the order of the table: the class, how sure, and the share of attention in the mask."""
        images = self._folder.table["image"].tolist()
        found: list[dict[str, Any]] = []
        for scores in self._runs:
            known = [scores.by_image.get(image) for image in images]
            found.append(
                {
                    **scores.about,
                    "done": sum(score is not None for score in known),
                    "unreadable": len(scores.unreadable),
                    "predicted": [score and scores.run.classes[int(score.probability.argmax())] for score in known],
                    "confidence": [score and round(float(score.probability.max()), 4) for score in known],
                    "alignment": [_rounded(scores.alignment.get(image)) for image in images],
                }
            )
        between: list[tuple[float, float] | None] = []
        if len(self._runs) > 1:
            between = [self._disagreement(image) for image in images]
        return as_json(
            {
                "runs": found,
                "judged": [pair and _rounded(pair[0]) for pair in between],
                "looked": [pair and _rounded(pair[1]) for pair in between],
            }
        )

    def _disagreement(self, image: str) -> tuple[float, float] | None:
        """Of the first run and the last one."""
        one, other = (self._runs[number].by_image.get(image) for number in (0, -1))
        if one is None or other is None:
            return None
        known = self._between.get(image)
        if known is None or known[0] is not one or known[1] is not other:
            known = self._between[image] = (one, other, disagreement(one, other))
        return known[2]

    def _teach(self, request: Request) -> Response:
        """The images to draw masks for, best first."""
        table = self._folder.table
        masked = set(table["image"][table["mask_weight"] > 0])
        scores = self._proposals.run(run_of(request))
        trained = table["image"]
        if "split" in table and (table["split"] == "train").any():
            trained = table["image"][table["split"] == "train"]
        wanted = {image: scores.by_image[image] for image in trained if image in scores.by_image}
        labels = dict(zip(table["image"], table["label"], strict=True))
        return as_json({"images": choose(wanted, labels, masked, MOST_ASKED_FOR)})


def _rounded(value: float | None) -> float | None:
    return None if value is None or np.isnan(value) else round(value, 4)
