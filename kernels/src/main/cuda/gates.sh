#!/bin/sh
# gates.sh WORK: compares what ptxas reported (WORK/*.ptxas, see build.sh) with gates.tsv, and fails where a kernel has grown: any spill or
# stack, registers beyond the budget, or so many registers or so much shared memory that the wanted blocks no longer fit a multiprocessor.
# One line per kernel and architecture.
set -eu
cat "$1"/*.ptxas | awk -v table="$(dirname "$0")/gates.tsv" '
BEGIN {
    # Shared memory of a multiprocessor, of which each block takes 1 KiB for itself, and the most that one block can have.
    shared_of["sm_80"] = 167936; shared_of["sm_90"] = shared_of["sm_100"] = 233472
    most_of["sm_80"] = 166912; most_of["sm_90"] = most_of["sm_100"] = 232448
    blocks_column["sm_80"] = 4; blocks_column["sm_90"] = blocks_column["sm_100"] = 5
    budget_column["sm_80"] = 6; budget_column["sm_90"] = 7; budget_column["sm_100"] = 8
    while ((getline line < table) > 0) {
        if (line !~ /^#/ && split(line, f, "\t") == 8) wanted[f[1]] = line
    }
}
/Compiling entry function/ { split($0, quoted, "\047"); kernel = quoted[2]; arch = quoted[4] }
/bytes stack frame/ { stack = before("bytes stack frame"); spills = before("bytes spill stores") + before("bytes spill loads") }
/Used [0-9]+ registers/ { check(before("registers"), before("bytes smem")) }
# The number that stands before a phrase; 0 without the phrase.
function before(phrase) { return match($0, "[0-9]+ " phrase) ? substr($0, RSTART) + 0 : 0 }
function check(registers, fixed,   f, why, threads, shared, blocks) {
    seen[kernel, arch] = 1
    if (!(kernel in wanted)) { say("FAILED", "no line in gates.tsv"); return }
    split(wanted[kernel], f, "\t")
    threads = f[2] + 0
    shared = f[3] + fixed
    blocks = f[blocks_column[arch]] + 0
    if (stack > 0) why = why ", " stack " bytes of stack"
    if (spills > 0) why = why ", " spills " bytes spilled"
    if (registers > f[budget_column[arch]] + 0) why = why ", budget of registers is " f[budget_column[arch]]
    if (int((registers + 7) / 8) * 8 * threads * blocks > 65536) why = why ", registers are too many for the blocks"
    if (shared > most_of[arch] || (shared + 1024) * blocks > shared_of[arch]) why = why ", shared memory is too much for the blocks"
    say(why == "" ? "ok" : "FAILED", registers " registers, " shared " bytes shared, " blocks " blocks of " threads why)
}
function say(verdict, what) {
    print verdict, kernel, arch ": " what | "sort"
    if (verdict != "ok") bad = 1
}
END {
    for (kernel in wanted) for (arch in shared_of) if (!((kernel, arch) in seen)) say("FAILED", "not in what ptxas reported")
    close("sort")
    exit bad
}'
