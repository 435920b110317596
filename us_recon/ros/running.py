"""Run a node until it is interrupted, and let it finish."""

import signal
from collections.abc import Callable, Sequence
from typing import Protocol

import rclpy
from rclpy.executors import ExternalShutdownException

from us_recon.errors import UsReconError

USER_ERROR = 2


class StoppableNode(Protocol):
    """A `rclpy.node.Node` that has something to finish."""

    def stop(self) -> None:
        """Finish what is in work, save it, and end the node's threads."""

    def destroy_node(self) -> None:
        """Release the node's publishers and subscriptions."""


def run(make_node: Callable[[], StoppableNode], args: Sequence[str] | None = None) -> int:
    """Spin a node until it is interrupted; return the exit status.

    Args:
        make_node: Builds the node once rclpy is up.
        args: Command line, with ``--ros-args``; None takes the process's own.
    """
    with rclpy.init(args=args):
        try:
            node = make_node()
        except UsReconError as error:
            rclpy.logging.get_logger("us_recon").fatal(str(error))
            return USER_ERROR
        try:
            rclpy.spin(node)
        except (KeyboardInterrupt, ExternalShutdownException):
            return 0
        except UsReconError as error:
            rclpy.logging.get_logger("us_recon").fatal(str(error))
            return 1
        finally:
            ignore_interrupts()
            node.stop()
            node.destroy_node()
    return 0


def ignore_interrupts() -> None:
    """Ignore further interrupts, until the process ends.

    A Ctrl-C reaches a launched node twice, from the terminal and from the launcher, and a node
    that stops may have a map to save.
    """
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
