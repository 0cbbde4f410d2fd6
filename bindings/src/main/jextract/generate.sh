#!/bin/sh
# Writes the generated packages of bindings from the headers of our own native code. Run by hand after every change of a header, then commit
# the result; README.md beside this file says how to get jextract.
#
#   JEXTRACT       the jextract command (default: jextract)
#   CLANG_INCLUDE  folder of clang's own headers, if jextract was built without them
set -eu
cd "$(dirname "$0")"
generate() { # includes header package class
    rm -rf "../java/io/millrace/bindings/$3/generated"
    ${JEXTRACT:-jextract} "@$1" \
        ${CLANG_INCLUDE:+--include-dir "$CLANG_INCLUDE"} \
        --header-class-name "$4" \
        --target-package "io.millrace.bindings.$3.generated" \
        --output ../java \
        "$2"
}
generate includes.txt ../c/millrace_cpu.h cpu MillraceCpu
generate includes-cuda.txt ../../../../kernels/src/main/cuda/millrace_cuda.h cuda MillraceCuda
