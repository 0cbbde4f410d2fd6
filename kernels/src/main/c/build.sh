#!/bin/sh
# build.sh OBJECTS LIBRARIES: builds the library of this machine into LIBRARIES/<os>-<arch>, or says in one line what is missing.
set -eu
missing() {
    echo "NATIVE-010 cannot build the native kernels: no $1 on the PATH. Install a C compiler and make (Debian, Ubuntu: apt install gcc make;" \
        "Fedora: dnf install gcc make; macOS: xcode-select --install) and run the build again." >&2
    exit 1
}
command -v make >/dev/null 2>&1 || missing make
command -v "${CC:-cc}" >/dev/null 2>&1 || missing "${CC:-cc}"
case "$(uname -s)" in
    Darwin) os=macos ;;
    *) os=$(uname -s | tr '[:upper:]' '[:lower:]') ;;
esac
case "$(uname -m)" in
    arm64) arch=aarch64 ;;
    *) arch=$(uname -m) ;;
esac
cores=$(getconf _NPROCESSORS_ONLN 2>/dev/null || echo 2)
exec make --silent -j"$cores" BUILD="$1" OUT="$2/$os-$arch"
