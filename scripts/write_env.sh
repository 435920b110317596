#!/bin/sh
# Write env.sh, the file that turns a shell (sh, bash, zsh) into one where us_recon runs.
set -eu
. "$(dirname "$0")/common.sh"

if ros_sourced; then
    # setup.sh also brings the distribution that the workspace was built over.
    workspace_setup=setup.sh
    wheels=''
else
    workspace_setup=local_setup.sh
    wheels='
# The virtual environment is the ROS 2 installation.
export AMENT_PREFIX_PATH="$us_recon_root/.venv" CMAKE_PREFIX_PATH="$us_recon_root/.venv"
export RMW_IMPLEMENTATION=rmw_fastrtps_cpp
'
fi

cat >"$root/env.sh.new" <<END
# Written by \`make setup\`. Use: . $root/env.sh
us_recon_root='$root'

. "\$us_recon_root/.venv/bin/activate"
$wheels
# The built messages and launchers. colcon's script reads unset variables.
case \$- in *u*) us_recon_nounset=-u ;; *) us_recon_nounset=+u ;; esac
set +u
COLCON_CURRENT_PREFIX="\$us_recon_root/.ros/install"
. "\$COLCON_CURRENT_PREFIX/$workspace_setup"
set "\$us_recon_nounset"
unset COLCON_CURRENT_PREFIX us_recon_nounset

# The sources come before what was built from them.
case ":\${PYTHONPATH:-}:" in
    ":\$us_recon_root:"*) ;;
    *) export PYTHONPATH="\$us_recon_root\${PYTHONPATH:+:\$PYTHONPATH}" ;;
esac

# Fast DDS: a shared-memory segment that holds many images; fewer where /dev/shm has no room for
# such a segment in each process (containers often have 64 MiB in all).
us_recon_room=\$(df -kP /dev/shm 2>/dev/null | awk 'END { print \$4 }')
if [ "\${us_recon_room:-0}" -ge 524288 ]; then
    export FASTDDS_DEFAULT_PROFILES_FILE="\$us_recon_root/config/fastdds.xml"
else
    export FASTDDS_DEFAULT_PROFILES_FILE="\$us_recon_root/.ros/fastdds_small.xml"
fi
unset us_recon_room
unset us_recon_root
END
mv "$root/env.sh.new" "$root/env.sh"
sed 's/33554432/4194304/' "$root/config/fastdds.xml" >"$work/fastdds_small.xml"
