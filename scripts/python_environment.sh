#!/bin/sh
# Make .venv and install the pinned packages and us_recon itself (editable) into it.
# Usage: python_environment.sh PYTHON
#
# Without a ROS 2 distribution, rclpy and the message generators come from the package index
# (extra "ros"). With one, the environment sees the distribution's own packages instead.
set -eu
. "$(dirname "$0")/common.sh"
clean_environment

python=$1
extras=dev,ros
venv_options=''
if ros_sourced; then
    extras=dev
    venv_options=--system-site-packages
fi

install() {
    log=$work/log/$1.log
    shift
    with_progress "$log" "$venv/bin/python" -m pip install --no-compile --progress-bar off \
        --disable-pip-version-check --constraint "$root/constraints.txt" "$@"
}

if [ ! -x "$venv/bin/python" ]; then
    say "Making the virtual environment .venv with $("$python" --version)"
    # shellcheck disable=SC2086
    "$python" -m venv $venv_options "$venv"
fi

say "Installing the pinned Python packages (1 to 2 GB on first use)"
install setuptools setuptools
cd "$root"
install packages --no-build-isolation --editable ".[$extras]"

# The wheels' CMake files name Python's headers by the path of the machine that built them.
if ! ros_sourced; then
    grep -rlZ /opt/python "$venv/share" --include='*.cmake' | xargs -0 -r sed -i -E \
        's#/opt/python/cp[0-9]+-cp[0-9]+/[^;"]*#${_IMPORT_PREFIX}/include#g'
fi
