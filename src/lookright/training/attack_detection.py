"""How many attacks pass a classifier that knows genuine images and attacks."""

from collections.abc import Sequence

import torch
from torch import Tensor

from lookright import metrics
from lookright.run_directory import none_for_nan
from lookright.training.evaluation import SplitEvaluation


def attack_summary(
    tests: Sequence[SplitEvaluation], split: SplitEvaluation, classes: list[str], bona_fide: str
) -> dict[str, float | None]:
    """APCER at 1 % BPCER by the probability that an image is not bona fide; None where undefined.

    Every label but one is a type of attack, those that training never showed as well. `worst_attack` is the rate of the
    type that passes most often, as ISO/IEC 30107-3 asks, `all_attacks` that of all together.

    Args:
        tests: whose bona fide images set the threshold together.
        split: whose attacks are counted.
        classes: the names of the class indices.
        bona_fide: the label of genuine images.
    """

    def scores(evaluation: SplitEvaluation) -> tuple[Tensor, Tensor]:
        genuine = torch.from_numpy((evaluation.table["label"] == bona_fide).to_numpy(copy=True))
        others = torch.arange(len(classes)) != classes.index(bona_fide)
        return evaluation.logits.softmax(1)[:, others].sum(1), genuine

    genuine = torch.cat([score[is_genuine] for score, is_genuine in map(scores, tests)])
    score, is_genuine = scores(split)
    attack_type = torch.from_numpy(split.table["label"].factorize()[0])[~is_genuine]
    score = torch.cat([genuine, score[~is_genuine]])
    is_attack = torch.arange(len(score)) >= len(genuine)
    attack_type = torch.cat([torch.zeros(len(genuine), dtype=attack_type.dtype), attack_type])
    rates = {
        "apcer_at_1_bpcer_worst_attack": metrics.apcer_at_bpcer(score, is_attack, attack_type=attack_type).item(),
        "apcer_at_1_bpcer_all_attacks": metrics.apcer_at_bpcer(score, is_attack).item(),
    }
    return none_for_nan(rates)
