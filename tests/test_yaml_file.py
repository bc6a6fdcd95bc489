import pytest

from lookright import InputError
from lookright.yaml_file import read_yaml


def laughs(levels):
    lines = ["a0: &a0 [0, 0, 0, 0, 0, 0, 0, 0, 0, 0]"]
    return "\n".join(lines + [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, levels)])


def merges(levels):
    return "\n".join(["a0: &a0 {x: 1}"] + [f"a{n}: &a{n} {{<<: [*a{n - 1}, *a{n - 1}]}}" for n in range(1, levels)])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("a: [", "as YAML"),
        ("a: !!python/object/apply:os.getcwd []", "as YAML"),
        ("[" * 60 + "]" * 60, "nested more than 50 deep"),
        ("[" * 5000, "nested more than 50 deep"),
        (laughs(9), "more than 100,000 values"),
        (merges(30), "more than 100,000 values"),
        ("a: &a [*a]", "reference '.a', which stands for no whole value"),
        ("? {a: 1}\n: b", "as YAML"),
        ("# " + "x" * 2**20, "bytes; expected a YAML file of at most"),
    ],
)
def test_a_foreign_file_is_refused_in_a_sentence(tmp_path, content, message):
    (tmp_path / "study.yaml").write_text(content)
    with pytest.raises(InputError, match=f"study.yaml.*{message}"):
        read_yaml(tmp_path / "study.yaml")
