"""What `inspect` finds: planted gaps, repetitions, missing topics, wrong frames."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from us_recon.imaging.assembler import AssemblerSettings
from us_recon.imaging.events import AcquisitionEvent, GeometryEvent, ImageEvent, PoseEvent
from us_recon.imaging.probe import ProbeGeometry
from us_recon.io.bag import TopicNames, write_bag
from us_recon.io.bag.findings import Finding, Severity, findings
from us_recon.io.bag.inspection import BagReport, Gap, inspect_bag, timing

MakeSweep = Callable[..., list[AcquisitionEvent]]
NS_PER_S = 1_000_000_000


def inspected(
    tmp_path: Path, events: list[AcquisitionEvent], settings: AssemblerSettings | None = None
) -> tuple[BagReport, list[Finding]]:
    write_bag(tmp_path / "sweep", events)
    report = inspect_bag(tmp_path / "sweep", settings)
    return report, findings(report, TopicNames())


def blockers(found: list[Finding]) -> list[str]:
    return [finding.problem for finding in found if finding.severity is Severity.BLOCKER]


def test_a_good_sweep_has_nothing_to_report(tmp_path: Path, make_sweep: MakeSweep) -> None:
    report, found = inspected(tmp_path, make_sweep(20))
    assert found == []
    assert report.duration_s == pytest.approx(1.9) and report.start_s == 100.0
    assert report.images is not None and report.images.count == 20
    assert report.images.rate_hz == pytest.approx(10.0) and report.images.gaps == ()
    assert report.image_sizes == {"6 x 4": 20}
    assert [(t.parent, t.child, t.static) for t in report.transforms] == [
        ("probe", "transducer", True),
        ("world", "probe", False),
    ]
    assert report.geometries == (ProbeGeometry.linear(12.0, 8.0, 6, 4),)
    assert report.assembler.frames_assembled == 20
    assert {topic.name: topic.count for topic in report.topics}["/ultrasound/image"] == 20


def test_a_gap_is_found_where_it_is(tmp_path: Path, make_sweep: MakeSweep) -> None:
    # Images 7 to 11 are missing: after image 6, at 0.6 s, nothing comes for 0.6 s.
    report, found = inspected(tmp_path, make_sweep(20, skip=range(7, 12)))
    assert report.images is not None
    assert report.images.gaps == (Gap(start_s=0.6, length_s=0.6),)
    assert any("1 gaps in images: 0.600 s at 0.60 s" in f.problem for f in found)
    assert blockers(found) == []


def test_repeated_and_black_images_are_found(tmp_path: Path, make_sweep: MakeSweep) -> None:
    events = make_sweep(10)
    images = [number for number, event in enumerate(events) if isinstance(event, ImageEvent)]
    for number in (4, 5):  # images 3, 4 and 5 are the same
        events[images[number]] = replace(events[images[number]], image=events[images[3]].image)
    events[images[8]] = replace(events[images[8]], image=np.zeros((4, 6), np.uint8))
    report, found = inspected(tmp_path, events)
    assert (report.repeated_images, report.black_images) == (2, 1)
    assert any("2 images repeat the pixels" in f.problem for f in found)
    assert any("1 images are black" in f.problem for f in found)


def without(
    events: list[AcquisitionEvent], kind: type, **attributes: object
) -> list[AcquisitionEvent]:
    return [
        event
        for event in events
        if not isinstance(event, kind)
        or any(getattr(event, name) != value for name, value in attributes.items())
    ]


def test_a_missing_geometry_blocks(tmp_path: Path, make_sweep: MakeSweep) -> None:
    report, found = inspected(tmp_path, without(make_sweep(), GeometryEvent))
    assert blockers(found) == ["no probe geometry on /ultrasound/probe_geometry"]
    assert "ProbeGeometry" in found[0].advice
    assert report.assembler.frames_assembled == 0


def test_missing_poses_block(tmp_path: Path, make_sweep: MakeSweep) -> None:
    _, found = inspected(tmp_path, without(make_sweep(), PoseEvent, static=False))
    assert blockers(found) == ["no pose on /tf"]


def test_a_missing_calibration_blocks(tmp_path: Path, make_sweep: MakeSweep) -> None:
    _, found = inspected(tmp_path, without(make_sweep(), PoseEvent, static=True))
    (problem,) = blockers(found)
    assert problem.startswith("5 left out, pose_missing") and "'transducer'" in problem


def test_missing_images_block(tmp_path: Path, make_sweep: MakeSweep) -> None:
    report, found = inspected(tmp_path, without(make_sweep(), ImageEvent))
    assert blockers(found) == ["no image on /ultrasound/image"]
    assert report.images is None


def test_an_image_topic_of_another_name_is_suggested(tmp_path: Path, make_sweep: MakeSweep) -> None:
    write_bag(tmp_path / "sweep", make_sweep(), topics=TopicNames(image_topic="/b_mode"))
    report = inspect_bag(tmp_path / "sweep")
    found = findings(report, TopicNames())
    assert any(f.advice == "give --image-topic /b_mode" for f in found)


def test_a_wrong_image_frame_blocks_with_advice(tmp_path: Path, make_sweep: MakeSweep) -> None:
    events = [
        replace(event, frame_id="us_image") if isinstance(event, ImageEvent) else event
        for event in make_sweep()
    ]
    _, found = inspected(tmp_path, events)
    (problem,) = blockers(found)
    assert "image_frame" in problem and "'us_image'" in problem
    assert "--transducer-frame" in found[0].advice
    settings = AssemblerSettings(transducer_frame="us_image")
    _, found = inspected(tmp_path / "again", events, settings)
    assert "pose_missing" in blockers(found)[0]  # no transform leads to that frame


def test_a_changed_image_size_is_a_warning(tmp_path: Path, make_sweep: MakeSweep) -> None:
    events = make_sweep(6)
    last = events[-1]
    assert isinstance(last, ImageEvent)
    events[-1] = replace(last, image=np.ones((8, 6), np.uint8))
    report, found = inspected(tmp_path, events)
    assert report.image_sizes == {"6 x 4": 5, "6 x 8": 1}
    (finding,) = found
    assert finding.severity is Severity.WARNING and "1 left out, image_size" in finding.problem


def test_clocks_that_differ_are_seen(tmp_path: Path, make_sweep: MakeSweep) -> None:
    events = [
        replace(event, stamp_ns=event.stamp_ns + 50 * NS_PER_S)
        if isinstance(event, ImageEvent)
        else event
        for event in make_sweep()
    ]
    _, found = inspected(tmp_path, events)
    (problem,) = blockers(found)
    assert "newest pose is 50.000 s older" in problem


@pytest.mark.parametrize(
    ("stamps", "rate", "backwards", "gaps"),
    [
        ([0], 0.0, 0, ()),
        ([0, 0], 0.0, 1, ()),
        ([0, 10, 20, 15, 25], 1e8, 1, ()),
        # Median period 10 ns: the pause of 40 ns is more than three of them.
        ([0, 10, 20, 60, 70], 1e8, 0, (Gap(2e-8, 4e-8),)),
    ],
)
def test_timing(stamps: list[int], rate: float, backwards: int, gaps: tuple[Gap, ...]) -> None:
    pace = timing(stamps, 0)
    assert pace.rate_hz == pytest.approx(rate) and pace.backwards == backwards
    assert [(g.start_s, g.length_s) for g in pace.gaps] == [
        pytest.approx((g.start_s, g.length_s)) for g in gaps
    ]
