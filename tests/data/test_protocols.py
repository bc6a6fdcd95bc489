import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonargparse import ArgumentParser

from lookright.data.bestiary import CREATURES, KNOWN_CREATURES, LEVELS, UNKNOWN_CREATURES
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
from lookright.errors import InputError


def make_table(labels, domains, images, images_at_home=None) -> pd.DataFrame:
    home = dict(zip(labels, domains, strict=False))
    rows = [
        (f"{label}-{domain}-{number}.png", label, domain)
        for label in labels
        for domain in domains
        for number in range(images_at_home if images_at_home and home.get(label) == domain else images)
    ]
    return pd.DataFrame(rows, columns=["image", "label", "domain"])


BESTIARY = make_table(CREATURES, LEVELS, images=24, images_at_home=240)
SMALL = make_table("abc", ["w", "x", "y", "z"], images=20)
PROTOCOLS = [
    Shortcut(train_domains=3, rho=0.5),
    LeaveOneDomainOut(held_out="x"),
    LeaveOneDomainOut(held_out="x", oracle=True),
    LeaveTwoDomainsOut(held_out=["x", "w"]),
    TrainOnOneDomain(domain="x"),
    WithinDomain(domain="x"),
    WithinDomain(),
    OpenSet(unknown=["b"]),
]


@pytest.mark.parametrize("protocol", PROTOCOLS, ids=lambda protocol: type(protocol).__name__)
class TestEveryProtocol:
    def test_leaves_the_table_as_it_was(self, protocol):
        before = SMALL.copy()
        protocol.assign(SMALL)
        pd.testing.assert_frame_equal(SMALL, before)

    def test_uses_an_image_at_most_once_and_changes_nothing_but_the_split(self, protocol):
        assigned = protocol.assign(SMALL)
        assert assigned["image"].is_unique
        pd.testing.assert_frame_equal(assigned.drop(columns="split"), SMALL.loc[assigned.index])
        assert assigned.index.is_monotonic_increasing

    def test_is_a_function_of_the_seed(self, protocol):
        one = protocol.assign(SMALL, seed=1)
        pd.testing.assert_frame_equal(one, protocol.assign(SMALL, seed=1))
        assert not one.equals(protocol.assign(SMALL, seed=2))

    def test_trains_selects_and_tests(self, protocol):
        assigned = protocol.assign(SMALL)
        assert {"train", "val"} < set(assigned["split"])
        assert set(assigned["split"]) - {"train", "val", "oracle_val"} == set(protocol.test_splits(assigned))

    def test_trains_on_every_label_that_a_closed_split_holds(self, protocol):
        assigned = protocol.assign(SMALL)
        closed = assigned[~assigned["split"].isin(protocol.open_set_splits)]
        assert set(closed["label"]) == set(assigned.loc[assigned["split"] == "train", "label"])


def counts(assigned: pd.DataFrame, split: str) -> pd.DataFrame:
    rows = assigned[assigned["split"] == split]
    return rows.groupby(["label", "domain"]).size().unstack(fill_value=0)


