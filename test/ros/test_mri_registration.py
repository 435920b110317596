"""The registration node over real middleware, on a small volume and images made of it."""

import time
from pathlib import Path
from typing import Any

import cv2
import nibabel
import numpy as np
import open3d as o3d
import pytest
from scipy.spatial.transform import Rotation

from us_recon.acoustics.expected_image import expected_image
from us_recon.acoustics.hounsfield import acoustic_volume_from_ct
from us_recon.acoustics.settings import RenderSettings
from us_recon.geometry.rigid import from_euler_xyz_deg, invert_rigid, transform_points
from us_recon.imaging.events import GeometryEvent, ImageEvent, PoseEvent
from us_recon.imaging.frame import TrackedFrame
from us_recon.imaging.probe import ProbeGeometry
from us_recon.imaging.volume import Volume
from us_recon.io.device_files import write_device
from us_recon.io.landmarks import write_tag_pairs
from us_recon.io.wire import transform_to_matrix_mm
from us_recon.occupancy.mesh import Mesh
from us_recon.occupancy.mesh_files import write_mesh

pytest.importorskip("rclpy", reason="ROS 2 is not in this environment")

from geometry_msgs.msg import Point, PointStamped, PoseStamped
from rclpy.parameter import Parameter
from sensor_msgs.msg import Image
from std_srvs.srv import Trigger
from tf2_msgs.msg import TFMessage
from visualization_msgs.msg import Marker

from us_recon.errors import ConfigError, InputError
from us_recon.msg import RegistrationStatus
from us_recon.ros import conversions, qos
from us_recon.ros.mesh_marker import mesh_marker
from us_recon.ros.nodes.mri_registration import MriRegistrationNode

pytestmark = pytest.mark.ros
S = 1_000_000_000
T0 = 1_000 * S
GEOMETRY = ProbeGeometry.linear(40.0, 40.0, 80, 80, beam_count=80, sample_count=81)
T_WORLD_MRI = from_euler_xyz_deg(np.array([200.0, -50.0, 30.0]), np.array([10.0, -20.0, 40.0]))
OFF = from_euler_xyz_deg(np.array([1.5, -1.0, 1.0]), np.array([1.0, -1.5, 1.0]))
FRAMES = 16


def make_volume() -> Volume:
    """Make smooth random tissue, 60 mm on each side, with its centre at the origin."""
    noise = np.random.default_rng(3).normal(size=(60, 60, 60))
    for axis in range(3):
        noise = np.apply_along_axis(
            lambda line: cv2.GaussianBlur(line[None], (0, 0), 2.5)[0], axis, noise
        )
    data = 100.0 + 30.0 * noise / noise.std()
    T = np.eye(4)
    T[:3, 3] = -29.5
    return Volume(np.clip(data, 1, 255).astype(np.float32), T)


def sweep(volume: Volume) -> list[tuple[PoseEvent, ImageEvent]]:
    """Slide the probe along z of the MRI, tilting; images show the MRI's intensity."""
    plane = np.pad(GEOMETRY.pixels_to_mm(GEOMETRY.pixel_grid), ((0, 0), (0, 0), (0, 1)))
    events = []
    for k in range(FRAMES):
        T_mri_transducer = from_euler_xyz_deg(
            np.array([0.0, -20.0, -15.0 + 2.0 * k]), np.array([-10.0 + 1.3 * k, 0.0, 0.0])
        )
        image = volume.sample(transform_points(T_mri_transducer, plane), fill=0.0)
        stamp_ns = T0 + k * S // 10
        pose = PoseEvent(stamp_ns, T_WORLD_MRI @ T_mri_transducer, "world", "probe")
        events.append((pose, ImageEvent(stamp_ns, image.astype(np.uint8))))
    return events


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Any]]:
    """The MRI as a file, and the sweep over it."""
    volume = make_volume()
    path = tmp_path_factory.mktemp("mri") / "mri.nii.gz"
    nibabel.save(nibabel.Nifti1Image(volume.data, volume.T_space_index), path)
    return path, sweep(volume)


