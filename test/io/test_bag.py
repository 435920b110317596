from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import yaml
from rosbags.rosbag2 import StoragePlugin, Writer

from us_recon.errors import InputError
from us_recon.imaging.assembler import DropReason, FrameAssembler
from us_recon.imaging.events import (
    AcquisitionEvent,
    GeometryEvent,
    ImageEvent,
    LabelEvent,
    PoseEvent,
)
from us_recon.io import messages, wire
from us_recon.io.bag import (
    BagReader,
    RejectedMessage,
    Storage,
    TopicNames,
    frames_from_bag,
    truth_folder,
    write_bag,
)

MakeSweep = Callable[..., list[AcquisitionEvent]]


def read(path: Path, topics: TopicNames | None = None) -> list[AcquisitionEvent | RejectedMessage]:
    with BagReader(path, topics or TopicNames()) as bag:
        return list(bag.events())


@pytest.mark.parametrize("storage", list(Storage))
def test_events_come_back_in_order(tmp_path: Path, storage: Storage, make_sweep: MakeSweep) -> None:
    events = make_sweep(labels=True)
    counts = write_bag(tmp_path / "sweep", events, storage=storage)
    assert counts == {
        "/tf_static": 1,
        "/ultrasound/probe_geometry": 1,
        "/tf": 5,
        "/ultrasound/label": 5,
        "/ultrasound/image": 5,
    }
    back = read(tmp_path / "sweep")
    assert [type(event) for event in back] == [type(event) for event in events]
    for expected, found in zip(events, back, strict=True):
        assert not isinstance(found, RejectedMessage)
        assert found.stamp_ns == expected.stamp_ns
        if isinstance(expected, PoseEvent) and isinstance(found, PoseEvent):
            np.testing.assert_allclose(found.T_parent_child, expected.T_parent_child, atol=1e-9)
            assert (found.parent, found.child) == (expected.parent, expected.child)
            assert found.static == expected.static
        if isinstance(expected, ImageEvent) and isinstance(found, ImageEvent):
            np.testing.assert_array_equal(found.image, expected.image)
        if isinstance(expected, LabelEvent) and isinstance(found, LabelEvent):
            np.testing.assert_array_equal(found.label, expected.label)


def test_a_label_comes_before_its_image_whatever_the_order_of_writing(
    tmp_path: Path, make_sweep: MakeSweep
) -> None:
    events = make_sweep(labels=True)
    late = sorted(events, key=lambda e: (e.stamp_ns, not isinstance(e, ImageEvent)))
    write_bag(tmp_path / "sweep", late)
    frames = list(frames_from_bag(tmp_path / "sweep"))
    assert len(frames) == 5 and all(frame.label is not None for frame in frames)


@pytest.mark.parametrize("storage", list(Storage))
def test_frames_are_placed_as_a_node_would(
    tmp_path: Path, storage: Storage, make_sweep: MakeSweep
) -> None:
    write_bag(tmp_path / "sweep", make_sweep(), storage=storage)
    frames = list(frames_from_bag(tmp_path / "sweep"))
    # world <- probe is a shift by (3, 2, -3) at frame 3; probe <- transducer turns x to y and
    # shifts by (5, 6, 7): the face's centre is at (8, 8, 4).
    np.testing.assert_allclose(frames[3].T_world_transducer[:3, 3], [8, 8, 4], atol=1e-9)
    np.testing.assert_allclose(frames[3].T_world_transducer[:3, 0], [0, 1, 0], atol=1e-9)
    assert frames[3].geometry.spacing_x_mm == pytest.approx(2.0)


def test_a_single_storage_file_is_a_bag_too(tmp_path: Path, make_sweep: MakeSweep) -> None:
    write_bag(tmp_path / "sweep", make_sweep())
    assert len(list(frames_from_bag(tmp_path / "sweep" / "sweep.mcap"))) == 5


