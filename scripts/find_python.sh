#!/bin/sh
# Print the Python to build the virtual environment from: 3.11 or 3.12, and, where a ROS 2
# distribution is sourced, the one that imports its rclpy. PYTHON=... overrides the search.
set -eu
. "$(dirname "$0")/common.sh"

supported='import sys; sys.exit(sys.version_info[:2] not in ((3, 11), (3, 12)))'

usable() {
    "$1" -c "$supported" 2>/dev/null || return 1
    ! ros_sourced || "$1" -c 'import rclpy' 2>/dev/null
}

for python in ${PYTHON:-python3 /usr/bin/python3 python3.12 python3.11}; do
    if usable "$python"; then
        "$python" -c 'import sys; print(sys.executable)'
        exit
    fi
done

if ros_sourced; then
    fail "no Python 3.11 or 3.12 that imports the rclpy of the sourced ROS 2 '$ROS_DISTRO'" \
        "Source Jazzy or Kilted, or run make in a shell without a sourced ROS 2:" \
        "set-up then brings ROS 2 from the Python package index."
fi
fail "no Python 3.11 or 3.12 among: ${PYTHON:-python3 python3.12 python3.11}" \
    "Debian 12 and Ubuntu 24.04 have one: apt-get install python3 python3-venv" \
    "Another one can be named: make setup PYTHON=/path/to/python3.12"