def start(graph: Any, mri: Path, **parameters: Any) -> MriRegistrationNode:
    settings = {
        "mri_file": str(mri),
        "reliable_images": True,
        "status_period_s": 0.1,
        "expected_period_s": 0.1,
        "stall_after_s": 600.0,
        "register_every_frames": FRAMES,
        "start_count": 32,
        "refine_count": 3,
        **parameters,
    }
    node = graph.add(
        MriRegistrationNode(
            parameter_overrides=[Parameter(name, value=value) for name, value in settings.items()]
        )
    )
    graph.publish(GeometryEvent(T0, GEOMETRY))
    graph.publish(PoseEvent(0, np.eye(4), "probe", "transducer", static=True))
    graph.wait(lambda: "transducer" in node.source.assembler.tree.parents, "the calibration")
    return node


def give_initial(graph: Any, T: np.ndarray, frame_id: str = "world") -> None:
    message = PoseStamped(
        header=conversions.header_message(T0, frame_id), pose=conversions.pose_message(T)
    )
    graph.send("/mri_registration/initial_pose", PoseStamped, message, qos.STATUS)


def target_error_mm(T: np.ndarray) -> float:
    targets = np.random.default_rng(0).uniform(-20, 20, (50, 3))
    difference = transform_points(T, targets) - transform_points(T_WORLD_MRI, targets)
    return float(np.linalg.norm(difference, axis=1).mean())


def test_a_sweep_is_registered_and_its_transform_published(
    graph: Any, scene: tuple[Path, list[Any]]
) -> None:
    mri, events = scene
    node = start(graph, mri)
    heard = graph.listen(TFMessage, "/tf", qos.TF)
    statuses = graph.listen(RegistrationStatus, "/mri_registration/status", qos.STATUS)
    expected = graph.listen(Image, "/mri_registration/expected_image", qos.stream(True, 10))
    overlays = graph.listen(Image, "/mri_registration/overlay", qos.stream(True, 10))
    boxes = graph.listen(Marker, "/mri_registration/mri_box", qos.LATCHED)
    T_initial = T_WORLD_MRI @ OFF
    assert target_error_mm(T_initial) > 1.5
    give_initial(graph, T_initial)
    graph.wait(lambda: node.has_initial, "the initial pose")
    for pose, image in events:
        graph.publish(pose)
        graph.publish(image)
    graph.wait(lambda: node.frames_used == FRAMES, "the frames", timeout_s=60.0)

    graph.wait(lambda: statuses and statuses[-1].attempted, "an attempt")
    status = statuses[-1]
    assert status.state == RegistrationStatus.STATE_REGISTERED, status.message
    assert status.trusted and status.score > status.score_threshold
    assert target_error_mm(transform_to_matrix_mm(status.transform)) < 0.3
    graph.wait(lambda: any(_mri_in(message) for message in heard), "the transform")
    (item,) = [item for message in heard for item in _mri_in(message)][-1:]
    assert item.header.frame_id == "world"
    assert target_error_mm(transform_to_matrix_mm(item.transform)) < 0.3
    graph.wait(lambda: boxes and expected and overlays, "box, expected image and overlay")
    assert overlays[-1].encoding == "rgb8"
    assert boxes[0].header.frame_id == "mri" and len(boxes[0].points) == 24
    assert (expected[-1].width, expected[-1].height) == (80, 80) and max(expected[-1].data) > 50


