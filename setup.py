"""Install the offline command with pip; CMakeLists.txt builds the ROS 2 package."""

from setuptools import setup

setup()
