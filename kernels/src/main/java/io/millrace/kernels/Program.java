package io.millrace.kernels;

/** A recorded sequence of operations, replayed with one call per step by {@link Backend#run}. Owned by its backend. */
public interface Program {
    int numOps();

    /** Names of the operations in order, for traces and tests. */
    java.util.List<String> opNames();
}
