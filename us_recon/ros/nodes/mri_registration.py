"""The `mri_registration` node: tracked ultrasound and an MRI in, a trusted transform out."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from geometry_msgs.msg import PoseStamped
from scipy.spatial.transform import Rotation
from sensor_msgs.msg import Image
from tf2_msgs.msg import TFMessage
from visualization_msgs.msg import Marker

from us_recon.errors import ConfigError, InputError
from us_recon.geometry.rigid import Matrix4, invert_rigid, log_se3, make_rigid
from us_recon.imaging.events import PoseEvent
from us_recon.imaging.frame import TrackedFrame
from us_recon.io.volumes import read_volume
from us_recon.io.wire import MM_PER_M, pose_from_pose_stamped
from us_recon.msg import RegistrationStatus
from us_recon.pipeline.node_settings import RegistrationNodeSettings
from us_recon.registration.registrar import MriRegistration, RegistrationUpdate
from us_recon.registration.settings import RegistrationSettings
from us_recon.ros import conversions, qos
from us_recon.ros.box_marker import box_marker
from us_recon.ros.consumer import FrameConsumer, run
from us_recon.ros.parameters import declare_settings
