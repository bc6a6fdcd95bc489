"""Protocols: which image of a table is used for what, as a column `split`.

A table has one row per image with the columns `image` and `label`, and `domain` where the protocol needs it. A pair is
a (label, domain), also called a group. Models are fitted on `train` and selected on `val`; other splits are tests, but
for `oracle_val`: a part of the test domain on which the oracle, and nobody else, selects.
"""

from lookright.data.protocols.given_splits import GivenSplits
from lookright.data.protocols.leave_one_domain_out import LeaveOneDomainOut
from lookright.data.protocols.leave_two_domains_out import LeaveTwoDomainsOut
from lookright.data.protocols.open_set import OpenSet
from lookright.data.protocols.protocol import ORACLE_SPLIT, UNTESTED_SPLITS, Protocol, domain_names
from lookright.data.protocols.shortcut import Shortcut
from lookright.data.protocols.stratified import Stratified
from lookright.data.protocols.train_on_one_domain import TrainOnOneDomain
from lookright.data.protocols.within_domain import WithinDomain

__all__ = [
    "ORACLE_SPLIT",
    "UNTESTED_SPLITS",
    "GivenSplits",
    "LeaveOneDomainOut",
    "LeaveTwoDomainsOut",
    "OpenSet",
    "Protocol",
    "Shortcut",
    "Stratified",
    "TrainOnOneDomain",
    "WithinDomain",
    "domain_names",
]
