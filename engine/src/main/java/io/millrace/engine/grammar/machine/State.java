package io.millrace.engine.grammar.machine;

import io.millrace.engine.grammar.automaton.CharMachine;

/** All stacks that the bytes so far may have led to. Immutable but for what it remembers of its successors; any thread. */
public final class State {
    /** No stack is left: the bytes do not belong to the language. */
    public static final State DEAD = new State(null, new Frame[0], false, 0);

    final Machine machine;
    final Frame[] stacks;
    private final boolean accepts;
    /** Of the machine's memory; what is older learns nothing more, so that it can be forgotten. */
    private final int generation;
    /** Successors by high and low half of the byte, filled in as they are asked for; races only cost a second look. */
    private volatile State[][] next = new State[16][];

    State(Machine machine, Frame[] stacks, boolean accepts, int generation) {
        this.generation = generation;
        this.machine = machine;
        this.stacks = stacks;
        this.accepts = accepts;
    }

    /** Whether the text may end here. */
    public boolean accepts() {
        return accepts;
    }

    /** Whether it may go on. */
    public boolean continues() {
        return stacks.length > 0;
    }

    /** The state after byte {@code b} (0 to 255), perhaps {@link #DEAD}. */
    public State step(int b) {
        State[] row = next[b >>> 4];
        State to = row == null ? null : row[b & 15];
        return to != null ? to : learn(b);
    }

    private State learn(int b) {
        if (machine == null) {
            return DEAD;
        }
        State to = machine.step(this, b);
        if (machine.generation() != generation) {
            return to;
        }
        State[][] rows = next;
        State[] row = rows[b >>> 4];
        if (row == null) {
            row = new State[16];
            rows[b >>> 4] = row;
        }
        row[b & 15] = to;
        return to;
    }

    public boolean isOf(Machine owner) {
        return machine == owner;
    }

    void forget() {
        next = new State[16][];
    }

    /** Whether texts of safe characters of any length may follow, whatever else may. */
    public boolean isFree() {
        for (Frame stack : stacks) {
            if (stack.part.freeRun(stack.state) == CharMachine.UNLIMITED) {
                return true;
            }
        }
        return false;
    }

    /** The longest text of safe characters that may follow where all up to this length may; -1 = it depends on the text. */
    public int exactRun() {
        if (stacks.length != 1 || !stacks[0].part.isFreeRunExact(stacks[0].state)) {
            return -1;
        }
        return stacks[0].part.freeRun(stacks[0].state);
    }

    /** The units of work that {@link #step} has cost in this machine so far. */
    public long work() {
        return machine == null ? 0 : machine.work();
    }

    @Override
    public String toString() {
        return stacks.length + " stacks" + (accepts ? ", accepting" : "");
    }
}
