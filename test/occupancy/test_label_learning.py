"""A detector that learns from the labels of the recording: targets that the rule cannot know."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from us_recon.geometry.rigid import from_euler_xyz_deg
from us_recon.imaging.frame import TrackedFrame
from us_recon.imaging.probe import ProbeGeometry
from us_recon.occupancy import label_learning
from us_recon.occupancy.bone_detector import BoneDetector, BoneDetectorSettings
from us_recon.occupancy.bone_network import STEP_MM, Weights, trained
from us_recon.occupancy.bone_training import TrainingImage, moved, training_image
from us_recon.occupancy.brightness import coarse_geometry
from us_recon.occupancy.label_learning import LabelLearner
from us_recon.occupancy.labels import label_surface
from us_recon.occupancy.mapper import MapperSettings, OccupancyMapper

Images = Callable[..., np.ndarray]
SETTINGS = MapperSettings(method="tsdf", detector="adaptive", learning_steps=25)
DEPTH_MM = 15.0


@pytest.fixture(scope="module")
def sheets(linear: ProbeGeometry, bone_image: Images) -> list[TrackedFrame]:
    """Frames of a bright sheet with tissue below it, which the rule takes for no bone."""
    depth_mm = np.full(400, DEPTH_MM)
    return [
        TrackedFrame(
            stamp_ns=k,
            image=bone_image(linear, depth_mm, seed=k, shadow=False),
            T_world_transducer=from_euler_xyz_deg(np.array([0.0, 0.0, k]), np.zeros(3)),
            geometry=linear,
        )
        for k in range(12)
    ]


def labelled(frame: TrackedFrame, depth_mm: float = DEPTH_MM) -> TrackedFrame:
    rows_mm = frame.geometry.pixels_to_mm(frame.geometry.pixel_grid)[..., 1]
    return replace(frame, label=(rows_mm > depth_mm).astype(np.uint8))


def shown(frames: list[TrackedFrame], settings: MapperSettings = SETTINGS) -> OccupancyMapper:
    mapper = OccupancyMapper(settings)
    for frame in frames:
        mapper.integrate(frame)
    return mapper


def test_labels_teach_what_the_rule_cannot_know(sheets: list[TrackedFrame]) -> None:
    labels, unlabelled = [labelled(frame) for frame in sheets[:8]], sheets[-1]
    by_rule = shown(labels, replace(SETTINGS, detector="ridge")).integrate(unlabelled)
    assert by_rule.beams < 10
    learnt = shown(labels).integrate(unlabelled)
    assert learnt.beams > 100 and learnt.surface is not None
    assert np.nanmedian(learnt.surface.depth_mm) == pytest.approx(DEPTH_MM, abs=0.3)


def test_no_label_judges_what_was_learnt_from_it(
    sheets: list[TrackedFrame], linear: ProbeGeometry, monkeypatch: pytest.MonkeyPatch
) -> None:
    learner = LabelLearner()
    nothing = label_surface(np.zeros(linear.shape, np.uint8), linear)
    for frame in sheets[:6]:  # rule and network find nothing: neither is the better one
        marked = labelled(frame)
        assert marked.label is not None
        learner.learn(frame, marked.label, nothing, nothing, steps=0)
    assert not learner.useful
    seen: list[TrainingImage] = []
    judged: list[np.ndarray] = []

    def taught(images: list[TrainingImage], *_: object) -> LabelLearner:
        assert 0 < len(images) < 6
        seen[:] = images
        return LabelLearner()

    def off_mm(image: TrainingImage, *_: object) -> list[float]:
        assert not any(image is one for one in seen)
        judged.append(image.grey)
        return [1.0, 0.9]

    monkeypatch.setattr(LabelLearner, "taught", taught)
    monkeypatch.setattr(label_learning, "_both_off_mm", off_mm)
    learner.finish(steps=1, settings=SETTINGS.bone_detector())
    assert learner.useful and len(judged) == 6
    assert len({grey.tobytes() for grey in judged}) == 6  # each of them once


def test_what_is_judged_begins_where_the_learner_did(
    sheets: list[TrackedFrame], linear: ProbeGeometry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Weights that came from earlier subjects are not judged by those from simulation."""
    first = {name: 0.5 * weight for name, weight in trained().items()}
    learner = LabelLearner(first=first)
    nothing = label_surface(np.zeros(linear.shape, np.uint8), linear)
    for frame in sheets[:6]:
        marked = labelled(frame)
        assert marked.label is not None
        learner.learn(frame, marked.label, nothing, nothing, steps=0)
    tried: list[Weights] = []

    def off_mm(_: TrainingImage, __: BoneDetectorSettings, used: Weights) -> list[float]:
        tried.append(used)
        return [0.9, 1.0]

    monkeypatch.setattr(label_learning, "_both_off_mm", off_mm)
    learner.finish(steps=0, settings=SETTINGS.bone_detector())
    assert len(tried) == 6 and not learner.useful
    for name, weight in first.items():
        np.testing.assert_array_equal(tried[0][name], weight)


def test_rule_and_network_are_judged_as_they_are_used(sheets: list[TrackedFrame]) -> None:
    """On the same beams the detector finds what it finds in the image, with and without network."""
    marked = labelled(sheets[0])
    assert marked.label is not None
    settings = SETTINGS.bone_detector()
    image = training_image(marked.image, marked.label, marked.geometry)
    weights = trained()
    by_rule, by_both = BoneDetector(settings).compared(marked.image, marked.geometry, weights)
    judged = label_learning._both_off_mm(image, settings, weights)
    true_mm = label_surface(marked.label, by_rule.geometry).depth_mm
    wanted = [label_learning._off_mm(true_mm, one.depth_mm) for one in (by_rule, by_both)]
    np.testing.assert_allclose(judged, wanted, atol=0.1)


