"""PLUS sequences and configurations: frames, status, calibration, orientation."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from us_recon.errors import InputError
from us_recon.geometry.rigid import is_rigid
from us_recon.imaging.events import ImageEvent, PoseEvent
from us_recon.imaging.probe import ProbeKind
from us_recon.io.metaimage import read_metaimage
from us_recon.io.nrrd import write_nrrd
from us_recon.io.plus import (
    read_plus_config,
    read_plus_recording,
    read_plus_sequence,
    split_image_to_probe,
)
from us_recon.io.plus.recording import find_transform
from us_recon.io.raster import Raster

# --- Sequences ----------------------------------------------------------------------------------


def test_frames_have_images_times_and_valid_transforms(tiny_plus: tuple[Path, Path]) -> None:
    frames = read_plus_sequence(tiny_plus[0]).frames
    assert [frame.stamp_ns for frame in frames] == [
        10_250_000_000, 11_250_000_000, 12_250_000_000, 13_250_000_000,
    ]  # fmt: skip
    np.testing.assert_array_equal(frames[0].image, [[0, 1, 2], [3, 4, 5]])
    np.testing.assert_array_equal(frames[2].image, [[12, 13, 14], [15, 16, 17]])
    assert frames[3].image is None
    assert frames[2].transforms["Probe", "Tracker"][0, 3] == 2.0
    # The tracker reports the probe as invalid in frame 1: the matrix in the file is not used.
    assert ("Probe", "Tracker") not in frames[1].transforms
    assert frames[1].invalid == {("Probe", "Tracker")}
    assert ("Reference", "Tracker") in frames[1].transforms


def test_a_transform_without_a_status_is_invalid(tiny_plus: tuple[Path, Path]) -> None:
    path = tiny_plus[0]
    path.write_bytes(
        path.read_bytes().replace(
            b"Seq_Frame0000_ProbeToTrackerTransformStatus", b"Seq_Frame0000_X"
        )
    )
    assert ("Probe", "Tracker") in read_plus_sequence(path).frames[0].invalid


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("MF", [[0, 1, 2], [3, 4, 5]]),
        ("UF", [[2, 1, 0], [5, 4, 3]]),
        ("MN", [[3, 4, 5], [0, 1, 2]]),
        ("UNA", [[5, 4, 3], [2, 1, 0]]),
    ],
)
def test_images_are_brought_to_mf(
    tiny_plus: tuple[Path, Path], code: str, expected: list[list[int]]
) -> None:
    path = tiny_plus[0]
    path.write_bytes(
        path.read_bytes().replace(b"Orientation = MFA", f"Orientation = {code}".encode())
    )
    np.testing.assert_array_equal(read_plus_sequence(path).frames[0].image, expected)


def test_a_nrrd_sequence_is_the_same(tmp_path: Path, tiny_plus: tuple[Path, Path]) -> None:
    raster = read_metaimage(tiny_plus[0])
    fields = {k: v for k, v in raster.fields.items() if k.startswith(("Seq_", "Ultrasound"))}
    path = tmp_path / "tiny.igs.nrrd"
    write_nrrd(path, Raster(raster.data, fields))
    for expected, found in zip(
        read_plus_sequence(tiny_plus[0]).frames, read_plus_sequence(path).frames, strict=True
    ):
        assert found.stamp_ns == expected.stamp_ns and found.invalid == expected.invalid
        np.testing.assert_array_equal(found.image, expected.image)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (b"Seq_Frame0002_Timestamp", b"Seq_Frame0002_Time", "Seq_Frame0002_Timestamp is missing"),
        (b"= 1 0 0 2 0", b"= 1 0 0 x 0", "Seq_Frame0002_ProbeToTrackerTransform.*16 numbers"),
        (b"= BRIGHTNESS", b"= RF_REAL", "RF_REAL; expected BRIGHTNESS"),
        (b"Orientation = MFA", b"Orientation = QQ", "orientation code is 'QQ'"),
        (b"DimSize = 3 2 4", b"DimSize = 3 2 5", "expected 30 bytes"),
    ],
)
def test_damaged_sequences_are_named(
    tiny_plus: tuple[Path, Path], old: bytes, new: bytes, message: str
) -> None:
    path = tiny_plus[0]
    path.write_bytes(path.read_bytes().replace(old, new))
    with pytest.raises(InputError, match=message):
        read_plus_sequence(path)


def test_other_files_are_no_sequence(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="expected a PLUS sequence"):
        read_plus_sequence(tmp_path / "sweep.mp4")


# --- Calibration --------------------------------------------------------------------------------


@given(
    axes=hnp.arrays(np.float64, (3, 3), elements=st.floats(-0.3, 0.3)),
    origin=hnp.arrays(np.float64, 3, elements=st.floats(-200, 200)),
)
@settings(max_examples=100, deadline=None)
def test_an_affine_calibration_is_split_without_loss(axes: np.ndarray, origin: np.ndarray) -> None:
    T = np.eye(4)
    T[:3, :3], T[:3, 3] = axes + 0.5 * np.eye(3), origin
    calibration = split_image_to_probe(T, (640, 480))
    assert is_rigid(calibration.T_probe_transducer, tolerance=1e-9)
    again = calibration.T_probe_transducer @ calibration.geometry.T_transducer_image
    pixels = np.array([[0, 0, 0, 1], [639, 0, 0, 1], [0, 479, 0, 1], [639.5, 479.5, 0, 1.0]]).T
    np.testing.assert_allclose(again @ pixels, T @ pixels, atol=1e-9)


def test_a_calibration_by_hand() -> None:
    # Columns run along +y in steps of 0.25 mm, rows along +x in steps of 0.5 mm.
    T = np.array([[0, 0.5, 0, 10], [0.25, 0, 0, 20], [0, 0, 0.3, 30], [0, 0, 0, 1.0]])
    calibration = split_image_to_probe(T, (3, 2))
    geometry = calibration.geometry
    assert (geometry.spacing_x_mm, geometry.spacing_y_mm, geometry.skew_mm) == (0.25, 0.5, 0.0)
    # The face's centre is above the middle column, half a row over the first: (1, -0.5).
    np.testing.assert_allclose(
        calibration.T_probe_transducer,
        [[0, 1, 0, 9.75], [1, 0, 0, 20.25], [0, 0, -1, 30], [0, 0, 0, 1]],
        atol=1e-12,
    )


def test_a_sheared_image_lies_whole_in_its_sector() -> None:
    T = np.array([[0.1, 0.03, 0, 0], [0, 0.1, 0, 0], [0, 0, 0.1, 0], [0, 0, 0, 1.0]])
    geometry = split_image_to_probe(T, (40, 30)).geometry
    assert geometry.skew_mm == pytest.approx(0.03) and geometry.fan_mask.all()


@pytest.mark.parametrize("column", [[0.0, 0, 0], [0.2, 0, 0]])
def test_parallel_axes_are_no_calibration(column: list[float]) -> None:
    T = np.eye(4)
    T[:3, 0], T[:3, 1] = column, [0.1, 0, 0]
    with pytest.raises(InputError, match="two different directions"):
        split_image_to_probe(T, (40, 30))


# --- Configurations -----------------------------------------------------------------------------

LINEAR = """<PlusConfiguration><ScanConversion TransducerName="L9" TransducerGeometry="LINEAR"
  ImagingDepthMm="50" TransducerWidthMm="30" OutputImageSizePixel="400 300"
  OutputImageSpacingMmPerPixel="0.1 0.2" {more}/></PlusConfiguration>"""
CURVED = """<PlusConfiguration><ScanConversion TransducerName="C5" TransducerGeometry="CURVILINEAR"
  RadiusStartMm="40" RadiusStopMm="90" ThetaStartDeg="-30" ThetaStopDeg="35"
  OutputImageSizePixel="400 300" OutputImageSpacingMmPerPixel="0.2 0.2"
  TransducerCenterPixel="200 12"/></PlusConfiguration>"""
VOLUME = """<PlusConfiguration><VolumeReconstruction OutputSpacing="0.4 0.4 0.4"
  ClipRectangleOrigin="10 20" ClipRectangleSize="100 50" FanAnglesDeg="30 -40"
  FanOriginPixel="60 5" FanRadiusStartPixel="7" FanRadiusStopPixel="80"
  Interpolation="LINEAR" CompoundingMode="MAXIMUM" FillHoles="ON"><HoleFilling>
  <HoleFillingElement Type="STICK" StickLengthLimit="5" /></HoleFilling>
  </VolumeReconstruction></PlusConfiguration>"""


def config(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "config.xml"
    path.write_text(text)
    return path


def test_a_linear_layout(tmp_path: Path) -> None:
    (layout,) = read_plus_config(config(tmp_path, LINEAR.format(more=""))).scan_conversions
    T = np.diag([0.1, 0.2, 0.1, 1.0])
    geometry = split_image_to_probe(T, (400, 300), layout).geometry
    assert geometry.kind is ProbeKind.LINEAR and geometry.width_mm == 30.0
    # Without TransducerCenterPixel PLUS puts the face's centre in the middle of the first row.
    assert (geometry.origin_x_px, geometry.origin_y_px) == (199.5, 0.0)
    assert geometry.depth_mm == 50.0
    # An image that ends above the imaged depth limits it: 299.5 rows of 0.1 mm below the face.
    shallow = split_image_to_probe(np.diag([0.1, 0.1, 0.1, 1.0]), (400, 300), layout)
    assert shallow.geometry.depth_mm == pytest.approx(29.95)


def test_a_curvilinear_layout(tmp_path: Path) -> None:
    (layout,) = read_plus_config(config(tmp_path, CURVED)).scan_conversions
    geometry = split_image_to_probe(np.diag([0.2, 0.2, 0.2, 1.0]), (400, 300), layout).geometry
    assert geometry.kind is ProbeKind.CONVEX
    assert (geometry.radius_mm, geometry.depth_mm) == (40.0, 50.0)
    assert (geometry.angle_min_deg, geometry.angle_max_deg) == (-30.0, 35.0)
    # PLUS counts the centre's column from the edge of the first column.
    assert (geometry.origin_x_px, geometry.origin_y_px) == (199.5, 12.0)


def test_a_layout_of_another_image_size_is_refused(tmp_path: Path) -> None:
    (layout,) = read_plus_config(config(tmp_path, CURVED)).scan_conversions
    with pytest.raises(InputError, match=r"\(400, 300\) pixels, the sequence has \(640, 480\)"):
        split_image_to_probe(np.diag([0.2, 0.2, 0.2, 1.0]), (640, 480), layout)


def test_reconstruction_parameters(tmp_path: Path) -> None:
    found = read_plus_config(config(tmp_path, VOLUME)).reconstruction
    assert found is not None and found.region.fan is not None
    assert found.settings.spacing_mm == 0.4 and found.settings.interpolation == "linear"
    assert found.settings.compounding == "maximum"
    assert found.settings.fill and found.settings.fill_length == 5
    # PLUS counts the pixels on both edges of its rectangle: 10 to 110 and 20 to 70.
    assert found.region.clip_px == (10, 20, 101, 51)
    assert found.region.fan.angles_deg == (-40.0, 30.0)
    assert found.region.fan.origin_px == (60.0, 5.0) and found.region.fan.radii_px == (7.0, 80.0)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("<PlusConfiguration>", "is not XML"),
        ("<Other/>", "root element is Other"),
        (LINEAR.format(more="").replace('"LINEAR"', '"SQUARE"'), "'SQUARE'; expected LINEAR"),
        (LINEAR.format(more="").replace('ImagingDepthMm="50"', ""), "lacks ImagingDepthMm"),
        (VOLUME.replace("0.4 0.4 0.4", "0.4 0.4 0.8"), "expected three equal values"),
        (VOLUME.replace("MAXIMUM", "MEDIAN"), "CompoundingMode MEDIAN; expected"),
        (
            "<PlusConfiguration><CoordinateDefinitions><Transform From='Image' To='Probe' "
            "Matrix='1 0 0 0'/></CoordinateDefinitions></PlusConfiguration>",
            "Image to Probe is '1 0 0 0'; expected 16 numbers",
        ),
    ],
)
def test_damaged_configurations_are_named(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        read_plus_config(config(tmp_path, text))


# --- Recordings ---------------------------------------------------------------------------------


def test_an_invalid_pose_is_no_pose(tiny_plus: tuple[Path, Path]) -> None:
    recording = read_plus_recording(*tiny_plus)
    assert recording.world == "Reference"
    assert (recording.untracked, recording.without_image) == (1, 1)
    assert [pose is None for pose in recording.poses] == [False, True, False]
    # The reference lies at y = 1 in the tracker: probe (2, 0, 0) is (2, -1, 0) to it.
    np.testing.assert_allclose(recording.poses[2][:3, 3], [2, -1, 0])  # type: ignore[index]
    assert [frame.stamp_ns for frame in recording.tracked_frames()] == [
        10_250_000_000, 12_250_000_000,
    ]  # fmt: skip


def test_an_image_without_a_pose_is_left_out_unless_asked_for(
    tiny_plus: tuple[Path, Path],
) -> None:
    recording = read_plus_recording(*tiny_plus)
    for keep, images in ((False, 2), (True, 3)):
        events = list(recording.events(keep_untracked=keep))
        assert sum(isinstance(event, ImageEvent) for event in events) == images
        poses = [event for event in events if isinstance(event, PoseEvent) and not event.static]
        assert [event.stamp_ns for event in poses] == [10_250_000_000, 12_250_000_000]


def test_a_pixel_lies_where_plus_puts_it(tiny_plus: tuple[Path, Path]) -> None:
    _, frame = read_plus_recording(*tiny_plus).tracked_frames()
    # ImageToProbe maps pixel (2, 1) to (10.5, 20.5, 30); the probe is at (2, 0, 0) in the tracker
    # and the reference at (0, 1, 0).
    np.testing.assert_allclose(frame.T_world_image @ [2, 1, 0, 1], [12.5, 19.5, 30, 1], atol=1e-9)


def test_another_world(tiny_plus: tuple[Path, Path]) -> None:
    recording = read_plus_recording(*tiny_plus, world="Tracker")
    np.testing.assert_allclose(recording.poses[2][:3, 3], [2, 0, 0])  # type: ignore[index]
    with pytest.raises(InputError, match=r"pose of Probe in Table.*Probe to Tracker"):
        read_plus_recording(*tiny_plus, world="Table")


def test_a_configuration_without_calibration_is_named(
    tmp_path: Path, tiny_plus: tuple[Path, Path]
) -> None:
    other = config(tmp_path, VOLUME)
    with pytest.raises(InputError, match="no transform from Image to Probe, only none, and"):
        read_plus_recording(tiny_plus[0], other)


def test_chains_of_transforms() -> None:
    def shift(x: float) -> np.ndarray:
        T = np.eye(4)
        T[0, 3] = x
        return T

    known = {("A", "B"): shift(1.0), ("C", "B"): shift(10.0), ("C", "D"): shift(100.0)}
    # A to B (+1), B to C (-10), C to D (+100).
    T = find_transform(known, source="A", target="D")
    assert T is not None and T[0, 3] == 91.0
    assert find_transform(known, source="A", target="E") is None


# --- Real recordings ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sequence", "configuration", "frames"),
    [
        (
            "spine/SpinePhantomFreehand.igs.mha",
            "spine/PlusDeviceSet_SpinePhantomFreehandReconstructionOnly.xml",
            21,
        ),
        ("bone/BoneUltrasound_L14.igs.mha", "bone/BoneUltrasound_L14_config.xml", 21),
    ],
)
def test_real_recordings_keep_their_calibration(
    data_dir: Path, sequence: str, configuration: str, frames: int
) -> None:
    plus = data_dir / "plus"
    recording = read_plus_recording(plus / sequence, plus / configuration)
    assert len(recording.frames) == frames and recording.untracked == 0
    calibration = recording.calibration
    again = calibration.T_probe_transducer @ calibration.geometry.T_transducer_image
    T = read_plus_config(plus / configuration).transforms["Image", "Probe"]
    pixels = np.array([[0, 0, 0, 1], [819, 0, 0, 1], [0, 615, 0, 1], [819, 615, 0, 1.0]]).T
    np.testing.assert_allclose(again @ pixels, T @ pixels, atol=1e-9)


def test_the_layout_of_the_bone_recording(data_dir: Path) -> None:
    bone = data_dir / "plus" / "bone"
    recording = read_plus_recording(
        bone / "BoneUltrasound_L14.igs.mha", bone / "BoneUltrasound_L14_config.xml"
    )
    geometry = recording.calibration.geometry
    assert geometry.kind is ProbeKind.LINEAR and geometry.width_mm == 40.0
    # 616 rows of 0.0854 mm are 52.6 mm: the image ends before the imaged depth of 60 mm.
    assert geometry.depth_mm == pytest.approx(52.6, abs=0.1)


def test_cropped_images_are_placed_where_they_were_cut(data_dir: Path) -> None:
    nwire = data_dir / "plus" / "nwire"
    configuration = next(nwire.glob("*.xml"))
    cropped = nwire / "NwirePhantomFreehandCropped.igs.mha"
    with pytest.raises(InputError, match="image frames Image, CroppedImage; say in which"):
        read_plus_recording(cropped, configuration)
    whole = next(
        read_plus_recording(nwire / "NwirePhantomFreehand.igs.mha", configuration).tracked_frames()
    )
    part = next(read_plus_recording(cropped, configuration, image="CroppedImage").tracked_frames())
    # Cut at column 335 and row 285 of the whole image.
    np.testing.assert_array_equal(part.image, whole.image[285:435, 335:535])
    np.testing.assert_allclose(
        part.T_world_image @ [7, 9, 0, 1], whole.T_world_image @ [342, 294, 0, 1], atol=1e-6
    )


def test_tracking_and_images_in_two_files(data_dir: Path) -> None:
    tank = data_dir / "plus" / "watertank"
    tracked = read_plus_sequence(tank / "WaterTankBottomTranslationTrackerBuffer-trimmed.igs.mha")
    assert len(tracked.frames) == 801 and all(frame.image is None for frame in tracked.frames)
    assert ("Probe", "Tracker") in tracked.frames[0].transforms
