#!/bin/sh
# build.sh WORK OUT: compiles every kernel file to OUT/<name>.fatbin: machine code for sm_80, sm_90 and sm_100, and PTX of compute_80 for what
# comes later. Where there is no CUDA compiler it says so in one line and is content: everything else works without.
#
# A file is compiled again when its text, a header, these flags or the compiler have changed, whatever the clock says. What ptxas reports
# stays in WORK/<name>.ptxas, for gates.sh; the toolkit's version goes to OUT/toolkit.version, by which a start knows whether a driver will do.
set -eu
work=$1
out=$2
skip() {
    rm -rf "$out" "$work"
    echo "CUDA kernels: not built, $1. The CPU backend needs none of them."
    exit 0
}
[ "${MILLRACE_BUILD_CUDA:-yes}" != no ] || skip "MILLRACE_BUILD_CUDA=no"
nvcc=$(command -v nvcc || { [ -x /usr/local/cuda/bin/nvcc ] && echo /usr/local/cuda/bin/nvcc; } || true)
[ -n "$nvcc" ] || skip "there is no nvcc on the PATH (CUDA toolkit 12.8 or newer)"
"$nvcc" --list-gpu-code 2>/dev/null | grep -q sm_100 || skip "$nvcc does not know sm_100 (CUDA toolkit 12.8 or newer does)"
command -v c++ >/dev/null 2>&1 || command -v g++ >/dev/null 2>&1 || skip "nvcc needs a host compiler, and there is no c++ on the PATH"

flags="-std=c++17 -O3 -Xptxas -v,-warn-spills,-warn-lmem-usage"
for arch in 80 90 100; do
    flags="$flags -gencode arch=compute_$arch,code=sm_$arch"
done
flags="$flags -gencode arch=compute_80,code=compute_80"

mkdir -p "$work" "$out"
"$nvcc" --version | sed -n 's/.*release \([0-9]*\.[0-9]*\).*/\1/p' >"$out/toolkit.version"
common=$({ cat ./*.h; echo "$flags"; "$nvcc" --version; } | sha256sum)
compile() { # name
    hash=$(echo "$common$(sha256sum <"$1.cu")" | sha256sum)
    if [ -f "$out/$1.fatbin" ] && [ "$(cat "$work/$1.hash" 2>/dev/null)" = "$hash" ]; then
        return 0
    fi
    # shellcheck disable=SC2086
    if ! "$nvcc" -x cu $flags -fatbin -o "$work/$1.fatbin" "$1.cu" >"$work/$1.log" 2>&1; then
        cat "$work/$1.log" >&2
        return 1
    fi
    mv "$work/$1.log" "$work/$1.ptxas"
    mv "$work/$1.fatbin" "$out/$1.fatbin"
    echo "$hash" >"$work/$1.hash"
}

# As many at once as there are cores.
cores=$(getconf _NPROCESSORS_ONLN 2>/dev/null || echo 2)
pids=
failed=0
running=0
for source in *.cu; do
    compile "${source%.cu}" &
    pids="$pids $!"
    running=$((running + 1))
    if [ "$running" -ge "$cores" ]; then
        # shellcheck disable=SC2086
        set -- $pids
        wait "$1" || failed=1
        shift
        pids="$*"
        running=$((running - 1))
    fi
done
for pid in $pids; do
    wait "$pid" || failed=1
done
for old in "$out"/*.fatbin; do
    [ -f "$(basename "$old" .fatbin).cu" ] || rm -f "$old" "$work/$(basename "$old" .fatbin)".*
done
exit $failed
