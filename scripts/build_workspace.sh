#!/bin/sh
# Build this package with colcon into .ros/install, linked to the sources (--symlink-install).
# Without a ROS 2 distribution also tf2_msgs, which the wheels lack (see ros_compat/).
set -eu
. "$(dirname "$0")/common.sh"
clean_environment
export VIRTUAL_ENV="$venv" PATH="$venv/bin:$PATH"

# The workspace sees the package through links: CMake refuses header paths below the package's
# own folder, and NumPy's headers are in its .venv.
link() {
    mkdir -p "$work/src/$1"
    for part in $2; do ln -sfn "$3/$part" "$work/src/$1/$part"; done
}

link us_recon "CMakeLists.txt config launch msg package.xml scripts setup.cfg us_recon" "$root"
if ! ros_sourced; then
    link tf2_msgs "CMakeLists.txt msg package.xml" "$root/ros_compat/tf2_msgs"
    export AMENT_PREFIX_PATH="$venv" CMAKE_PREFIX_PATH="$venv" LD_LIBRARY_PATH="$venv/lib"
fi
command -v colcon >/dev/null || fail "the sourced ROS 2 '$ROS_DISTRO' comes without colcon" \
    "Install it: apt-get install python3-colcon-common-extensions"

say "Building the ROS 2 package with colcon"
cd "$work"
with_progress "$work/log/colcon.log" colcon --log-base "$work/log/colcon" build \
    --symlink-install --base-paths "$work/src" --build-base "$work/build" \
    --install-base "$work/install" --event-handlers console_direct+ \
    --cmake-args -DBUILD_TESTING=OFF "-DPython3_EXECUTABLE=$venv/bin/python"
