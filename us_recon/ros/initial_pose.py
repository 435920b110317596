"""Where the registration's first guess comes from: parameters, a topic, points, or a surface."""

from pathlib import Path
from threading import Lock

import numpy as np
from geometry_msgs.msg import PointStamped, PoseStamped
from jaxtyping import Float64
from rclpy.node import Node
from std_srvs.srv import Trigger
from visualization_msgs.msg import Marker

from us_recon.errors import ConfigError, InputError
from us_recon.geometry.rigid import Matrix4, is_rigid, make_rigid
from us_recon.io.landmarks import read_tag_pairs, read_tag_points
from us_recon.io.wire import MM_PER_M, point_to_mm, pose_from_pose_stamped
from us_recon.occupancy.mesh_files import read_mesh
from us_recon.pipeline.node_settings import RegistrationNodeSettings
from us_recon.registration.landmarks import ClickedLandmarks, fit_rigid, residual_mm
from us_recon.registration.surface_start import SurfaceSettings, align_surfaces
from us_recon.ros import qos
from us_recon.ros.distribution import rpy_matrix


class InitialPose:
    """Listen for first guesses and hand over the newest one, once.

    A PoseStamped on `~/initial_pose` always counts, whatever `initial_from` says. Callbacks only
    convert and keep; surfaces are aligned where `take` is called, in the worker.
    """

    def __init__(
        self,
        node: Node,
        settings: RegistrationNodeSettings,
        surface: SurfaceSettings,
        world_frame: str,
    ) -> None:
        """Read what `initial_from` asks for and subscribe.

        Raises:
            ConfigError: A file that `initial_from` needs is not given.
            InputError: A file cannot be read, or its landmarks fit no pose.
        """
        self._node, self._settings, self._surface = node, settings, surface
        self._world = world_frame
        self._lock = Lock()  # between the executor and the worker
        self._newest: Matrix4 | None = None
        self._mapped_mm: Float64[np.ndarray, "corners 3"] | None = None
        self._clicked: ClickedLandmarks | None = None
        self._aligned = False
        self.message = ""
        """What the chosen source has to say: what is missing, or how well points fit."""
        node.create_subscription(PoseStamped, "~/initial_pose", self._take_pose, qos.STATUS)
        getattr(self, f"_start_{settings.initial_from}")()

    @property
    def waiting(self) -> bool:
        """Whether a guess waits to be taken."""
        with self._lock:
            return self._newest is not None

    def take(self) -> Matrix4 | None:
        """Return the newest guess if it has not been taken yet; aligns a surface that waits."""
        with self._lock:
            mapped_mm, self._mapped_mm = self._mapped_mm, None
        if mapped_mm is not None:
            self._align(mapped_mm)
        with self._lock:
            newest, self._newest = self._newest, None
        return newest

    def _start_topic(self) -> None:
        topic = self._node.resolve_topic_name("~/initial_pose")
        self.message = f"no initial pose has arrived on {topic}"

    def _start_parameters(self) -> None:
        self._set(self._guess())

    def _start_landmarks(self) -> None:
        mri_mm, world_mm = read_tag_pairs(self._file("landmarks_file"))
        T_world_mri = fit_rigid(mri_mm, world_mm)
        off_mm = residual_mm(T_world_mri, mri_mm, world_mm)
        self._say(f"{len(mri_mm)} landmark pairs, {off_mm:.1f} mm apart (RMS)")
        self._set(T_world_mri)

    def _start_clicks(self) -> None:
        self._clicked = ClickedLandmarks(read_tag_points(self._file("landmarks_file")))
        topic = self._settings.clicked_topic
        self._node.create_subscription(PointStamped, topic, self._take_click, qos.STATUS)
        self._node.create_service(Trigger, "~/restart_landmarks", self._restart_clicks)
        self.message = self._clicked.message

    def _start_surface(self) -> None:
        self._model = read_mesh(self._file("mri_surface_file"))
        if self._settings.surface_file:
            self._mapped_mm = read_mesh(self._settings.surface_file).vertices_mm.astype(np.float64)
            return
        topic = self._settings.surface_topic
        self._node.create_subscription(Marker, topic, self._take_surface, qos.LATCHED)
        self.message = f"no surface has arrived on {self._node.resolve_topic_name(topic)}"

    def _file(self, name: str) -> Path:
        value = getattr(self._settings, name)
        if not value:
            raise ConfigError(f"initial_from is {self._settings.initial_from}: {name} is empty")
        return Path(value)

    def _guess(self) -> Matrix4:
        rotation = np.asarray(rpy_matrix(*self._settings.initial_rotation_rpy_rad))[:3, :3]
        return make_rigid(rotation, np.array(self._settings.initial_translation_m) * MM_PER_M)

    def _set(self, T_world_mri: Matrix4) -> None:
        with self._lock:
            self._newest = T_world_mri

    def _say(self, message: str) -> None:
        self.message = message
        self._node.get_logger().info(f"initial pose: {message}")

    def _take_pose(self, message: PoseStamped) -> None:
        event = pose_from_pose_stamped(message, self._settings.mri_frame)
        if not self._in_world(event.parent, "initial pose"):
            return
        if not is_rigid(event.T_parent_child, tolerance=1e-3):
            self._node.get_logger().warning("initial pose has no valid rotation; it is not used")
            return
        self._set(event.T_parent_child)

    def _take_click(self, message: PointStamped) -> None:
        assert self._clicked is not None
        if not self._in_world(message.header.frame_id.lstrip("/"), "clicked point"):
            return
        try:
            T_world_mri = self._clicked.click(point_to_mm(message.point))
        except InputError as error:
            self._node.get_logger().warning(f"clicked point: {error}")
            self.message = str(error)
            return
        self._say(self._clicked.message)
        if T_world_mri is not None:
            self._set(T_world_mri)

    def _restart_clicks(self, _: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        assert self._clicked is not None
        self._clicked.restart()
        self._say(self._clicked.message)
        response.success, response.message = True, self._clicked.message
        return response

    def _take_surface(self, message: Marker) -> None:
        least = self._settings.surface_min_triangles
        triangles = len(message.points) // 3
        if self._aligned or not self._in_world(message.header.frame_id, "surface"):
            return
        if triangles < least:
            self.message = f"the mapped surface has {triangles} triangles, {least} needed; map more"
            return
        corners_mm = [point_to_mm(point) for point in message.points[::3]]
        with self._lock:
            self._mapped_mm = np.array(corners_mm)

    def _align(self, mapped_mm: Float64[np.ndarray, "n 3"]) -> None:
        try:
            found = align_surfaces(
                mapped_mm,
                self._model.vertices_mm,
                self._model.triangles,
                self._guess(),
                self._surface,
            )
        except InputError as error:
            self._say(str(error))
            return
        self._say(f"surfaces aligned, {found.residual_mm:.2f} mm apart (RMS)")
        self._aligned = True
        self._set(found.T_world_mri)

    def _in_world(self, frame: str, what: str) -> bool:
        if frame.lstrip("/") == self._world:
            return True
        self._node.get_logger().warning(
            f"{what} is given in frame {frame!r}; expected {self._world!r}; it is not used"
        )
        return False
