from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from lookright.run_directory.file_name import file_name

NAMES = st.text(st.characters() | st.sampled_from("/\\.:- "), min_size=1)


@given(NAMES)
def test_a_name_is_one_part_of_a_path_and_never_hidden(name):
    made = file_name(name)
    assert Path("folder", made).parent == Path("folder")
    assert Path("folder", made).resolve().parent == Path("folder").resolve()
    assert len(made.encode()) <= 255
    assert not made.startswith((".", "-"))


@given(NAMES, NAMES)
def test_different_names_are_different_files(one, other):
    assert (file_name(one) == file_name(other)) == (one == other)


def test_names_that_look_alike():
    assert len(file_name("字" * 100).encode()) < 240
    names = ["a b", "a-b", "a/b", "a,b", "-a-b", "a" * 300, "a" * 301, "../a-b", ""]
    assert len({file_name(name) for name in names}) == len(names)