class TestShortcut:
    assigned = Shortcut(rho=0.9, labels=KNOWN_CREATURES).assign(BESTIARY)

    def test_each_label_lies_in_its_own_domain_in_a_share_rho_of_train_and_val(self):
        for split, least in (("train", 1500), ("val", 150)):
            table = counts(self.assigned, split)
            assert table.shape == (8, 8)
            assert table.to_numpy().sum() >= least
            assert set(table.idxmax(axis=1)) == set(table.columns)  # no domain is two labels' own
            share = table.max(axis=1) / table.sum(axis=1)
            assert share.between(0.88, 0.92).all()
            assert table.sum(axis=1).nunique() == 1  # balanced

    def test_the_rest_is_spread_over_all_other_training_domains(self):
        table = counts(self.assigned, "train")
        rest = table.where(table.lt(table.max(axis=1), axis=0))
        assert rest.min(axis=1).ge(1).all()
        assert (rest.max(axis=1) - rest.min(axis=1)).le(2).all()

    def test_tests_are_balanced_and_of_the_right_pairs(self):
        own = counts(self.assigned, "train").idxmax(axis=1)
        for split in ("aligned", "conflicting", "unseen"):
            table = counts(self.assigned, split).stack()
            table = table[table > 0]
            assert table.nunique() == 1
            is_own = [own[label] == domain for label, domain in table.index]
            is_shown = [domain in set(own) for _, domain in table.index]
            assert set(zip(is_own, is_shown, strict=True)) == {
                {"aligned": (True, True), "conflicting": (False, True), "unseen": (False, False)}[split]
            }
            assert len(table) == {"aligned": 8, "conflicting": 56, "unseen": 32}[split]

    def test_own_domains_are_those_with_most_images(self):
        own = counts(self.assigned, "train").idxmax(axis=1)
        assert own.to_dict() == dict(zip(KNOWN_CREATURES, LEVELS, strict=False))

    def test_among_equals_chance_decides(self):
        table = make_table(KNOWN_CREATURES, LEVELS, images=10)
        own = [tuple(counts(Shortcut().assign(table, seed=seed), "train").idxmax(axis=1)) for seed in range(10)]
        assert len(set(own)) > 5

    def test_all_labels_are_used_whatever_their_names_unless_some_are_named(self):
        table = make_table(["Archvile", "Demon"], LEVELS, images=4)
        assert set(Shortcut(train_domains=2).assign(table)["label"]) == {"Archvile", "Demon"}
        named = Shortcut(labels=["Archvile", "Fatso"], train_domains=2).assign(BESTIARY)
        assert set(named["label"]) == {"Archvile", "Fatso"}

    @given(st.integers(2, 5), st.integers(0, 3), st.floats(0, 1), st.integers(4, 60), st.integers(0, 9))
    @settings(max_examples=50)
    def test_splits_are_balanced_whatever_the_sizes(self, labels, more_domains, place, images, seed):
        domains = labels + more_domains
        rho = 1 / domains + place * (1 - 1 / domains)
        table = make_table("abcde"[:labels], [f"d{n}" for n in range(domains + 1)], images)
        assigned = Shortcut(rho=rho, train_domains=domains).assign(table, seed)
        assert assigned["image"].is_unique
        for split in set(assigned["split"]):
            assert counts(assigned, split).sum(axis=1).nunique() == 1
        fitted = assigned[assigned["split"].isin(["train", "val"])].groupby(["label", "domain"]).size().unstack()
        for label in fitted.index:
            in_own = rho * fitted.loc[label].sum()
            assert abs(fitted.loc[label] - in_own).min() <= 1

    @pytest.mark.parametrize(
        ("protocol", "message"),
        [
            (Shortcut(), "The table has 4 domains"),
            (Shortcut(train_domains=2, rho=0.9), "3 labels .* and 2 training domains"),
            (Shortcut(train_domains=3, labels=["a", "nix"]), "Fewer than two images of label 'nix' in domain 'w'"),
        ],
    )
    def test_too_small_a_table(self, protocol, message):
        with pytest.raises(InputError, match=message):
            protocol.assign(SMALL)

    def test_table_without_domains(self):
        with pytest.raises(InputError, match="names no domains; its columns are image, label"):
            Shortcut().assign(SMALL.drop(columns="domain"))
        with pytest.raises(InputError, match="names no domains"):
            Shortcut().assign(SMALL.assign(domain=""))

    @pytest.mark.parametrize(
        "arguments", [{"rho": 0.1}, {"rho": 1.5}, {"train_domains": 1}, {"val_share": 1.0}, {"test_share": 0.0}]
    )
    def test_arguments_out_of_range(self, arguments):
        with pytest.raises(InputError, match=f"{next(iter(arguments))} is {next(iter(arguments.values()))}"):
            Shortcut(**arguments)


def test_leave_one_domain_out():
    assigned = LeaveOneDomainOut(held_out="x", val_share=0.1, test_share=0.2).assign(SMALL)
    assert len(assigned) == len(SMALL)
    assert counts(assigned, "out_of_distribution").to_dict() == {"x": {"a": 20, "b": 20, "c": 20}}
    for split, number in (("train", 14), ("val", 2), ("in_distribution", 4)):
        assert counts(assigned, split).eq(number).all(axis=None)
        assert list(counts(assigned, split)) == ["w", "y", "z"]


def test_the_oracle_selects_on_a_part_of_the_held_out_domain_that_is_not_tested_on():
    plain = LeaveOneDomainOut(held_out="x", val_share=0.2).assign(SMALL)
    assigned = LeaveOneDomainOut(held_out="x", val_share=0.2, oracle=True).assign(SMALL)
    assert counts(assigned, "oracle_val").to_dict() == {"x": {"a": 4, "b": 4, "c": 4}}
    assert counts(assigned, "out_of_distribution").to_dict() == {"x": {"a": 16, "b": 16, "c": 16}}
    elsewhere = assigned["domain"] != "x"
    pd.testing.assert_frame_equal(assigned[elsewhere], plain[elsewhere])
    with pytest.raises(InputError, match="Expected a val_share above 0"):
        LeaveOneDomainOut(held_out="x", val_share=0, oracle=True)