def test_metadata_follows_rosbag2(tmp_path: Path, make_sweep: MakeSweep) -> None:
    write_bag(tmp_path / "sweep", make_sweep(), storage=Storage.SQLITE3)
    text = (tmp_path / "sweep" / "metadata.yaml").read_text()
    information = yaml.safe_load(text)["rosbag2_bagfile_information"]
    assert information["storage_identifier"] == "sqlite3"
    assert information["relative_file_paths"] == ["sweep.db3"]
    assert information["starting_time"]["nanoseconds_since_epoch"] == 100_000_000_000
    assert information["duration"]["nanoseconds"] == 400_000_000
    assert information["message_count"] == 12
    topics = {
        entry["topic_metadata"]["name"]: entry["topic_metadata"]
        for entry in information["topics_with_message_count"]
    }
    durability = {name: t["offered_qos_profiles"][0]["durability"] for name, t in topics.items()}
    assert durability == {
        "/tf_static": "transient_local",
        "/ultrasound/probe_geometry": "transient_local",
        "/tf": "volatile",
        "/ultrasound/image": "volatile",
    }
    assert all(t["type_description_hash"].startswith("RIHS01_") for t in topics.values())
    assert all(t["serialization_format"] == "cdr" for t in topics.values())


def test_truth_travels_with_the_bag(tmp_path: Path, make_sweep: MakeSweep) -> None:
    (tmp_path / "bone.stl").write_text("solid")
    write_bag(tmp_path / "sweep", make_sweep(), truth=[tmp_path / "bone.stl"])
    assert (truth_folder(tmp_path / "sweep") / "bone.stl").read_text() == "solid"
    assert len(list(frames_from_bag(tmp_path / "sweep"))) == 5


def test_an_existing_bag_is_replaced_only_on_request(tmp_path: Path, make_sweep: MakeSweep) -> None:
    write_bag(tmp_path / "sweep", make_sweep(5))
    with pytest.raises(InputError, match="exists already"):
        write_bag(tmp_path / "sweep", make_sweep(2))
    assert len(list(frames_from_bag(tmp_path / "sweep"))) == 5
    write_bag(tmp_path / "sweep", make_sweep(2), overwrite=True)
    assert len(list(frames_from_bag(tmp_path / "sweep"))) == 2
    assert [path.name for path in tmp_path.iterdir()] == ["sweep"]


def test_a_failure_leaves_nothing_behind(tmp_path: Path, make_sweep: MakeSweep) -> None:
    def events() -> list[AcquisitionEvent]:
        yield from make_sweep(2)
        raise InputError("the source broke")

    with pytest.raises(InputError, match="the source broke"):
        write_bag(tmp_path / "sweep", events())
    with pytest.raises(InputError, match="nothing to write"):
        write_bag(tmp_path / "sweep", [])
    assert list(tmp_path.iterdir()) == []


def test_other_topic_names(tmp_path: Path, make_sweep: MakeSweep) -> None:
    topics = TopicNames(image_topic="/probe/b_mode", tf_topic="/tracker/tf")
    write_bag(tmp_path / "sweep", make_sweep(), topics=topics)
    assert len(list(frames_from_bag(tmp_path / "sweep", topics=topics))) == 5
    with pytest.raises(InputError, match=r"no topic '/ultrasound/image'.*has /probe/b_mode"):
        list(frames_from_bag(tmp_path / "sweep"))


def write_raw(path: Path, typed: list[tuple[str, str, int, bytes]]) -> None:
    store = messages.own_typestore()
    connections = {}
    with Writer(path, version=9, storage_plugin=StoragePlugin.MCAP) as bag:
        for topic, typename, log_ns, data in typed:
            if topic not in connections:
                connections[topic] = bag.add_connection(topic, typename, typestore=store)
            bag.write(connections[topic], log_ns, data)


def encoded(typename: str, fields: dict[str, object]) -> bytes:
    store = messages.own_typestore()
    return bytes(store.serialize_cdr(messages.make_message(store, typename, fields), typename))


def test_messages_that_cannot_be_read_are_counted_and_the_rest_is_used(
    tmp_path: Path, make_sweep: MakeSweep
) -> None:
    deep = wire.image_to_fields(np.zeros((4, 6), np.uint8), 100_050_000_000, "transducer")
    write_bag(tmp_path / "sweep", make_sweep())
    with BagReader(tmp_path / "sweep") as bag:
        raw = [(m.topic, m.typename, m.log_ns, m.data) for m in bag.raw_messages()]
    raw.append(
        ("/ultrasound/image", messages.IMAGE, 100_050_000_000,
         encoded(messages.IMAGE, {**deep, "encoding": "mono16"}))
    )  # fmt: skip
    raw.append(("/ultrasound/image", messages.IMAGE, 100_150_000_000, b"\x00\x01\x00\x00\x01"))
    write_raw(tmp_path / "spoiled", sorted(raw, key=lambda item: item[2]))
    assembler = FrameAssembler()
    frames = list(frames_from_bag(tmp_path / "spoiled", assembler=assembler))
    assert len(frames) == 5
    assert assembler.drops == {DropReason.IMAGE_FORMAT: 2}
    assert assembler.images_received == 7
    problems = [e.problem for e in read(tmp_path / "spoiled") if isinstance(e, RejectedMessage)]
    assert "mono16" in problems[0] and "of 5 bytes cannot be decoded" in problems[1]


