"""MetaImage and NRRD: what is written is read back, what is damaged is named."""

import gzip
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from us_recon.errors import InputError
from us_recon.io.metaimage import read_metaimage, write_metaimage
from us_recon.io.nrrd import read_nrrd, write_nrrd
from us_recon.io.raster import Raster, Space

TYPES = ("u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8", "f4", "f8")
FILES = {".mha": (read_metaimage, write_metaimage), ".nrrd": (read_nrrd, write_nrrd)}
MHA = """ObjectType = Image
NDims = 3
BinaryData = True
BinaryDataByteOrderMSB = {big}
CompressedData = {compressed}
TransformMatrix = 0 1 0 -1 0 0 0 0 1
Offset = 1 2 3
ElementSpacing = 2 3 4
DimSize = 3 2 2
ElementType = {type}
ElementDataFile = {source}
"""
NRRD = """NRRD0004
# a comment
type: {type}
dimension: 3
sizes: 3 2 2
kinds: {kinds}
encoding: {encoding}
endian: little
Seq_Frame0000_Timestamp:=1.5

"""


@st.composite
def rasters(draw: st.DrawFn) -> Raster:
    dtype = np.dtype(draw(st.sampled_from(TYPES)))
    shape = draw(hnp.array_shapes(min_dims=3, max_dims=3, max_side=5))
    elements = None if dtype.kind in "iu" else st.floats(-1e6, 1e6, width=8 * dtype.itemsize)
    data = draw(hnp.arrays(dtype, shape, elements=elements))
    axes = draw(hnp.arrays(np.float64, (3, 3), elements=st.floats(-5, 5)))
    T = np.eye(4)
    T[:3, :3] = axes + 20.0 * np.eye(3)
    T[:3, 3] = draw(hnp.arrays(np.float64, 3, elements=st.floats(-1e4, 1e4)))
    return Raster(data, {"Seq_Frame0000_Timestamp": "1.25"}, T, Space.LPS)


@pytest.mark.parametrize("suffix", FILES)
@given(raster=rasters(), compress=st.booleans())
@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
def test_round_trip(tmp_path: Path, suffix: str, raster: Raster, compress: bool) -> None:
    read, write = FILES[suffix]
    path = tmp_path / f"image{suffix}"
    write(path, raster, compress=compress)
    back = read(path)
    assert back.data.dtype == raster.data.dtype
    np.testing.assert_array_equal(back.data, raster.data)
    np.testing.assert_allclose(back.T_space_index, raster.T_space_index, rtol=1e-12, atol=1e-9)
    assert back.fields["Seq_Frame0000_Timestamp"] == "1.25"
    assert back.space is Space.LPS


def mha(tmp_path: Path, pixels: bytes, **entries: object) -> Path:
    values = {"big": "False", "compressed": "False", "type": "MET_UCHAR", "source": "LOCAL"}
    path = tmp_path / "image.mha"
    path.write_bytes(MHA.format(**(values | entries)).encode() + pixels)
    return path


def nrrd(tmp_path: Path, pixels: bytes, **entries: object) -> Path:
    values = {"type": "uint8", "kinds": "domain domain list", "encoding": "raw"}
    path = tmp_path / "image.nrrd"
    path.write_bytes(NRRD.format(**(values | entries)).encode() + pixels)
    return path


def test_the_axes_of_a_metaimage_are_columns_rows_slices(tmp_path: Path) -> None:
    raster = read_metaimage(mha(tmp_path, bytes(range(12))))
    # DimSize 3 2 2: three columns are the fastest axis.
    np.testing.assert_array_equal(raster.data[0], [[0, 1, 2], [3, 4, 5]])
    # The first axis points along (0, 1, 0) in steps of 2 mm, the second along (-1, 0, 0) by 3 mm.
    expected = [[0, -3, 0, 1], [2, 0, 0, 2], [0, 0, 4, 3], [0, 0, 0, 1]]
    np.testing.assert_array_equal(raster.T_space_index, expected)


def test_big_endian_pixels(tmp_path: Path) -> None:
    path = mha(tmp_path, bytes([1, 0] * 12), big="True", type="MET_USHORT")
    assert (read_metaimage(path).data == 256).all()