def test_two_labels_are_too_few_to_be_believed(sheets: list[TrackedFrame]) -> None:
    mapper = shown([labelled(frame) for frame in sheets[:2]])
    assert mapper.integrate(sheets[-1]).beams < 10


def test_labels_at_random_are_not_followed(
    linear: ProbeGeometry, bone_image: Images, sheets: list[TrackedFrame]
) -> None:
    """Where labels tell nothing, the rule stays, and finds its bone."""
    draw = np.random.default_rng(1)
    bone = [
        replace(frame, image=bone_image(linear, np.full(400, 20.0), seed=k))
        for k, frame in enumerate(sheets)
    ]
    marked = [labelled(frame, draw.uniform(5.0, 35.0)) for frame in bone[:6]]
    mapper = shown(marked)
    found = mapper.integrate(bone[-1])
    assert found.beams > 100 and found.surface is not None
    assert np.nanmedian(found.surface.depth_mm) == pytest.approx(20.0, abs=0.4)
    rule = OccupancyMapper(replace(SETTINGS, detector="ridge"))
    for frame in marked:  # its calibration takes them in, too
        rule.integrate(frame)
    as_by_rule = rule.integrate(bone[-1])
    assert as_by_rule.surface is not None
    np.testing.assert_array_equal(found.surface.depth_mm, as_by_rule.surface.depth_mm)


def test_a_recording_that_is_looked_at_again_is_mapped_from_its_first_frame(
    sheets: list[TrackedFrame],
) -> None:
    frames = [
        labelled(frame) if k in (4, 5, 6, 7, 8, 9) else frame for k, frame in enumerate(sheets)
    ]
    mapper = shown(frames)
    assert mapper.snapshot().mesh.vertices_mm[:, 2].min() > 0.5  # nothing before the labels
    mapper.look_again(50)
    assert mapper.snapshot().frames == 0
    assert mapper.learner is not None
    taught = {name: weight.clone() for name, weight in mapper.learner.weights.items()}
    for frame in frames:
        mapper.integrate(frame)
    for name, weight in mapper.learner.weights.items():
        np.testing.assert_array_equal(weight, taught[name])  # no label teaches twice
    mesh = mapper.snapshot().mesh
    assert mesh.vertices_mm[:, 2].min() < 0.0
    assert np.median(np.abs(mesh.vertices_mm[:, 1] - DEPTH_MM)) < 0.3


def test_learning_goes_on_from_a_file_as_if_it_had_not_stopped(
    sheets: list[TrackedFrame], tmp_path: Path
) -> None:
    labels = [labelled(frame) for frame in sheets[:6]]
    at_once = shown(labels)
    halfway = shown(labels[:3])
    halfway.save(tmp_path / "map.npz")
    resumed = OccupancyMapper.load(tmp_path / "map.npz")
    for frame in labels[3:]:
        resumed.integrate(frame)
    for frame in sheets[6:]:
        expected, found = at_once.integrate(frame).surface, resumed.integrate(frame).surface
        assert expected is not None and found is not None
        np.testing.assert_array_equal(found.depth_mm, expected.depth_mm)
    at_once.save(tmp_path / "map.npz")
    ended = OccupancyMapper.load(tmp_path / "map.npz")
    assert ended.learner is not None and ended.learner.useful
    expected, found = (one.integrate(sheets[6]).surface for one in (at_once, ended))
    assert expected is not None and found is not None  # without a further label
    np.testing.assert_array_equal(found.depth_mm, expected.depth_mm)


def test_an_image_moves_together_with_its_surface(linear: ProbeGeometry) -> None:
    coarse = coarse_geometry(linear, 64, STEP_MM)
    sample = np.rint(50 + 20 * np.sin(np.linspace(0, 4, 64))).astype(int)
    grey = np.full((64, coarse.sample_count), 40, np.uint8)
    grey[np.arange(64), sample] = 240
    depth_mm = coarse.sample_depths_mm[sample].astype(np.float32)
    depth_mm[20:30] = np.nan
    image = TrainingImage(grey, depth_mm, coarse)
    deeper, aside = [], []
    for seed in range(20):
        elsewhere = moved(image, np.random.default_rng(seed))
        shown = np.isfinite(elsewhere.depth_mm)
        brightest = coarse.sample_depths_mm[elsewhere.grey.argmax(axis=1)]
        off_mm = np.abs(brightest - elsewhere.depth_mm)[shown]
        # The line is one sample wide: between two beams of which it steps it may be lost.
        assert np.median(off_mm) < STEP_MM and np.percentile(off_mm, 90) < 4 * STEP_MM
        deeper.append(np.nanmean(elsewhere.depth_mm) - np.nanmean(depth_mm))
        aside.append(np.flatnonzero(~shown).mean() - 24.5)
    assert np.ptp(deeper) > 5.0
    assert np.ptp(aside) > 10


def test_labels_also_teach_where_bone_did_not_happen_to_lie(sheets: list[TrackedFrame]) -> None:
    marked = labelled(sheets[0])
    assert marked.label is not None
    image = training_image(marked.image, marked.label, marked.geometry)
    draw = np.random.default_rng(0)
    middle_mm = [np.nanmean(label_learning._varied(image, draw).depth_mm) for _ in range(40)]
    as_it_is = np.isclose(middle_mm, np.nanmean(image.depth_mm), atol=1e-4).mean()
    assert 0.2 < as_it_is < 0.8 and np.ptp(middle_mm) > 5.0
