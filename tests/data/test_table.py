import shutil

import pandas as pd
import pytest

from lookright import InputError
from lookright.data.table import class_names, fingerprint, read_table


def change(folder, **columns):
    pd.read_csv(folder / "labels.csv").assign(**columns).to_csv(folder / "labels.csv", index=False)


def test_an_empty_mask_cell_is_an_absent_mask(squares):
    table = read_table(squares)
    assert (table["mask_weight"] == (table["mask"] != "").astype(float)).all()
    assert 0 < table["mask_weight"].mean() < 1


def test_a_given_weight_counts_where_there_is_a_mask(own_squares):
    change(own_squares, mask_weight=0.5)
    table = read_table(own_squares)
    assert set(table["mask_weight"]) == {0.0, 0.5}


@pytest.mark.parametrize("weight", ["heavy", "-1", "inf"])
def test_a_weight_that_is_no_number_is_refused(own_squares, weight):
    change(own_squares, mask_weight=weight)
    with pytest.raises(InputError, match=rf"mask_weight '{weight}' in line 2"):
        read_table(own_squares)


def test_a_box_is_evidence(own_squares):
    change(own_squares, mask=float("nan"), box="1 2 3 4")
    assert (read_table(own_squares)["mask_weight"] == 1).all()


def test_a_class_may_be_called_nan(own_squares):
    change(own_squares, label="NA")
    assert class_names(read_table(own_squares)) == ["NA"]


@pytest.mark.parametrize("column", ["image", "label"])
def test_a_missing_column_is_named(own_squares, column):
    pd.read_csv(own_squares / "labels.csv").drop(columns=column).to_csv(own_squares / "labels.csv", index=False)
    with pytest.raises(InputError, match=f"No column '{column}'"):
        read_table(own_squares)


def test_an_empty_label_is_found(own_squares):
    table = pd.read_csv(own_squares / "labels.csv")
    table.loc[3, "label"] = float("nan")
    table.to_csv(own_squares / "labels.csv", index=False)
    with pytest.raises(InputError, match="Empty 'label' in line 5"):
        read_table(own_squares)


def test_missing_folder_missing_table_empty_table(tmp_path):
    with pytest.raises(InputError, match="No folder"):
        read_table(tmp_path / "nowhere")
    with pytest.raises(InputError, match=r"No labels\.csv"):
        read_table(tmp_path)
    (tmp_path / "labels.csv").write_text("")
    with pytest.raises(InputError, match="Cannot read"):
        read_table(tmp_path)
    (tmp_path / "labels.csv").write_text("image,label\n")
    with pytest.raises(InputError, match="no rows"):
        read_table(tmp_path)


def test_the_fingerprint_is_that_of_the_content(own_squares, tmp_path):
    copy = shutil.copytree(own_squares, tmp_path / "copy")
    assert fingerprint(own_squares, read_table(own_squares)) == fingerprint(copy, read_table(copy))
    (copy / "images/0.png").write_bytes(b"")
    assert fingerprint(own_squares, read_table(own_squares)) != fingerprint(copy, read_table(copy))


def write(folder, text):
    (folder / "labels.csv").write_text(text)
    return folder


@pytest.mark.parametrize(
    ("labels", "message"),
    [("cat,Cat", "both 'cat' and 'Cat'"), ("1,1.0", "both '1' and '1.0'"), ("cat,cat ", "spaces around it")],
)
def test_two_spellings_of_a_label_are_refused(tmp_path, labels, message):
    one, two = labels.split(",")
    with pytest.raises(InputError, match=message):
        read_table(write(tmp_path, f"image,label\na.png,{one}\nb.png,{two}\n"))


@pytest.mark.parametrize("labels", [("cat|dog", "cat", "dog"), ("a;b", "b; c", "a|c")])
def test_several_labels_in_a_cell_are_refused(tmp_path, labels):
    rows = "".join(f"{number}.png,{label}\n" for number, label in enumerate(labels))
    with pytest.raises(InputError, match="names several labels.*multi_label"):
        read_table(write(tmp_path, f"image,label\n{rows}"))


def test_a_mark_in_the_name_of_a_label_is_no_list(tmp_path):
    labels = ["on|off", "cat", "red; blue"]
    rows = "".join(f"{number}.png,{label}\n" for number, label in enumerate(labels))
    assert read_table(write(tmp_path, f"image,label\n{rows}"))["label"].tolist() == labels


def test_a_split_with_spaces_is_refused(tmp_path):
    with pytest.raises(InputError, match="split 'train ' in line 3"):
        read_table(write(tmp_path, "image,label,split\na.png,1,train\nb.png,1,train \n"))


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ("a.png,cat,,train\n./a.png,cat,,test", "split 'train' and 'test'"),
        ("a.png,cat,,train\na.png,dog,,train", "label 'cat' and 'dog'"),
        ("a.png,cat,l.png,train\na.png,cat,r.png,train", "all its masks in one row"),
    ],
)
def test_an_image_in_rows_that_do_not_agree_is_refused(tmp_path, rows, message):
    with pytest.raises(InputError, match=message):
        read_table(write(tmp_path, f"image,label,mask,split\n{rows}\n"))


def test_an_image_may_be_drawn_twice(tmp_path):
    assert len(read_table(write(tmp_path, "image,label\na.png,cat\na.png,cat\n"))) == 2


def test_a_comma_at_line_ends_moves_no_column(tmp_path):
    table = read_table(write(tmp_path, "image,label,split\na.png,cat,train,\nb.png,dog,train,\n"))
    assert table["image"].tolist() == ["a.png", "b.png"]
    assert table["split"].tolist() == ["train", "train"]
    with pytest.raises(InputError, match="Line 2 .* has 3 cells and the header 2"):
        read_table(write(tmp_path, "image,label\na.png,cat,dog\n"))


def test_the_encoding_is_part_of_the_fingerprint(own_squares):
    before = fingerprint(own_squares, read_table(own_squares))
    (own_squares / "encoding.yaml").write_text("channel: luminance\n")
    assert fingerprint(own_squares, read_table(own_squares)) != before
