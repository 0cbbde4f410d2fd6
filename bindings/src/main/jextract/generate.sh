#!/bin/sh
# Writes ../java/io/millrace/bindings/cpu/generated from ../c/millrace_cpu.h. Run by hand after every change of the header, then commit
# the result; README.md beside this file says how to get jextract.
#
#   JEXTRACT       the jextract command (default: jextract)
#   CLANG_INCLUDE  folder of clang's own headers, if jextract was built without them
set -eu
cd "$(dirname "$0")"
out=../java/io/millrace/bindings/cpu/generated
rm -rf "$out"
${JEXTRACT:-jextract} @includes.txt \
    ${CLANG_INCLUDE:+--include-dir "$CLANG_INCLUDE"} \
    --header-class-name MillraceCpu \
    --target-package io.millrace.bindings.cpu.generated \
    --output ../java \
    ../c/millrace_cpu.h