def test_a_patient_who_moves_is_followed_at_the_rate_that_is_asked_for(
    graph: Any, scene: tuple[Path, list[Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    mri, events = scene
    node = start(graph, mri, follow_rate_hz=5.0, motion_mm=1.0)  # as fast as he moves
    stamps_ns: list[int] = []
    step = node.registration.step

    def stepped(poses: int | None) -> Any:
        update = step(poses)
        stamps_ns.append(update.stamp_ns if update is not None else 0)
        return update

    monkeypatch.setattr(node.registration, "step", stepped)
    heard = graph.listen(TFMessage, "/tf", qos.TF)
    give_initial(graph, T_WORLD_MRI @ OFF)
    graph.wait(lambda: node.has_initial, "the initial pose")
    # Back over the same places, while the patient shifts by 1.6 mm in the world.
    moves = [from_euler_xyz_deg(np.array([0.1 * k, 0.0, 0.0]), np.zeros(3)) for k in range(1, 17)]
    back = []
    for number, ((pose, image), move) in enumerate(zip(events[::-1], moves, strict=True), FRAMES):
        stamp_ns = T0 + number * S // 10
        T = move @ pose.T_parent_child
        back.append((PoseEvent(stamp_ns, T, "world", "probe"), ImageEvent(stamp_ns, image.image)))
    for part, expected in ((events, FRAMES), (back, 2 * FRAMES)):  # fewer than a queue holds
        for pose, image in part:
            graph.publish(pose)
            graph.publish(image)
        graph.wait(lambda: node.frames_used == expected, "the frames", timeout_s=60.0)  # noqa: B023
    assert node.update is not None and node.update.trusted, node.update
    assert node.update.message.startswith("following a patient who moves")
    # Images come every 100 ms: of those after the registration, every second one is followed.
    last_ns = T0 + (FRAMES - 1) * S // 10
    assert stamps_ns == [last_ns + k * S // 5 for k in range(FRAMES // 2 + 1)]
    newest = back[-1][1].stamp_ns
    graph.wait(
        lambda: any(_stamp_ns(item) == newest for message in heard for item in _mri_in(message)),
        "the newest transform",
    )
    (item,) = [item for message in heard for item in _mri_in(message)][-1:]
    T_found = invert_rigid(moves[-1]) @ transform_to_matrix_mm(item.transform)
    assert target_error_mm(T_found) < 0.5


def test_frames_do_not_wait_for_a_live_search(
    graph: Any, scene: tuple[Path, list[Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    mri, events = scene
    node = start(
        graph, mri, reliable_images=False, poses_per_step=1, register_every_frames=4, min_frames=4
    )
    step, used = node.registration.step, []

    def slow(poses: int | None) -> Any:
        time.sleep(0.15)  # half as often as images come
        used.append(node.frames_used)
        return step(poses)

    monkeypatch.setattr(node.registration, "step", slow)
    statuses = graph.listen(RegistrationStatus, "/mri_registration/status", qos.STATUS)
    heard = graph.listen(TFMessage, "/tf", qos.TF)
    give_initial(graph, T_WORLD_MRI @ OFF)
    graph.wait(lambda: node.has_initial, "the initial pose")
    for number, (pose, image) in enumerate(events, 1):
        graph.publish(pose)
        graph.publish(image)
        graph.wait(lambda: node.source.assembler.images_received == number, "the image")  # noqa: B023
        time.sleep(0.07)
    graph.wait(lambda: node.frames_used == FRAMES, "the frames", timeout_s=10.0)
    # The search began with the fourth frame, and was far from its end when all were taken in.
    assert used[0] == 3 and node.registration.searching
    assert node.worker.backlog <= 1
    graph.wait(
        lambda: statuses and statuses[-1].message == "poses around the first guess are tried",
        "a status that says so",
    )
    monkeypatch.setattr(node.registration, "step", step)
    # No further frame comes, and it goes on all the same.
    graph.wait(lambda: any(_mri_in(message) for message in heard), "the transform", timeout_s=60.0)
    assert node.update is not None and node.update.trusted
    assert target_error_mm(node.update.T_world_mri) < 0.3


@pytest.mark.parametrize(
    ("live", "waiting", "searching_due", "following_due"),
    [(True, 2, True, True), (True, 3, False, False), (False, 3, True, True)],
)
def test_a_live_node_that_fell_behind_takes_frames_in_first(
    graph: Any,
    scene: tuple[Path, list[Any]],
    monkeypatch: pytest.MonkeyPatch,
    live: bool,
    waiting: int,
    searching_due: bool,
    following_due: bool,
) -> None:
    mri, events = scene
    node = start(graph, mri, reliable_images=not live, register_every_frames=10)
    monkeypatch.setattr(type(node.worker), "backlog", property(lambda _: 1 + waiting))
    T = events[0][0].T_parent_child
    frame = TrackedFrame(T0, events[0][1].image, T, GEOMETRY)
    kind = type(node.registration)
    monkeypatch.setattr(kind, "searching", property(lambda _: True))
    node._frames_since_attempt = 1
    assert node._is_due(frame) is searching_due
    node._frames_since_attempt = 10
    assert node._is_due(frame)  # now and then all the same
    monkeypatch.setattr(kind, "following", property(lambda _: True))
    node._attempted_ns = T0 - S // 10
    assert node._is_due(frame) is following_due
    node._attempted_ns = T0 - S
    assert node._is_due(frame)


def test_an_mri_of_something_else_is_not_published(
    graph: Any, scene: tuple[Path, list[Any]], tmp_path: Path
) -> None:
    _, events = scene
    volume = make_volume()
    other = tmp_path / "other.nii.gz"
    flipped = np.ascontiguousarray(volume.data[::-1, ::-1, ::-1])
    nibabel.save(nibabel.Nifti1Image(flipped, volume.T_space_index), other)
    node = start(graph, other)
    heard = graph.listen(TFMessage, "/tf", qos.TF)
    statuses = graph.listen(RegistrationStatus, "/mri_registration/status", qos.STATUS)
    give_initial(graph, T_WORLD_MRI)
    graph.wait(lambda: node.has_initial, "the initial pose")
    for pose, image in events:
        graph.publish(pose)
        graph.publish(image)
    graph.wait(lambda: node.frames_used == FRAMES, "the frames", timeout_s=60.0)
    graph.wait(lambda: statuses and statuses[-1].attempted, "an attempt")
    assert statuses[-1].state == RegistrationStatus.STATE_REJECTED and not statuses[-1].trusted
    assert statuses[-1].message
    assert not any(_mri_in(message) for message in heard)


def test_without_an_initial_pose_the_status_asks_for_it(
    graph: Any, scene: tuple[Path, list[Any]]
) -> None:
    mri, events = scene
    node = start(graph, mri)
    statuses = graph.listen(RegistrationStatus, "/mri_registration/status", qos.STATUS)
    give_initial(graph, T_WORLD_MRI, frame_id="camera")  # of another frame: not used
    for pose, image in events[:2]:
        graph.publish(pose)
        graph.publish(image)
    graph.wait(lambda: node.frames_used == 2, "two frames")
    graph.wait(lambda: statuses and statuses[-1].frames_used == 2, "a status")
    assert statuses[-1].state == RegistrationStatus.STATE_WAITING
    assert "no initial pose has arrived on /mri_registration/initial_pose" in statuses[-1].message
    assert not node.has_initial


@pytest.fixture(scope="module")
def ct(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Volume]:
    """Soft tissue and some bone in Hounsfield units."""
    volume = make_volume()
    hounsfield = Volume(volume.data - np.float32(100.0), volume.T_space_index)
    path = tmp_path_factory.mktemp("ct") / "ct.nii.gz"
    nibabel.save(nibabel.Nifti1Image(hounsfield.data, hounsfield.T_space_index), path)
    return path, hounsfield


def test_a_rendered_image_and_its_overlay_are_those_of_the_newest_frame(
    graph: Any, scene: tuple[Path, list[Any]], ct: tuple[Path, Volume], tmp_path: Path
) -> None:
    _, events = scene
    path, hounsfield = ct
    device = RenderSettings(gain_db=27.0, beam_mm=2.0)
    write_device(tmp_path / "device.json", device)
    node = start(
        graph,
        path,
        expected="render",
        mri_contrast="ct",
        device_file=str(tmp_path / "device.json"),
        register_every_frames=100_000,
    )
    expected = graph.listen(Image, "/mri_registration/expected_image", qos.stream(True, 10))
    overlays = graph.listen(Image, "/mri_registration/overlay", qos.stream(True, 10))
    graph.wait(lambda: node.wants_images, "listeners of the images")
    give_initial(graph, T_WORLD_MRI)
    graph.wait(lambda: node.has_initial, "the initial pose")
    pose, image = events[0]  # the worker takes the initial pose over with it
    graph.publish(pose)
    graph.publish(image)
    graph.wait(lambda: node.frames_used == 1, "the first frame")
    for pose, image in events[1:]:
        graph.publish(pose)
        graph.publish(image)
    newest = conversions.time_message(events[-1][1].stamp_ns)
    graph.wait(lambda: expected and expected[-1].header.stamp == newest, "the newest image")
    graph.wait(lambda: overlays and overlays[-1].header.stamp == newest, "the newest overlay")

    T_mri_transducer = invert_rigid(T_WORLD_MRI) @ events[-1][0].T_parent_child
    wanted = expected_image(
        acoustic_volume_from_ct(hounsfield), T_mri_transducer, GEOMETRY, device
    ).image
    shown = np.frombuffer(expected[-1].data, np.uint8).reshape(80, 80)
    assert wanted.std() > 10.0
    assert np.abs(shown.astype(int) - wanted).max() <= 1  # poses went through metres and float64
    both = np.frombuffer(overlays[-1].data, np.uint8).reshape(80, 80, 3)
    assert overlays[-1].encoding == "rgb8"
    np.testing.assert_array_equal(both[..., 0], events[-1][1].image)
    np.testing.assert_array_equal(both[..., 2], shown)


@pytest.mark.usefixtures("graph")
@pytest.mark.parametrize(
    ("parameters", "error", "message"),
    [
        ({}, ConfigError, "mri_contrast is empty; expected t1"),
        ({"mri_contrast": "t1"}, InputError, "does not look like a T1 MRI"),
        ({"mri_contrast": "ct", "device_file": "bad"}, ConfigError, "no setting 'gain'"),
    ],
)
def test_what_cannot_be_rendered_is_said_at_start(
    ct: tuple[Path, Volume],
    scene: tuple[Path, list[Any]],
    tmp_path: Path,
    parameters: dict[str, str],
    error: type[Exception],
    message: str,
) -> None:
    bad = tmp_path / "bad.json"
    bad.write_text('{"gain": 3}')
    mri = scene[0] if parameters.get("mri_contrast") == "t1" else ct[0]
    settings = {"mri_file": str(mri), "expected": "render", **parameters}
    if "device_file" in settings:
        settings["device_file"] = str(bad)
    with pytest.raises(error, match=message):
        MriRegistrationNode(
            parameter_overrides=[Parameter(name, value=value) for name, value in settings.items()]
        )


@pytest.mark.usefixtures("graph")
@pytest.mark.parametrize(
    ("mri", "error", "message"),
    [("", ConfigError, "mri_file is empty"), ("/nowhere/t1.nii.gz", InputError, "t1.nii.gz")],
)
def test_a_missing_mri_is_an_error_that_names_it(
    mri: str, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        MriRegistrationNode(parameter_overrides=[Parameter("mri_file", value=mri)])


def _mri_in(message: TFMessage) -> list[Any]:
    return [item for item in message.transforms if item.child_frame_id == "mri"]


def _stamp_ns(item: Any) -> int:
    return int(item.header.stamp.sec) * S + int(item.header.stamp.nanosec)


LANDMARKS = np.array([[0.0, 0.0, 0.0], [40.0, 0.0, 5.0], [0.0, 30.0, -10.0], [10.0, 10.0, 20.0]])


def landmark_file(folder: Path) -> str:
    path = folder / "pairs.tag"
    write_tag_pairs(path, LANDMARKS, transform_points(T_WORLD_MRI, LANDMARKS), "MRI, world")
    return str(path)


def click(graph: Any, point_mm: np.ndarray, frame_id: str = "world") -> None:
    x, y, z = (float(value) / 1000.0 for value in point_mm)
    message = PointStamped(
        header=conversions.header_message(T0, frame_id), point=Point(x=x, y=y, z=z)
    )
    graph.send("/clicked_point", PointStamped, message, qos.STATUS)


def test_landmark_pairs_give_the_first_guess(
    graph: Any, scene: tuple[Path, list[Any]], tmp_path: Path
) -> None:
    node = start(graph, scene[0], initial_from="landmarks", landmarks_file=landmark_file(tmp_path))
    assert node.has_initial and node.initial.message == "4 landmark pairs, 0.0 mm apart (RMS)"
    T = node.initial.take()
    assert T is not None and target_error_mm(T) < 0.01


def test_clicked_points_give_the_first_guess_and_can_be_started_again(
    graph: Any, scene: tuple[Path, list[Any]], tmp_path: Path
) -> None:
    node = start(graph, scene[0], initial_from="clicks", landmarks_file=landmark_file(tmp_path))
    world = transform_points(T_WORLD_MRI, LANDMARKS)
    assert node.initial.message == "0 of 4 landmarks clicked; click the first"
    click(graph, world[3], frame_id="camera")  # of another frame: not used
    click(graph, world[3])
    graph.wait(lambda: node.initial.message.startswith("1 of 4"), "the first click")
    client = graph.node.create_client(Trigger, "/mri_registration/restart_landmarks")
    assert client.wait_for_service(20.0)
    answer = client.call_async(Trigger.Request())
    graph.wait(answer.done, "the restart")
    assert answer.result().success and node.initial.message.startswith("0 of 4")
    for number in range(3):
        click(graph, world[number])
    graph.wait(lambda: node.has_initial, "a guess from three points")
    assert node.initial.message == "3 of 4 landmarks clicked, 0.0 mm apart (RMS); click number 4"
    T = node.initial.take()
    assert T is not None and target_error_mm(T) < 0.01


def test_a_mapped_surface_gives_the_first_guess(
    graph: Any, scene: tuple[Path, list[Any]], tmp_path: Path
) -> None:
    # An ellipsoid with three different axes cut by a plane, whose mesh comes as the mapper's does.
    sphere = o3d.geometry.TriangleMesh.create_sphere(1.0, resolution=40)
    vertices = np.asarray(sphere.vertices) * [20.0, 12.0, 8.0]
    vertices[:, 2] += 0.004 * vertices[:, 0] ** 2 + 0.1 * np.maximum(vertices[:, 1], 0.0) ** 1.5
    triangles = np.asarray(sphere.triangles).astype(np.int32)
    write_mesh(Mesh(vertices.astype(np.float32), triangles), tmp_path / "bone.stl")
    seen = triangles[(vertices[triangles][..., 2] > -1.0).all(axis=1)]
    world = transform_points(T_WORLD_MRI, vertices).astype(np.float32)
    guess = T_WORLD_MRI @ from_euler_xyz_deg(np.array([4.0, -3.0, 2.0]), np.array([4.0, 5.0, -3.0]))
    yaw, pitch, roll = Rotation.from_matrix(guess[:3, :3]).as_euler("ZYX")
    node = start(
        graph,
        scene[0],
        initial_from="surface",
        mri_surface_file=str(tmp_path / "bone.stl"),
        surface_min_triangles=1000,
        surface_starts=4,
        initial_translation_m=[float(value) / 1000.0 for value in guess[:3, 3]],
        initial_rotation_rpy_rad=[float(roll), float(pitch), float(yaw)],
    )
    assert node.initial.message == "no surface has arrived on /occupancy_mapper/mesh"
    publisher = graph.node.create_publisher(Marker, "/occupancy_mapper/mesh", qos.LATCHED)
    stamp, colour = conversions.time_message(T0), (1.0, 1.0, 1.0, 1.0)
    publisher.publish(mesh_marker(world, seen[:100], "world", stamp, colour))
    graph.wait(lambda: "has 100 triangles, 1000 needed" in node.initial.message, "a small surface")
    publisher.publish(mesh_marker(world, seen, "world", stamp, colour))
    taken: list[np.ndarray] = []

    def aligned() -> bool:
        T = node.initial.take()
        if T is not None:
            taken.append(T)
        return bool(taken)

    graph.wait(aligned, f"an alignment ({node.initial.message})", timeout_s=60.0)
    assert node.initial.message.startswith("surfaces aligned, ")
    assert target_error_mm(taken[0]) < 1.0 < target_error_mm(guess)


@pytest.mark.usefixtures("graph")
@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("landmarks", "landmarks_file"),
        ("clicks", "landmarks_file"),
        ("surface", "mri_surface_file"),
    ],
)
def test_a_source_without_its_file_is_an_error(
    scene: tuple[Path, list[Any]], source: str, name: str
) -> None:
    settings = {"mri_file": str(scene[0]), "initial_from": source}
    with pytest.raises(ConfigError, match=f"initial_from is {source}: {name} is empty"):
        MriRegistrationNode(
            parameter_overrides=[Parameter(key, value=value) for key, value in settings.items()]
        )
