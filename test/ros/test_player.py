"""The player over real DDS: what is in the bag arrives, and late readers get what is latched."""

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

rclpy = pytest.importorskip("rclpy", reason="ROS 2 is not in this environment")

from rosgraph_msgs.msg import Clock  # noqa: E402
from sensor_msgs.msg import Image  # noqa: E402
from tf2_msgs.msg import TFMessage  # noqa: E402

from us_recon.errors import ConfigError, InputError  # noqa: E402
from us_recon.imaging.events import (  # noqa: E402
    AcquisitionEvent,
    GeometryEvent,
    ImageEvent,
    PoseEvent,
)
from us_recon.imaging.probe import ProbeGeometry  # noqa: E402
from us_recon.io.bag import write_bag  # noqa: E402
from us_recon.io.wire import image_from_message, stamp_from_message  # noqa: E402
from us_recon.msg import ProbeGeometry as ProbeGeometryMessage  # noqa: E402
from us_recon.ros import qos  # noqa: E402
from us_recon.ros.player import play_bag  # noqa: E402

pytestmark = pytest.mark.ros
START_NS = 50_000_000_000


@pytest.fixture
def bag(tmp_path: Path) -> Path:
    """Ten images at 50 Hz."""
    events: list[AcquisitionEvent] = [
        PoseEvent(START_NS, np.eye(4), parent="probe", child="transducer", static=True),
        GeometryEvent(START_NS, ProbeGeometry.linear(12.0, 8.0, 6, 4)),
    ]
    for number in range(10):
        stamp_ns = START_NS + number * 20_000_000
        events.append(PoseEvent(stamp_ns, np.diag([1.0, -1.0, -1.0, 1.0])))
        events.append(ImageEvent(stamp_ns, np.full((4, 6), number, np.uint8)))
    write_bag(tmp_path / "sweep", events)
    return tmp_path / "sweep"


def test_everything_arrives_in_order_with_a_clock(graph: Any, bag: Path) -> None:
    images = graph.listen(Image, "/ultrasound/image", qos.stream(True, 100))
    poses = graph.listen(TFMessage, "/tf", qos.TF)
    static = graph.listen(TFMessage, "/tf_static", qos.STATIC_TF)
    geometry = graph.listen(ProbeGeometryMessage, "/ultrasound/probe_geometry", qos.LATCHED)
    clock = graph.listen(Clock, "/clock", qos.STATUS)
    played: list[float] = []
    result = play_bag(
        bag,
        context=rclpy.get_default_context(),
        on_progress=lambda seconds, _: played.append(seconds),
    )
    assert (result.messages, result.rounds, result.skipped) == (22, 1, ())
    graph.wait(lambda: len(images) == 10 and len(poses) == 10, "images and poses")
    graph.wait(lambda: static and geometry, "what is latched")
    assert [int(image_from_message(message)[0, 0]) for message in images] == list(range(10))
    assert played[-1] == pytest.approx(0.18)
    times = [stamp_from_message(message.clock) for message in clock]
    assert times == sorted(times) and times[0] >= START_NS and times[-1] <= START_NS + 180_000_000


def test_late_readers_get_calibration_and_geometry(graph: Any, bag: Path) -> None:
    done = threading.Event()
    context = rclpy.get_default_context()

    def play() -> None:
        play_bag(bag, rate=0.05, wait_s=0.0, context=context)  # 0.18 s of bag in 3.6 s
        done.set()

    thread = threading.Thread(target=play)
    early = graph.listen(Image, "/ultrasound/image", qos.stream(True, 100))
    thread.start()
    graph.wait(lambda: len(early) >= 2, "the replay to be under way")
    static = graph.listen(TFMessage, "/tf_static", qos.STATIC_TF)
    geometry = graph.listen(ProbeGeometryMessage, "/ultrasound/probe_geometry", qos.LATCHED)
    graph.wait(lambda: static and geometry, "what is latched")
    assert not done.is_set()
    thread.join()


def test_mistakes_are_named(graph: Any, bag: Path) -> None:
    with pytest.raises(ConfigError, match="rate is 0"):
        play_bag(bag, rate=0, context=rclpy.get_default_context())
    with pytest.raises(InputError, match="is not a bag"):
        play_bag(bag.parent / "absent", context=rclpy.get_default_context())
    assert graph.errors == []


@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGTERM])
def test_a_loop_ends_cleanly_on_request(graph: Any, bag: Path, end: int) -> None:
    images = graph.listen(Image, "/ultrasound/image", qos.stream(True, 100))
    command = "import sys; from us_recon.cli.main import main; sys.exit(main())"
    domain = str(graph.node.context.get_domain_id())
    process = subprocess.Popen(
        [sys.executable, "-c", command, "play", str(bag), "--loop", "--rate", "2"],
        env={**os.environ, "ROS_DOMAIN_ID": domain},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        # More than one round, so time has run backwards once.
        graph.wait(lambda: len(images) > 15, "the second round", timeout_s=60.0)
        process.send_signal(end)
        out, err = process.communicate(timeout=30.0)
    finally:
        process.kill()
    assert process.returncode == 0 and "messages played" in out and "Traceback" not in err
