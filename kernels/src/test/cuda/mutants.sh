#!/bin/sh
# mutants.sh WORK [FILE]: plants one bug at a time into a copy of the kernels and expects the named cases to fail: what a test cannot fail it does
# not guard. See mutants.tsv.
set -eu
work=$1
only=${2:-}
sources=$(cd "$(dirname "$0")/../../main/cuda" && pwd)
here=$(cd "$(dirname "$0")" && pwd)
survived=0
number=0
tab=$(printf '\t')
flags="-std=c++17 -O1 -ffp-contract=off -pthread -Wno-unknown-pragmas -Wno-unused-but-set-variable -I$here/emu -I$here"
mkdir -p "$work"
for source in "$here"/main.cpp "$here"/abi.cpp "$here"/emu/*.cpp; do
    # shellcheck disable=SC2086
    ${CXX:-c++} $flags -I"$sources" -c -o "$work/$(basename "$source" .cpp).o" "$source"
done
while IFS="$tab" read -r file cases occurrence old new; do
    case $file in '#'* | '') continue ;; esac
    [ -z "$only" ] || [ "$only" = "$file" ] || continue
    number=$((number + 1))
    copy=$work/mutant-$number
    rm -rf "$copy"
    mkdir -p "$copy/kernels"
    cp "$sources"/*.h "$sources"/*.cu "$copy/kernels/"
    OLD=$old NEW=$new awk -v left="$occurrence" '
        left > 0 && (at = index($0, ENVIRON["OLD"])) > 0 && --left == 0 {
            $0 = substr($0, 1, at - 1) ENVIRON["NEW"] substr($0, at + length(ENVIRON["OLD"]))
        }
        { print }
        END { exit left > 0 }' "$sources/$file" >"$copy/kernels/$file" || { echo "FAILED no such text in $file: $old"; survived=1; continue; }
    test=$(grep -l "#include \"$file\"" "$here"/*_test.cpp | head -1)
    # shellcheck disable=SC2086
    ${CXX:-c++} $flags -I"$copy/kernels" -o "$copy/tests" "$test" "$work"/*.o
    # shellcheck disable=SC2086
    if found=$(timeout 120 "$copy/tests" $cases 2>&1); then
        echo "SURVIVED $file: $old -> $new"
        survived=1
    else
        echo "found $file: $old -> $new: $(echo "$found" | grep -c '^FAILED') of $(echo "$found" | grep -cE '^(ok|FAILED)') cases"
    fi
    rm -rf "$copy"
done <"$here/mutants.tsv"
exit $survived
