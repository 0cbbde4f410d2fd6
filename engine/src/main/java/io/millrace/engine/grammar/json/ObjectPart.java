package io.millrace.engine.grammar.json;

import io.millrace.engine.grammar.machine.Part;

/**
 * A JSON object: keys as its {@link ObjectRules} allow them from {@link Stage} to stage, each with the value of its key's class.
 *
 * <p>State: phase in bits 0 to 3, {@link Whitespace} in 4 to 11, stage in 12 to 43, class of the key in 44 to 62.
 */
final class ObjectPart extends Part {
    private static final int START = 0;
    private static final int OPEN = 1;
    private static final int KEY = 2;
    private static final int COLON = 3;
    private static final int BEFORE_VALUE = 4;
    private static final int VALUE = 5;
    private static final int AFTER = 6;
    private static final int NEXT = 7;
    private static final int DONE = 8;

    private final ObjectRules rules;

    ObjectPart(ObjectRules rules) {
        this.rules = rules;
    }

    private static long state(int phase, int space, int stage, int keyClass) {
        return (long) keyClass << 44 | (long) stage << 12 | space << 4 | phase;
    }

    private static int phase(long state) {
        return (int) state & 15;
    }

    private static int space(long state) {
        return (int) state >>> 4 & 0xFF;
    }

    private Stage stage(long state) {
        return rules.stage((int) (state >>> 12));
    }

    private static int keyClass(long state) {
        return (int) (state >>> 44);
    }

    @Override
    public long start() {
        Stage first = rules.first();
        return first == null ? DEAD : state(START, 0, first.id, 0);
    }

    @Override
    public long step(long state, int b) {
        int phase = phase(state);
        Stage stage = stage(state);
        switch (phase) {
            case START -> {
                return b == '{' ? state(OPEN, 0, stage.id, 0) : DEAD;
            }
            case COLON -> {
                return b == ':' ? state(BEFORE_VALUE, 0, stage.id, keyClass(state)) : DEAD;
            }
            case OPEN, AFTER -> {
                if (b == '}') {
                    return stage.canClose ? state(DONE, 0, 0, 0) : DEAD;
                }
                if (phase == AFTER && b == ',') {
                    return stage.canAdd && space(state) == 0 ? state(NEXT, 0, stage.id, 0) : DEAD;
                }
                if (phase == AFTER && !stage.canClose) {
                    return DEAD;
                }
            }
            case NEXT, BEFORE_VALUE -> { }
            default -> {
                return DEAD;
            }
        }
        // Nobody breaks the line after a colon, and a model that could would wander off there.
        boolean may = rules.spaced() && (phase != BEFORE_VALUE || b == ' ');
        int space = may ? Whitespace.step(space(state), b) : -1;
        return space < 0 ? DEAD : state(phase, space, stage.id, keyClass(state));
    }

    @Override
    public boolean accepts(long state) {
        return phase(state) == DONE;
    }

    @Override
    public boolean continues(long state) {
        int phase = phase(state);
        return phase != DONE && phase != KEY && phase != VALUE;
    }

    @Override
    public int numCalls(long state) {
        return switch (phase(state)) {
            case OPEN, NEXT -> stage(state).canAdd ? 1 : 0;
            case BEFORE_VALUE -> 1;
            default -> 0;
        };
    }

    @Override
    public Part callee(long state, int k) {
        return phase(state) == BEFORE_VALUE ? rules.value(keyClass(state)) : stage(state).key();
    }

    @Override
    public long waiting(long state, int k) {
        return phase(state) == BEFORE_VALUE ? state(VALUE, 0, stage(state).id, 0) : state(KEY, 0, stage(state).id, 0);
    }

    @Override
    public long resume(long waiting, int result) {
        if (phase(waiting) == VALUE) {
            return state(AFTER, 0, stage(waiting).id, 0);
        }
        Stage after = rules.after(stage(waiting), result);
        return after == null ? DEAD : state(COLON, 0, after.id, result);
    }
}