def test_poses_may_come_as_pose_stamped(tmp_path: Path, make_sweep: MakeSweep) -> None:
    raw = []
    for event in make_sweep():
        if isinstance(event, PoseEvent) and not event.static:
            fields = {
                "header": wire.header_to_fields(event.stamp_ns, "world"),
                "pose": wire.matrix_mm_to_pose_fields(event.T_parent_child),
            }
            data = encoded(messages.POSE, fields)
            raw.append(("/probe_pose", messages.POSE, event.stamp_ns, data))
        elif isinstance(event, PoseEvent):
            tf = {"transforms": [wire.pose_to_transform_stamped_fields(event)]}
            raw.append(("/tf_static", messages.TF, event.stamp_ns, encoded(messages.TF, tf)))
        elif isinstance(event, GeometryEvent):
            fields = wire.probe_geometry_to_fields(event.geometry, event.stamp_ns, "transducer")
            data = encoded(messages.PROBE_GEOMETRY, fields)
            topic = "/ultrasound/probe_geometry"
            raw.append((topic, messages.PROBE_GEOMETRY, event.stamp_ns, data))
        elif isinstance(event, ImageEvent):
            fields = wire.image_to_fields(event.image, event.stamp_ns, "transducer")
            data = encoded(messages.IMAGE, fields)
            raw.append(("/ultrasound/image", messages.IMAGE, event.stamp_ns, data))
    write_raw(tmp_path / "posed", raw)
    assert list(frames_from_bag(tmp_path / "posed")) == []
    topics = TopicNames(pose_topic="/probe_pose")
    frames = list(frames_from_bag(tmp_path / "posed", topics=topics))
    np.testing.assert_allclose(frames[3].T_world_transducer[:3, 3], [8, 8, 4], atol=1e-9)


def test_a_topic_of_another_type_is_named(tmp_path: Path, make_sweep: MakeSweep) -> None:
    write_bag(tmp_path / "sweep", make_sweep())
    topics = TopicNames(image_topic="/tf", tf_topic="/elsewhere")
    with pytest.raises(InputError, match=r"/tf holds tf2_msgs/msg/TFMessage, not sensor_msgs"):
        read(tmp_path / "sweep", topics)


def spoil_metadata(bag: Path) -> None:
    (bag / "metadata.yaml").write_text("rosbag2_bagfile_information: [not, a, mapping]")


def remove_metadata(bag: Path) -> None:
    (bag / "metadata.yaml").unlink()


def remove_storage(bag: Path) -> None:
    next(iter(bag.glob("sweep.*"))).unlink()


def cut_storage(bag: Path) -> None:
    path = next(iter(bag.glob("sweep.*")))
    path.write_bytes(path.read_bytes()[:200])


def overwrite_storage(bag: Path) -> None:
    next(iter(bag.glob("sweep.*"))).write_bytes(b"this is no storage file" * 40)


@pytest.mark.parametrize("storage", list(Storage))
@pytest.mark.parametrize(
    "spoil", [spoil_metadata, remove_metadata, remove_storage, cut_storage, overwrite_storage]
)
def test_broken_bags_are_named(
    tmp_path: Path, storage: Storage, spoil: Callable[[Path], None], make_sweep: MakeSweep
) -> None:
    bag = tmp_path / "sweep"
    write_bag(bag, make_sweep(), storage=storage)
    spoil(bag)
    with pytest.raises(InputError, match="sweep"):
        read(bag)


def test_what_is_no_bag_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is not a bag"):
        read(tmp_path / "absent")
    (tmp_path / "file.txt").write_text("text")
    with pytest.raises(InputError, match="cannot be read as a bag"):
        read(tmp_path / "file.txt")


def test_an_empty_bag_is_named(tmp_path: Path) -> None:
    write_raw(tmp_path / "empty", [])
    with pytest.raises(InputError, match="holds no message"):
        read(tmp_path / "empty")
