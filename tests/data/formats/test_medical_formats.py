"""DICOM, NIfTI and TIFF, written by their own libraries."""

import json
import warnings

import numpy as np
import pytest
from PIL import Image

from lookright.data.convert import convert
from lookright.data.formats import dicom
from lookright.data.images import read_mask, read_mask_pages
from lookright.data.table import read_table
from lookright.errors import InputError

ORGAN = np.zeros((20, 30), bool)
ORGAN[3:9, 4:17] = True
OTHER = np.zeros((20, 30), bool)
OTHER[12:15, 20:22] = True


def written(out):
    """By image, the picture and its mask."""
    table = read_table(out)
    return {
        row["image"].removeprefix("images/"): (
            row["label"],
            np.array(Image.open(out / row["image"])),
            np.array(Image.open(out / row["mask"])) if row["mask"] else None,
        )
        for row in table.to_dict("records")
    }


@pytest.fixture
def scan(tmp_path):
    """Writes a CT slice whose stored numbers count up from the upper left, and gives its data set."""
    pydicom = pytest.importorskip("pydicom")
    from pydicom.uid import ExplicitVRLittleEndian, generate_uid

    def write(name, values=None, **changes):
        dataset = pydicom.Dataset()
        dataset.file_meta = pydicom.dataset.FileMetaDataset()
        dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.2"
        dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = generate_uid()
        dataset.StudyInstanceUID, dataset.SeriesInstanceUID = generate_uid(), generate_uid()
        dataset.FrameOfReferenceUID = generate_uid()
        dataset.Modality, dataset.PatientID, dataset.PatientName = "CT", "1", "A^"
        dataset.PatientBirthDate = dataset.PatientSex = dataset.AccessionNumber = dataset.StudyID = ""
        dataset.StudyDate = dataset.StudyTime = dataset.ReferringPhysicianName = ""
        dataset.SeriesNumber, dataset.InstanceNumber = 1, 1
        dataset.ImagePositionPatient, dataset.ImageOrientationPatient = [0, 0, 0], [1, 0, 0, 0, 1, 0]
        dataset.PixelSpacing, dataset.SliceThickness = [1, 1], 1
        values = np.arange(600).reshape(20, 30) if values is None else values
        dataset.Rows, dataset.Columns = values.shape[-2:]
        dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
        dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 16, 16, 15, 0
        dataset.PixelData = values.astype(np.uint16).tobytes()
        for keyword, value in changes.items():
            setattr(dataset, keyword, value)
        path = tmp_path / "scans" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            dataset.save_as(path, enforce_file_format=True)
        return pydicom.dcmread(path)

    return write


def test_dicom_is_rescaled_windowed_and_turned_over_where_white_is_0(scan, tmp_path):
    rescale = {"RescaleSlope": 2, "RescaleIntercept": -100}
    scan("plain.dcm")
    scan("window.dcm", **rescale, WindowCenter=[500.5, 3], WindowWidth=[401, 1])
    scan("negative.dcm", PhotometricInterpretation="MONOCHROME1")
    scan("frames.dcm", np.stack([np.zeros((20, 30)), np.full((20, 30), 7)]), NumberOfFrames=2)
    stored = np.arange(600).reshape(20, 30)
    (plain,) = dicom.pictures(tmp_path / "scans/plain.dcm")
    assert np.array_equal(plain, (stored / 599 * 255).round())
    assert np.array_equal(dicom.pictures(tmp_path / "scans/negative.dcm")[0], (255 - stored / 599 * 255).round())
    expected = np.clip((2 * stored - 100 - 300) / 400, 0, 1) * 255
    assert np.array_equal(dicom.pictures(tmp_path / "scans/window.dcm")[0], expected.round())
    assert [frame.max() for frame in dicom.pictures(tmp_path / "scans/frames.dcm")] == [0, 255]


def test_dicom_in_colours(scan, tmp_path):
    palette = {
        f"{colour}PaletteColorLookupTable{what}": value
        for place, colour in enumerate(("Red", "Green", "Blue"))
        for what, value in (
            ("Descriptor", [256, 0, 16]),
            ("Data", (np.roll(np.arange(256), place) * 256).astype(np.uint16).tobytes()),
        )
    }
    values = np.arange(600).reshape(20, 30) % 256
    scan("palette.dcm", values, PhotometricInterpretation="PALETTE COLOR", **palette)
    (picture,) = dicom.pictures(tmp_path / "scans/palette.dcm")
    assert np.array_equal(picture, np.stack([values, (values - 1) % 256, (values - 2) % 256], -1))
    rgb = np.random.default_rng(0).integers(0, 255, (20, 30, 3)).astype(np.uint8)
    eight = {"BitsAllocated": 8, "BitsStored": 8, "HighBit": 7}
    scan(
        "rgb.dcm",
        SamplesPerPixel=3,
        PlanarConfiguration=0,
        PhotometricInterpretation="RGB",
        PixelData=rgb.tobytes(),
        **eight,
    )
    assert np.array_equal(dicom.pictures(tmp_path / "scans/rgb.dcm")[0], rgb)


