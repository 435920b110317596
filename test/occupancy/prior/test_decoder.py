"""What the labels of earlier subjects teach the detector, and that it is judged before it is used.

The subjects show a bright sheet with tissue below it, which the rule takes for no bone.
"""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from us_recon.cli.main import USER_ERROR, main
from us_recon.errors import InputError
from us_recon.geometry.rigid import from_euler_xyz_deg
from us_recon.imaging.frame import TrackedFrame
from us_recon.imaging.probe import ProbeGeometry
from us_recon.occupancy.bone_training import TrainingImage
from us_recon.occupancy.label_learning import LabelLearner
from us_recon.occupancy.mapper import MapperSettings, OccupancyMapper
from us_recon.occupancy.prior.decoder import ImageDecoder, train_decoder
from us_recon.occupancy.prior.files import read_prior, write_prior
from us_recon.occupancy.prior.shape import ShapePrior
from us_recon.pipeline.mapping import MAP_FILE, SUMMARY_FILE, save_map_outputs

Images = Callable[..., np.ndarray]
ADAPTIVE = MapperSettings(detector="adaptive", learning_steps=1)
DEPTHS_MM = (12.0, 16.0, 20.0)
NEXT_MM = 14.0


@pytest.fixture(scope="module")
def sheet(linear: ProbeGeometry, bone_image: Images) -> Callable[..., TrackedFrame]:
    """Return a frame of a sheet, labelled where it is said to lie; NaN: no label."""

    def make(number: int, depth_mm: float, said_mm: float = np.nan) -> TrackedFrame:
        rows_mm = linear.pixels_to_mm(linear.pixel_grid)[..., 1]
        return TrackedFrame(
            stamp_ns=number,
            image=bone_image(linear, np.full(400, depth_mm), seed=number, shadow=False),
            T_world_transducer=from_euler_xyz_deg(np.array([0.0, 0.0, number]), np.zeros(3)),
            geometry=linear,
            label=None if np.isnan(said_mm) else (rows_mm > said_mm).astype(np.uint8),
        )

    return make


@pytest.fixture(scope="module")
def earlier(sheet: Callable[..., TrackedFrame]) -> list[OccupancyMapper]:
    """Maps of three subjects, each with its own depth."""
    mappers = [OccupancyMapper(ADAPTIVE) for _ in DEPTHS_MM]
    for subject, (mapper, depth_mm) in enumerate(zip(mappers, DEPTHS_MM, strict=True)):
        for number in range(4):
            mapper.integrate(sheet(10 * subject + number, depth_mm, depth_mm))
    return mappers


@pytest.fixture(scope="module")
def decoder(earlier: list[OccupancyMapper]) -> ImageDecoder:
    found = train_decoder([learner_of(mapper) for mapper in earlier], steps=60)
    assert found is not None
    return found


def learner_of(mapper: OccupancyMapper) -> LabelLearner:
    assert mapper.learner is not None
    return mapper.learner


