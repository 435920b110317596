"""rosbag2 recordings, written and read without ROS, in the layout of the live topics."""

from us_recon.io.bag.frames import frames_from_bag, require_frames
from us_recon.io.bag.reader import BagReader, RejectedMessage
from us_recon.io.bag.topics import TopicNames
from us_recon.io.bag.writer import Storage, truth_folder, write_bag

__all__ = [
    "BagReader",
    "RejectedMessage",
    "Storage",
    "TopicNames",
    "frames_from_bag",
    "require_frames",
    "truth_folder",
    "write_bag",
]
