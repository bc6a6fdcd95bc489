"""Images and masks: the native folder, its splits, and the built-in data set."""

from lookright.data.contact_sheet import contact_sheet
from lookright.data.dataset import Augmentation, Collate, ImageDataset, ShuffledBatches
from lookright.data.mask_controls import Inverted, MaskControl, RandomImage, Uniform
from lookright.data.mask_faults import Boxed, Dilated, Shifted, Shrunk
from lookright.data.protocols import (
    GivenSplits,
    LeaveOneDomainOut,
    LeaveTwoDomainsOut,
    OpenSet,
    Protocol,
    Shortcut,
    TrainOnOneDomain,
    WithinDomain,
)
from lookright.data.samples import Sample, Samples, read_samples
from lookright.data.table import class_names, read_table

__all__ = [
    "Augmentation",
    "Boxed",
    "Collate",
    "Dilated",
    "GivenSplits",
    "ImageDataset",
    "Inverted",
    "LeaveOneDomainOut",
    "LeaveTwoDomainsOut",
    "MaskControl",
    "OpenSet",
    "Protocol",
    "RandomImage",
    "Sample",
    "Samples",
    "Shifted",
    "Shortcut",
    "Shrunk",
    "ShuffledBatches",
    "TrainOnOneDomain",
    "Uniform",
    "WithinDomain",
    "class_names",
    "contact_sheet",
    "read_samples",
    "read_table",
]