@pytest.fixture(scope="module")
def prior_file(
    prior: ShapePrior, decoder: ImageDecoder, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    path = tmp_path_factory.mktemp("decoder") / "prior.npz"
    write_prior(prior, path, decoder)
    return path


def test_earlier_labels_find_what_no_label_of_this_subject_shows(
    decoder: ImageDecoder, prior_file: Path, sheet: Callable[..., TrackedFrame]
) -> None:
    assert decoder.useful and decoder.rule_off_mm > 1.5
    assert (decoder.subjects, decoder.images) == (3, 12)
    frame = sheet(100, NEXT_MM)
    for detector, with_prior, expected in (
        ("adaptive", True, True),
        ("both", True, True),
        ("adaptive", False, False),
        ("ridge", True, False),
    ):
        settings = MapperSettings(detector=detector, prior=str(prior_file) if with_prior else "")
        mapper = OccupancyMapper(settings)
        for _ in range(2):  # a reset does not forget the prior
            mapper.reset()
            found = mapper.integrate(frame)
            assert (found.beams > 100) == expected, (detector, with_prior)
        if expected:
            assert found.surface is not None
            depth_mm = np.nanmedian(found.surface.depth_mm)  # type: ignore[union-attr]
            assert depth_mm == pytest.approx(NEXT_MM, abs=0.4)


def test_a_map_tells_of_its_decoder_and_goes_on_with_it(
    prior_file: Path, sheet: Callable[..., TrackedFrame], tmp_path: Path
) -> None:
    mapper = OccupancyMapper(MapperSettings(detector="adaptive", prior=str(prior_file)))
    mapper.integrate(sheet(0, NEXT_MM))
    save_map_outputs(mapper, tmp_path)
    told = json.loads((tmp_path / SUMMARY_FILE).read_text())["decoder"]
    assert (told["subjects"], told["images"], told["useful"]) == (3, 12, True)
    again = OccupancyMapper.load(tmp_path / MAP_FILE)
    expected, found = (one.integrate(sheet(1, NEXT_MM)).surface for one in (mapper, again))
    assert expected is not None and found is not None
    np.testing.assert_array_equal(found.depth_mm, expected.depth_mm)  # type: ignore[union-attr]
    without = OccupancyMapper.load(tmp_path / MAP_FILE, prior="")
    assert without.integrate(sheet(1, NEXT_MM)).beams < 10


def test_each_subject_is_judged_by_what_the_others_taught(
    earlier: list[OccupancyMapper], monkeypatch: pytest.MonkeyPatch
) -> None:
    learners = [learner_of(mapper) for mapper in earlier]
    taught, judged = [], []

    def teach(images: list[TrainingImage], steps: int) -> LabelLearner:
        assert steps == 5
        taught.append({id(image) for image in images})
        return LabelLearner()

    def judge(_: LabelLearner, images: list[TrainingImage]) -> list[float]:
        judged.append({id(image) for image in images})
        return [0.5] * len(images)

    monkeypatch.setattr(LabelLearner, "taught", teach)
    monkeypatch.setattr(LabelLearner, "off_mm", judge)
    found = train_decoder(learners, steps=5)
    own = [{id(image) for image in learner.images} for learner in learners]
    assert judged == own
    assert taught == [set().union(*own), *(set().union(*own) - one for one in own)]
    assert found is not None and found.off_mm == pytest.approx(0.5)
    taught.clear()
    judged.clear()
    train_decoder(learners[:1], steps=5)  # one subject alone: every fourth of its images
    assert [len(part) for part in judged] == [1, 1, 1, 1] and not taught[1] & judged[0]


def test_labels_at_random_leave_the_rule_in_its_place(
    sheet: Callable[..., TrackedFrame], prior: ShapePrior, tmp_path: Path,
    bone_image: Images, linear: ProbeGeometry,
) -> None:  # fmt: skip
    draw = np.random.default_rng(4)
    learners = []
    for subject in range(2):
        mapper = OccupancyMapper(ADAPTIVE)
        for number in range(3):
            frame = sheet(10 * subject + number, 20.0, draw.uniform(5, 35))
            image = bone_image(linear, np.full(400, 20.0), seed=number)  # which the rule finds
            mapper.integrate(replace(frame, image=image))
        learners.append(learner_of(mapper))
    decoder = train_decoder(learners, steps=10)
    assert decoder is not None
    unsure = replace(decoder, off_mm=decoder.rule_off_mm)
    assert not unsure.useful
    write_prior(prior, tmp_path / "prior.npz", unsure)
    mapper = OccupancyMapper(MapperSettings(detector="adaptive", prior=str(tmp_path / "prior.npz")))
    by_rule = OccupancyMapper(MapperSettings(detector="ridge"))
    bone = replace(sheet(50, 20.0), image=bone_image(linear, np.full(400, 20.0), seed=50))
    found, expected = mapper.integrate(bone).surface, by_rule.integrate(bone).surface
    assert found is not None and expected is not None
    np.testing.assert_array_equal(found.depth_mm, expected.depth_mm)  # type: ignore[union-attr]


def test_no_labels_no_decoder(earlier: list[OccupancyMapper]) -> None:
    assert train_decoder([], steps=5) is None
    assert train_decoder([LabelLearner()], steps=5) is None
    assert train_decoder([learner_of(earlier[0])], steps=0) is None


def test_files(prior: ShapePrior, decoder: ImageDecoder, prior_file: Path, tmp_path: Path) -> None:
    again = read_prior(prior_file).decoder
    assert again is not None
    assert (again.subjects, again.off_mm, again.useful) == (3, decoder.off_mm, True)
    assert again.weights.keys() == decoder.weights.keys()
    for name, weight in decoder.weights.items():
        np.testing.assert_array_equal(again.weights[name], weight)
    write_prior(prior, tmp_path / "shape.npz")
    assert read_prior(tmp_path / "shape.npz").decoder is None
    spoilt = {name: np.full_like(weight, np.nan) for name, weight in decoder.weights.items()}
    write_prior(prior, tmp_path / "nan.npz", replace(decoder, weights=spoilt))
    with pytest.raises(InputError, match="decoder is not finite"):
        read_prior(tmp_path / "nan.npz")


def test_a_decoder_from_maps_on_the_command_line(
    earlier: list[OccupancyMapper], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = [str(tmp_path / f"{number}.npz") for number in range(3)]
    for mapper, file in zip(earlier, files, strict=True):
        mapper.save(file)
    out = tmp_path / "prior.npz"
    options = ["--decoder-steps", "2", "--grid-mm", "0.5", "--reach-mm", "3"]
    assert main(["prior", "train", *files, "--out", str(out), *options]) == 0
    assert "decoder from 12 labelled images of 3 subjects" in capsys.readouterr().out
    assert read_prior(out).decoder is not None
    options[1] = "0"
    assert main(["prior", "train", *files, "--out", str(out), *options]) == 0
    assert read_prior(out).decoder is None
    coarse = ["--grid-mm", "10"]
    assert main(["prior", "train", *files, "--out", str(out), *coarse]) == USER_ERROR
    assert "too little surface for a grid of 10 mm" in capsys.readouterr().err