def test_leave_two_domains_out():
    assigned = LeaveTwoDomainsOut(held_out=["x", "w"], val_share=0.2).assign(SMALL, seed=3)
    for domain in ("x", "w"):
        assert counts(assigned, f"held_out_{domain}").to_dict() == {domain: {"a": 20, "b": 20, "c": 20}}
    fitted = assigned[assigned["split"].isin(["train", "val"])]
    assert set(fitted["domain"]) == {"y", "z"}
    both = LeaveOneDomainOut(held_out="x", val_share=0.2).assign(SMALL, seed=3)
    pd.testing.assert_frame_equal(fitted, both.loc[fitted.index])


@pytest.mark.parametrize("held_out", [[], ["x"], ["x", "x"], ["w", "x", "y"]])
def test_leave_two_domains_out_needs_two(held_out):
    with pytest.raises(InputError, match="Expected two domains"):
        LeaveTwoDomainsOut(held_out=held_out)


def test_train_on_one_domain():
    assigned = TrainOnOneDomain(domain="x").assign(SMALL)
    assert list(counts(assigned, "out_of_distribution")) == ["w", "y", "z"]
    assert counts(assigned, "out_of_distribution").eq(20).all(axis=None)
    assert [list(counts(assigned, split)) for split in ("train", "val", "in_distribution")] == [["x"]] * 3


def test_within_one_domain_and_all():
    assert set(WithinDomain(domain="x").assign(SMALL)["domain"]) == {"x"}
    assert len(WithinDomain().assign(SMALL)) == len(SMALL)
    assert len(WithinDomain().assign(SMALL.drop(columns="domain"))) == len(SMALL)


def test_at_most_so_many_images_of_each_pair():
    assigned = LeaveOneDomainOut(held_out="MAP01", images_per_pair=10).assign(BESTIARY)
    assert assigned.groupby(["label", "domain"]).size().eq(10).all()


def test_open_set_keeps_unknown_labels_from_training():
    assigned = OpenSet(unknown=UNKNOWN_CREATURES).assign(BESTIARY)
    assert OpenSet(unknown=UNKNOWN_CREATURES).open_set_splits == {"unknown"}
    assert set(assigned.loc[assigned["split"] == "unknown", "label"]) == set(UNKNOWN_CREATURES)
    assert set(assigned.loc[assigned["split"] != "unknown", "label"]) == set(KNOWN_CREATURES)
    assert OpenSet.test_splits(assigned) == ["test", "unknown"]


@pytest.mark.parametrize("unknown", [[], ["nix"], ["a", "b"]])
def test_open_set_needs_known_and_unknown_labels(unknown):
    with pytest.raises(InputError, match="the labels are a, b, c"):
        OpenSet(unknown=unknown).assign(SMALL)


@pytest.mark.parametrize(
    "protocol",
    [
        LeaveOneDomainOut(held_out="q"),
        LeaveTwoDomainsOut(held_out=["w", "q"]),
        TrainOnOneDomain(domain="q"),
        WithinDomain(domain="q"),
    ],
)
def test_unknown_domain(protocol):
    with pytest.raises(InputError, match=r"No domain 'q' in the table. Expected one of w, x, y, z"):
        protocol.assign(SMALL)


def test_given_splits():
    table = SMALL.iloc[:4].assign(split=["train", "val", "odd", ""])
    pd.testing.assert_frame_equal(GivenSplits().assign(table), table.iloc[:3])
    assert GivenSplits(open_set=["odd"]).open_set_splits == {"odd"}
    assert GivenSplits.test_splits(table.iloc[:3]) == ["odd"]
    with pytest.raises(InputError, match="no column 'split'; it has image, label, domain"):
        GivenSplits().assign(SMALL)


def test_a_configuration_file_can_name_a_protocol():
    parser = ArgumentParser(exit_on_error=False)
    parser.add_argument("--protocol", type=Protocol)
    shortcut = {"class_path": "lookright.data.protocols.Shortcut", "init_args": {"rho": 0.7, "labels": ["a", "b"]}}
    assert parser.instantiate_classes(parser.parse_object({"protocol": shortcut})).protocol == Shortcut(
        rho=0.7, labels=["a", "b"]
    )
