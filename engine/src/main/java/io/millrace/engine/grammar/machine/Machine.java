package io.millrace.engine.grammar.machine;

import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Comparator;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;

/**
 * A nondeterministic pushdown machine over bytes that makes itself deterministic as it goes: a {@link State} is a set of stacks, each stack
 * and each state exists once, and a step taken once is remembered. The idea of running grammars over the bytes of tokens is that of Willard
 * and Louf (arXiv 2307.09702); keeping persistent stacks that share their tails, of XGrammar (arXiv 2411.15100).
 *
 * <p>Bounds: a state keeps {@link #MAX_STACKS} stacks, and a step looks at {@link #MAX_LOOKED_AT}. Those beyond are given up, which takes
 * texts away and never adds one; where none is left, nothing may follow. Memory of steps is dropped when it is full.
 *
 * <p>Thread-safe.
 */
public final class Machine {
    public static final int MAX_STACKS = 256;
    /** Stacks looked at for one step. */
    private static final int MAX_LOOKED_AT = 1024;
    /** Of frames and states, as estimated from above. */
    private static final long MAX_BYTES = 8L << 20;
    /** Of a look, in units of a table look-up. */
    private static final int LOOK_COST = 16;
    private static final int FRAME_BYTES = 150;
    private static final int STATE_BYTES = 1800;
    private static final int STACK_BYTES = 16;

    private record FrameKey(Part part, long state, Frame parent) {}

    private record StateKey(List<Frame> stacks, boolean accepts) {}

    private final Part root;
    private final Map<FrameKey, Frame> frames = new HashMap<>();
    private final Map<StateKey, State> states = new HashMap<>();
    private final Closure closure = new Closure();
    private long numFrames;
    private volatile long bytes;
    private volatile long work;
    private volatile int generation;
    private State start;
    private boolean opensTooWide;

    public Machine(Part root) {
        this.root = root;
    }

    /** The state before the first byte. */
    public synchronized State start() {
        if (start == null) {
            closure.reset();
            closure.add(frame(root, root.start(), null));
            State first = closure.toState();
            opensTooWide = closure.cut;
            start = first;
        }
        return start;
    }

    /** Whether {@link #start} has given stacks up. */
    public synchronized boolean opensTooWide() {
        return start() != State.DEAD && opensTooWide;
    }

    /** What it remembers, about. Any thread. */
    public long bytes() {
        return bytes;
    }

    long work() {
        return work;
    }

    synchronized State step(State from, int b) {
        closure.reset();
        long cost = 4;
        for (Frame stack : from.stacks) {
            long to = stack.part.step(stack.state, b);
            cost += stack.part.cost(stack.state);
            if (to != Part.DEAD) {
                closure.add(frame(stack.part, to, stack.parent));
            }
        }
        State to = closure.toState();
        work += cost + (long) LOOK_COST * closure.lookedAt;
        return to;
    }

    int generation() {
        return generation;
    }

    /** Walks that are under way keep what they need: their states are cut off from those that nobody else needs. */
    private void forget() {
        states.values().forEach(State::forget);
        frames.clear();
        bytes = 0;
        states.clear();
        start = null;
        generation++;
    }

    private Frame frame(Part part, long state, Frame parent) {
        FrameKey key = new FrameKey(part, state, parent);
        Frame known = frames.get(key);
        if (known == null) {
            remember(FRAME_BYTES);
            known = new Frame(part, state, parent, numFrames++);
            frames.put(key, known);
        }
        return known;
    }

    private void remember(long more) {
        if (bytes + more > MAX_BYTES) {
            forget();
        }
        bytes += more;
    }

    /** What follows from a set of stacks without reading: pieces that are over give way to those that wait, and calls are entered. */
    private final class Closure {
        private final ArrayDeque<Frame> toLookAt = new ArrayDeque<>();
        private final Set<Frame> seen = new HashSet<>();
        private final ArrayList<Frame> stacks = new ArrayList<>();
        private boolean accepts;
        private int lookedAt;
        private boolean cut;

        void reset() {
            seen.clear();
            stacks.clear();
            accepts = false;
            lookedAt = 0;
            cut = false;
        }

        void add(Frame frame) {
            toLookAt.add(frame);
            while (!toLookAt.isEmpty()) {
                Frame next = toLookAt.poll();
                if (lookedAt >= MAX_LOOKED_AT) {
                    cut = true;
                    toLookAt.clear();
                } else if (seen.add(next)) {
                    lookedAt++;
                    lookAt(next);
                }
            }
        }

        private void lookAt(Frame frame) {
            Part part = frame.part;
            if (part.continues(frame.state)) {
                stacks.add(frame);
            }
            if (part.accepts(frame.state)) {
                Frame parent = frame.parent;
                if (parent == null) {
                    accepts = true;
                } else {
                    long resumed = parent.part.resume(parent.state, part.result(frame.state));
                    if (resumed != Part.DEAD) {
                        toLookAt.add(frame(parent.part, resumed, parent.parent));
                    }
                }
            }
            for (int k = 0; k < part.numCalls(frame.state) && toLookAt.size() <= MAX_LOOKED_AT; k++) {
                Part callee = part.callee(frame.state, k);
                long waiting = part.waiting(frame.state, k);
                long first = callee.start();
                if (waiting == Part.DEAD || first == Part.DEAD) {
                    continue;
                }
                Frame parent = part.endsWithCall(waiting) ? frame.parent : frame(part, waiting, frame.parent);
                toLookAt.add(frame(callee, first, parent));
            }
        }

        State toState() {
            if (stacks.isEmpty() && !accepts) {
                return State.DEAD;
            }
            stacks.sort(Comparator.comparingLong(frame -> frame.id));
            Frame[] kept = stacks.toArray(new Frame[0]);
            if (kept.length > MAX_STACKS) {
                kept = Arrays.copyOf(kept, MAX_STACKS);
                cut = true;
            }
            StateKey key = new StateKey(List.of(kept), accepts);
            State known = states.get(key);
            if (known == null) {
                remember(STATE_BYTES + (long) STACK_BYTES * kept.length);
                known = new State(Machine.this, kept, accepts, generation);
                states.put(key, known);
            }
            return known;
        }
    }
}
