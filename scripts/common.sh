# Shared by the set-up scripts; sourced, POSIX shell.

root=$(cd "$(dirname "$0")/.." && pwd)
venv=$root/.venv
work=$root/.ros            # what set-up builds: build/, install/, log/, stamps/

say() { printf '== %s\n' "$*"; }

fail() {
    printf '\nset-up stopped: %s\n' "$1" >&2
    shift
    for line in "$@"; do printf '  %s\n' "$line" >&2; done
    exit 1
}

# A ROS 2 distribution is in use where its setup file has been sourced.
ros_sourced() { [ -n "${ROS_DISTRO:-}" ] && [ -n "${AMENT_PREFIX_PATH:-}" ]; }

# Forget what another checkout's env.sh left behind; a distribution's variables stay.
clean_environment() {
    ros_sourced && return
    unset PYTHONPATH PYTHONHOME AMENT_PREFIX_PATH CMAKE_PREFIX_PATH COLCON_PREFIX_PATH
    unset LD_LIBRARY_PATH _ROS_WHEELS_BOOTSTRAP_COMPLETE
}

# with_progress LOG COMMAND...: run quietly, show every ten seconds what the log says last.
with_progress() {
    log=$1
    shift
    mkdir -p "$(dirname "$log")"
    "$@" >"$log" 2>&1 </dev/null &
    job=$!
    trap 'kill "$job" 2>/dev/null; exit 130' INT TERM  # a background job ignores Ctrl-C itself
    seconds=0
    while kill -0 "$job" 2>/dev/null; do
        sleep 1
        seconds=$((seconds + 1))
        [ $((seconds % 10)) -eq 0 ] || continue
        last=$(grep -aE '^(Collecting|Installing|Starting|Finished)' "$log" | tail -n 1 |
            sed 's/ (from.*//; s/packages:.*/packages/')
        printf '   %3d s  %s\n' "$seconds" "$last"
    done
    trap - INT TERM
    if ! wait "$job"; then
        tail -n 25 "$log" >&2
        fail "this command failed: $*" "its whole output is in $log"
    fi
}
