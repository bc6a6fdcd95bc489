"""Wrappers for several devices that hide the model are refused."""

import pytest
import torch
from torch import nn
from torch.nn.parallel import DataParallel

from lookright import Classifier, InputError


def network() -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 6, 3, 2), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 3))


def test_a_wrapped_model_is_refused():
    with pytest.raises(InputError, match=r"wrapped in DataParallel.*DistributedDataParallel\(Classifier\(model\)\)"):
        Classifier(DataParallel(network()))


def test_replicas_of_data_parallel_are_refused():
    replica = Classifier(network(), input_size=(3, 9, 9))
    replica._is_replica = True  # What DataParallel marks its copies with.
    with pytest.raises(InputError, match="DataParallel runs a classifier in several threads"):
        replica(torch.zeros(1, 3, 9, 9))
