"""Training methods: each adds its guidance to the task's loss."""

from lookright.methods.abn import ABN
from lookright.methods.adl import ADL
from lookright.methods.aim import AIM
from lookright.methods.align import ALIGN
from lookright.methods.alternating import Alternating
from lookright.methods.auto_weight import AutoWeight
from lookright.methods.background_swap import BackgroundSwap
from lookright.methods.camal import CAMAL
from lookright.methods.care import CARE
from lookright.methods.cft import CFT
from lookright.methods.cyborg import CYBORG
from lookright.methods.dfr import DFR
from lookright.methods.divisive_decisions import DivisiveDecisions
from lookright.methods.dre import DRE
from lookright.methods.egat import EGAT
from lookright.methods.energy_guidance import EnergyGuidance
from lookright.methods.entropy_regulariser import EntropyRegulariser
from lookright.methods.erm import ERM
from lookright.methods.evidence_alone import EvidenceAlone
from lookright.methods.evidence_cutmix import EvidenceCutMix
from lookright.methods.explanation_consistency import ExplanationConsistency
from lookright.methods.gals import GALS
from lookright.methods.grad_mask import GradMask
from lookright.methods.gradia import GRADIA
from lookright.methods.graft import Graft
from lookright.methods.group_dro import GroupDRO
from lookright.methods.haics import HAICS
from lookright.methods.harmonization import Harmonization
from lookright.methods.hsplid import HSPLID
from lookright.methods.jtt import JTT
from lookright.methods.labelled_views import LabelledViews
from lookright.methods.learning_to_look import LearningToLook
from lookright.methods.map_guidance import MapGuidance
from lookright.methods.mentor import MENTOR
from lookright.methods.method import Loss, Method, Sum, Views
from lookright.methods.provenance import Provenance
from lookright.methods.r4 import R4
from lookright.methods.reach import reaches_backbone
from lookright.methods.res import RES
from lookright.methods.rrr import RRR
from lookright.methods.sage import SAGE
from lookright.methods.saliency_mixup import SaliencyMixup
from lookright.methods.sgdrop import SGDrop
from lookright.methods.sgt import SGT

__all__ = [
    "ABN",
    "ADL",
    "AIM",
    "ALIGN",
    "CAMAL",
    "CARE",
    "CFT",
    "CYBORG",
    "DFR",
    "DRE",
    "EGAT",
    "ERM",
    "GALS",
    "GRADIA",
    "HAICS",
    "HSPLID",
    "JTT",
    "MENTOR",
    "R4",
    "RES",
    "RRR",
    "SAGE",
    "SGT",
    "Alternating",
    "AutoWeight",
    "BackgroundSwap",
    "DivisiveDecisions",
    "EnergyGuidance",
    "EntropyRegulariser",
    "EvidenceAlone",
    "EvidenceCutMix",
    "ExplanationConsistency",
    "GradMask",
    "Graft",
    "GroupDRO",
    "Harmonization",
    "LabelledViews",
    "LearningToLook",
    "Loss",
    "MapGuidance",
    "Method",
    "Provenance",
    "SGDrop",
    "SaliencyMixup",
    "Sum",
    "Views",
    "reaches_backbone",
]