@pytest.mark.parametrize("kind", ["BINARY", "FRACTIONAL", "LABELMAP"])
def test_segmentations_of_highdicom(scan, tmp_path, kind):
    highdicom = pytest.importorskip("highdicom")
    from pydicom.sr.codedict import codes

    source = scan("ct.dcm")
    scan("unmarked.dcm")
    described = [
        highdicom.seg.SegmentDescription(
            number, name, codes.SCT.Organ, codes.SCT.Liver, highdicom.seg.SegmentAlgorithmTypeValues.MANUAL
        )
        for number, name in ((1, "liver"), (2, "tumour"))
    ]
    if kind == "LABELMAP":
        mask = (ORGAN + 2 * OTHER).astype(np.uint8)[None]
    elif kind == "BINARY":
        mask = np.stack([ORGAN, OTHER], -1).astype(np.uint8)[None]
    else:
        mask = np.stack([0.6 * ORGAN, OTHER * 1.0], -1).astype(np.float32)[None]
    segmentation = highdicom.seg.Segmentation(
        *([source], mask, highdicom.seg.SegmentationTypeValues[kind], described),
        *(highdicom.UID(), 1, highdicom.UID(), 1, "maker", "model", "1", "1"),
    )
    segmentation.save_as(tmp_path / "scans/seg.dcm")
    _, left_out = convert(tmp_path / "scans", tmp_path / "out", several="largest")
    assert len(left_out) == 1  # nothing is marked there
    label, picture, found = written(tmp_path / "out")["ct.png"]
    assert label == "liver"
    assert picture.shape == (20, 30)
    assert np.array_equal(found > 0, ORGAN)
    assert found.max() == (153 if kind == "FRACTIONAL" else 255)
    # In a folder of a class, all that is marked is its evidence, and an image that is not marked has no mask.
    classes = tmp_path / "classes/train/sick"
    classes.mkdir(parents=True)
    for path in (tmp_path / "scans").iterdir():
        (classes / path.name).write_bytes(path.read_bytes())
    convert(tmp_path / "classes", tmp_path / "by_class")
    found = written(tmp_path / "by_class")
    assert np.array_equal(found["ct.png"][2] > 0, ORGAN | OTHER)
    assert found["unmarked.png"][0] == "sick"
    assert found["unmarked.png"][2] is None
    assert set(read_table(tmp_path / "by_class")["split"]) == {"train"}


STRAIGHT = np.diag([1.0, 1, 3, 1])
FROM_THE_RIGHT = np.array([[-1.0, 0, 0, 29], [0, 1, 0, 0], [0, 0, 3, 0], [0, 0, 0, 1]])


def nifti(path, values, affine=STRAIGHT):
    nibabel = pytest.importorskip("nibabel")
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(values, affine), path)


@pytest.mark.parametrize(
    "names", [{"0": "background", "1": "liver", "2": "tumour"}, {"background": 0, "liver": 1, "tumour": 2}]
)
def test_nifti_of_the_decathlon_and_of_nnunet(tmp_path, names):
    labels = np.zeros((30, 20, 3), np.uint8)
    labels[2:5, 15:18, 1] = 1  # low x: the patient's left, on the right of the picture; high y: front, above
    labels[6, 6, 2], labels[9:12, 6, 2] = 1, 2
    volume = np.random.default_rng(0).normal(size=labels.shape).astype(np.float32)
    volume[2:5, 15:18, 1] = 9
    nifti(tmp_path / "task/imagesTr/a_0000.nii.gz", volume)
    nifti(tmp_path / "task/labelsTr/a.nii.gz", labels)
    (tmp_path / "task/dataset.json").write_text(json.dumps({"labels": names}))
    convert(tmp_path / "task", tmp_path / "out", several="largest")
    found = written(tmp_path / "out")
    assert [found[f"a_0000-{z}.png"][0] for z in (1, 2, 3)] == ["background", "liver", "tumour"]
    _, picture, mask = found["a_0000-2.png"]
    expected = np.zeros((20, 30), bool)
    expected[2:5, 25:28] = True
    assert np.array_equal(mask > 0, expected)
    assert np.array_equal(picture == 255, expected)
    assert not found["a_0000-1.png"][2].any()


def test_nifti_in_folders_of_classes_whatever_the_axes_and_factors(tmp_path):
    nibabel = pytest.importorskip("nibabel")
    labels = np.zeros((30, 20, 2))
    labels[2:5, 15:18, 1] = 1
    nifti(tmp_path / "v/sick/a.nii", labels * 50)
    image = nibabel.Nifti1Image(labels, STRAIGHT)
    image.set_data_dtype(np.uint8)  # nibabel stretches the labels and stores a factor
    nibabel.save(image, tmp_path / "v/sick/a_seg.nii")
    nifti(
        tmp_path / "v/well/b.nii",
        labels[::-1] * 50,
        FROM_THE_RIGHT,
    )
    nifti(
        tmp_path / "v/well/b_seg.nii",
        labels[::-1].astype(np.uint8),
        FROM_THE_RIGHT,
    )
    convert(tmp_path / "v", tmp_path / "out")
    found = written(tmp_path / "out")
    for name in ("a-2.png", "b-2.png"):
        assert np.array_equal(found[name][2] > 0, found["a-2.png"][1] > 0)
        assert found[name][2][2:5, 25:28].all()
    nifti(tmp_path / "v/well/b_seg.nii", labels.astype(np.uint8), STRAIGHT + np.eye(4, k=3) * 5)
    with pytest.raises(InputError, match="lies on another grid"):
        convert(tmp_path / "v", tmp_path / "grid")
    nifti(tmp_path / "v/sick/a_seg.nii", (labels * 7).astype(np.uint8))
    with pytest.raises(InputError, match="has the number 7"):
        convert(tmp_path / "v", tmp_path / "number", format="nifti")