def test_pixels_in_a_file_of_their_own(tmp_path: Path) -> None:
    (tmp_path / "image.raw").write_bytes(bytes(range(12)))
    path = mha(tmp_path, b"", source="image.raw")
    np.testing.assert_array_equal(read_metaimage(path).data.ravel(), range(12))


def test_a_list_axis_comes_first_wherever_the_file_has_it(tmp_path: Path) -> None:
    last = read_nrrd(nrrd(tmp_path, bytes(range(12))))
    np.testing.assert_array_equal(last.data[1], [[6, 7, 8], [9, 10, 11]])
    # The list of three is the fastest axis: image 0 holds every third value.
    first = read_nrrd(nrrd(tmp_path, bytes(range(12)), kinds="list domain domain"))
    np.testing.assert_array_equal(first.data[0], [[0, 3], [6, 9]])
    assert first.fields["Seq_Frame0000_Timestamp"] == "1.5"


def test_gzip_pixels(tmp_path: Path) -> None:
    path = nrrd(tmp_path, gzip.compress(bytes(range(12))), encoding="gzip")
    np.testing.assert_array_equal(read_nrrd(path).data.ravel(), range(12))


BROKEN = {
    "truncated": ({"pixels": bytes(11)}, "expected 12 bytes.*found 11.*truncated"),
    "not compressed": ({"pixels": bytes(12), "compressed": "True"}, "compressed pixels"),
    "unknown type": ({"pixels": bytes(12), "type": "MET_STRING"}, "MET_STRING; expected one of"),
    "list of files": ({"pixels": b"", "source": "LIST"}, "LIST.*expected LOCAL"),
    "missing file": ({"pixels": b"", "source": "gone.raw"}, "gone.raw.*cannot be read"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_damaged_metaimages_are_named(tmp_path: Path, case: str) -> None:
    entries, message = BROKEN[case]
    path = mha(tmp_path, **entries)  # type: ignore[arg-type]
    with pytest.raises(InputError, match=message) as caught:
        read_metaimage(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not a MetaImage"),
        (b"\x89PNG\r\n\x1a\n", "not a MetaImage"),
        (b"ObjectType = Image\nDimSize = 3 2\n", "before ElementDataFile"),
        (b"ObjectType = Image\nDimSize = 3 -2\nElementDataFile = LOCAL\n", "whole numbers"),
        (b"ObjectType = Image\nDimSize = 99999999 99999999\nElementDataFile = LOCAL\n", "damaged"),
    ],
)
def test_damaged_metaimage_headers_are_named(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "image.mha"
    path.write_bytes(content)
    with pytest.raises(InputError, match=message):
        read_metaimage(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"PK\x03\x04", "not an NRRD file"),
        (b"NRRD0004\ntype: uint8\nsizes: 3 2\n\n123456", "no 'encoding'"),
        (b"NRRD0004\ntype: block\nsizes: 3 2\nencoding: raw\n\n123456", "'block'; expected"),
        (b"NRRD0004\ntype: uint8\nsizes: 3 2\nencoding: hex\n\n123456", "'hex'; expected raw"),
        (b"NRRD0004\ntype: uint8\nsizes: 3 2\nencoding: raw\n\n12345", "expected 6 bytes"),
        (b"NRRD0004\ntype: uint8\nsizes: 3 2\nencoding: gzip\n\nnot gzip", "compressed pixels"),
        (b"NRRD0004\ntype: uint8\nsizes: 3 2\nencoding: raw\nno separator\n\n", "no colon"),
        (b"NRRD0004\ntype: uint8\nsizes: 3 2\nencoding: raw\nbyte skip: 4\n\n", "byte skip"),
    ],
)
def test_damaged_nrrd_files_are_named(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "image.nrrd"
    path.write_bytes(content)
    with pytest.raises(InputError, match=message) as caught:
        read_nrrd(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("read", [read_metaimage, read_nrrd])
def test_a_missing_file_is_an_input_error(tmp_path: Path, read: object) -> None:
    with pytest.raises(InputError, match="cannot be read"):
        read(tmp_path / "absent")  # type: ignore[operator]


def test_a_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "image.mha"
    path.write_bytes(b"old")
    with pytest.raises(InputError, match="no element type"):
        write_metaimage(path, Raster(np.zeros((2, 2, 2), np.complex64)))
    assert path.read_bytes() == b"old" and list(tmp_path.iterdir()) == [path]
