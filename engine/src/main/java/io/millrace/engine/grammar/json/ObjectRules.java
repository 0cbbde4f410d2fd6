package io.millrace.engine.grammar.json;

import io.millrace.engine.grammar.machine.Part;
import io.millrace.engine.grammar.machine.TableBudget;
import java.util.ArrayList;
import java.util.BitSet;
import java.util.HashMap;
import java.util.List;
import java.util.Map;

/**
 * Which keys an object may have when. Parts of values may be set after construction, so that objects can contain themselves. What it
 * learns of stages is guarded by the lock of the machine it belongs to.
 */
final class ObjectRules {
    /** Means no limit. */
    static final int UNLIMITED = Integer.MAX_VALUE;

    /**
     * @param required   named keys
     * @param dependents by named key, the named keys that must come with it; null = none
     * @param ordered    named keys come in the order of their numbers, others after them
     */
    record Demands(BitSet required, BitSet[] dependents, int min, int max, boolean ordered, boolean spaced) {}

    private final KeyClasses keys;
    private final TableBudget budget;
    private final Part[] values;
    private final Demands demands;
    private final boolean counts;
    private final Map<StageKey, Stage> stages = new HashMap<>();
    private final List<Stage> byId = new ArrayList<>();

    /** @param values by class; null = a key of this class is not allowed */
    ObjectRules(KeyClasses keys, Part[] values, Demands demands, TableBudget budget) {
        this.budget = budget;
        this.keys = keys;
        this.values = values;
        this.demands = demands;
        this.counts = demands.min > 0 || demands.max != UNLIMITED;
    }

    KeyClasses keys() {
        return keys;
    }

    boolean spaced() {
        return demands.spaced;
    }

    Part value(int keyClass) {
        return values[keyClass];
    }

    Stage first() {
        return stage(new StageKey(new BitSet(), -1, 0));
    }

    Stage stage(int id) {
        return byId.get(id);
    }

    /** After a key of {@code keyClass}, which is allowed; null if there is no memory for it. */
    Stage after(Stage stage, int keyClass) {
        StageKey next = next(stage.key, keyClass);
        if (!demands.ordered || demands.dependents != null) {
            return stage(next);
        }
        // In order, keys that are not required mean nothing once they are passed: stages are as many as keys, not as their subsets.
        BitSet seen = demands.required.get(0, Math.min(next.last() + 1, keys.numNames()));
        return stage(new StageKey(seen, next.last(), next.count()));
    }

    private StageKey next(StageKey key, int keyClass) {
        boolean named = keyClass < keys.numNames();
        BitSet seen = key.seen();
        if (named) {
            seen = (BitSet) seen.clone();
            seen.set(keyClass);
        }
        int count = !counts ? 0 : demands.max == UNLIMITED ? Math.min(demands.min, key.count() + 1) : key.count() + 1;
        return new StageKey(seen, demands.ordered ? Math.min(keyClass, keys.numNames()) : -1, count);
    }

    private Stage stage(StageKey key) {
        Stage known = stages.get(key);
        if (known == null) {
            if (!budget.take(300 + keys.numClasses() + keys.dfa().numStates() / 8)) {
                return null;
            }
            boolean[] allowed = new boolean[keys.numClasses()];
            int firstMissing = firstMissing(key.seen());
            for (int k = 0; k < allowed.length; k++) {
                allowed[k] = counts || demands.dependents != null ? allows(key, k) : allowsSimply(key, k, firstMissing);
            }
            known = new Stage(byId.size(), key, this, allowed, missing(key.seen()).isEmpty() && key.count() >= demands.min);
            stages.put(key, known);
            byId.add(known);
        }
        return known;
    }

    /** Named keys that must still come. */
    private BitSet missing(BitSet seen) {
        BitSet needed = (BitSet) demands.required.clone();
        needed.or(seen);
        BitSet added = needed;
        while (demands.dependents != null && !added.isEmpty()) {
            BitSet more = new BitSet();
            for (int i = added.nextSetBit(0); i >= 0; i = added.nextSetBit(i + 1)) {
                if (demands.dependents[i] != null) {
                    more.or(demands.dependents[i]);
                }
            }
            more.andNot(needed);
            needed.or(more);
            added = more;
        }
        needed.andNot(seen);
        return needed;
    }

    private int firstMissing(BitSet seen) {
        int at = demands.required.nextSetBit(0);
        while (at >= 0 && seen.get(at)) {
            at = demands.required.nextSetBit(at + 1);
        }
        return at;
    }

    /** {@link #allows} where nothing is counted and nothing depends: only the order can be in the way. */
    private boolean allowsSimply(StageKey key, int k, int firstMissing) {
        boolean inTime = !demands.ordered || firstMissing < 0 || k <= firstMissing;
        boolean named = k < keys.numNames();
        return values[k] != null && inTime && !(named && (key.seen().get(k) || demands.ordered && k <= key.last()));
    }

    /** Whether a key of class {@code k} may come now such that all demands can still be met. */
    private boolean allows(StageKey key, int k) {
        boolean named = k < keys.numNames();
        if (values[k] == null || named && (key.seen().get(k) || demands.ordered && k <= key.last())) {
            return false;
        }
        StageKey next = next(key, k);
        BitSet missing = missing(next.seen());
        for (int i = missing.nextSetBit(0); i >= 0; i = missing.nextSetBit(i + 1)) {
            if (values[i] == null || demands.ordered && i <= next.last()) {
                return false;
            }
        }
        return fits(next, missing);
    }

    private boolean fits(StageKey key, BitSet missing) {
        if (!counts) {
            return true;
        }
        if ((long) key.count() + missing.cardinality() > demands.max) {
            return false;
        }
        return key.count() >= demands.min || key.count() + possible(key) >= demands.min;
    }

    /** Whether there is an object that meets all demands. */
    boolean isSatisfiable() {
        StageKey empty = new StageKey(new BitSet(), -1, 0);
        BitSet missing = missing(empty.seen());
        for (int i = missing.nextSetBit(0); i >= 0; i = missing.nextSetBit(i + 1)) {
            if (values[i] == null) {
                return false;
            }
        }
        return demands.min <= demands.max && fits(empty, missing);
    }

    /** Keys that may still come at most. */
    private long possible(StageKey key) {
        long possible = 0;
        for (int i = 0; i < values.length; i++) {
            if (values[i] == null) {
                continue;
            }
            if (i >= keys.numNames()) {
                return UNLIMITED;
            }
            possible += key.seen().get(i) || demands.ordered && i <= key.last() ? 0 : 1;
        }
        return possible;
    }
}