@pytest.mark.parametrize("top", [255, 4095])
def test_tiff_of_several_pages(tmp_path, top):
    tifffile = pytest.importorskip("tifffile")
    pages = np.linspace(0, top, 1200).reshape(2, 20, 30).astype(np.uint8 if top == 255 else np.uint16)
    (tmp_path / "cells/a").mkdir(parents=True)
    tifffile.imwrite(tmp_path / "cells/a/1.tif", pages, photometric="minisblack")
    tifffile.imwrite(
        tmp_path / "cells/a/1_mask.tif", np.stack([ORGAN, OTHER]).astype(np.uint8), photometric="minisblack"
    )
    tifffile.imwrite(tmp_path / "cells/a/2.tif", pages[0])
    convert(tmp_path / "cells", tmp_path / "out")
    found = written(tmp_path / "out")
    assert set(found) == {"1-1.png", "1-2.png", "2.tif"}
    for name, mask, page in (("1-1.png", ORGAN, pages[0]), ("1-2.png", OTHER, pages[1])):
        picture = found[name][1]
        assert np.array_equal(picture if picture.ndim == 2 else picture[..., 0], page)
        assert np.array_equal(found[name][2] > 0, mask)
    encoding = (tmp_path / "out/encoding.yaml").read_text()
    assert ("image_range" in encoding) == (top == 4095)
    tifffile.imwrite(tmp_path / "cells/a/1_mask.tif", ORGAN.astype(np.uint8))
    with pytest.raises(InputError, match="has 1 pages and its image 2"):
        convert(tmp_path / "cells", tmp_path / "pages")


def test_boolean_masks_of_tifffile_mean_what_tifffile_reads(tmp_path):
    tifffile = pytest.importorskip("tifffile")
    tifffile.imwrite(tmp_path / "mask.tif", ORGAN)
    assert np.array_equal(read_mask(tmp_path / "mask.tif")[0].numpy() > 0, ORGAN)
    tifffile.imwrite(tmp_path / "pages.tif", np.stack([ORGAN, OTHER, ORGAN & OTHER]))
    assert [
        np.array_equal(page[0] > 0, mask)
        for page, mask in zip(read_mask_pages(tmp_path / "pages.tif"), (ORGAN, OTHER, ORGAN & OTHER))
    ] == [True] * 3
    Image.fromarray(ORGAN).save(tmp_path / "pillow.tif")
    assert np.array_equal(read_mask(tmp_path / "pillow.tif")[0].numpy() > 0, ORGAN)


def truncated(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def test_broken_files_are_told_in_a_sentence(scan, tmp_path):
    nibabel = pytest.importorskip("nibabel")
    scan("a.dcm")
    truncated(tmp_path / "scans/a.dcm")
    with pytest.raises(InputError, match=r"Cannot decode .*a\.dcm"):
        convert(tmp_path / "scans", tmp_path / "out")
    (tmp_path / "scans/a.dcm").write_bytes(b"no DICOM at all")
    with pytest.raises(InputError, match="as DICOM"):
        convert(tmp_path / "scans", tmp_path / "out")
    scan("a.dcm", Rows=60_000, Columns=60_000)
    with pytest.raises(InputError, match="60000 by 60000 pixels is claimed"):
        convert(tmp_path / "scans", tmp_path / "out")
    labels = np.zeros((30, 20, 2), np.uint8)
    for name in ("a.nii", "a_seg.nii"):
        nifti(tmp_path / "v/sick" / name, labels)
    truncated(tmp_path / "v/sick/a_seg.nii")
    with pytest.raises(InputError, match=r"a_seg\.nii' as NIfTI"):
        convert(tmp_path / "v", tmp_path / "out", format="nifti")
    (tmp_path / "v/sick/a_seg.nii").write_bytes(b"no volume")
    with pytest.raises(InputError, match="as NIfTI"):
        convert(tmp_path / "v", tmp_path / "out", format="nifti")
    nibabel.save(nibabel.Nifti1Image(np.zeros((4, 4, 4, 2)), np.eye(4)), tmp_path / "v/sick/a.nii")
    with pytest.raises(InputError, match="4 dimensions"):
        convert(tmp_path / "v", tmp_path / "out", format="nifti")
    assert not (tmp_path / "out").exists()
