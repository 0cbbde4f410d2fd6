package io.millrace.engine.grammar.automaton;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.BitSet;
import java.util.Collection;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeSet;

/**
 * All characters in classes such that no set of a given collection tells two characters of a class apart (the minterms of the sets). A class
 * stands for its characters in transition tables. Immutable.
 */
public final class Partition {
    private final int[] starts;
    private final int[] classes;
    private final int[] representatives;

    private Partition(int[] starts, int[] classes, int[] representatives) {
        this.starts = starts;
        this.classes = classes;
        this.representatives = representatives;
    }

    public static Partition of(Collection<CharSet> sets) {
        List<CharSet> distinct = sets.stream().distinct().toList();
        TreeSet<Integer> cuts = new TreeSet<>(List.of(0, 0xD800, 0xE000));
        for (CharSet set : distinct) {
            Fuel.spend(10L * set.numRanges());
            for (int i = 0; i < set.numRanges(); i++) {
                cuts.add(set.from(i));
                cuts.add(set.to(i) + 1);
            }
        }
        cuts.remove(CharSet.MAX_CHAR + 1);
        int[] starts = cuts.stream().mapToInt(Integer::intValue).toArray();
        BitSet[] signatures = new BitSet[starts.length];
        for (int i = 0; i < starts.length; i++) {
            signatures[i] = new BitSet();
        }
        for (int s = 0; s < distinct.size(); s++) {
            CharSet set = distinct.get(s);
            Fuel.spend(4L * set.numRanges());
            for (int r = 0; r < set.numRanges(); r++) {
                int met = 0;
                for (int i = Arrays.binarySearch(starts, set.from(r)); i < starts.length && starts[i] <= set.to(r); i++) {
                    signatures[i].set(s);
                    met++;
                }
                // Signatures grow to as many bits as there are sets.
                Fuel.spend(met * (2L + s / 512));
            }
        }
        int[] classes = new int[starts.length];
        Map<BitSet, Integer> ids = new HashMap<>();
        List<Integer> representatives = new ArrayList<>();
        for (int i = 0; i < starts.length; i++) {
            if (starts[i] == 0xD800) {
                classes[i] = -1;
                continue;
            }
            Integer id = ids.putIfAbsent(signatures[i], ids.size());
            if (id == null) {
                id = ids.size() - 1;
                representatives.add(starts[i]);
            }
            classes[i] = id;
        }
        return new Partition(starts, classes, representatives.stream().mapToInt(Integer::intValue).toArray());
    }

    public int size() {
        return representatives.length;
    }

    /** A character of class {@code id}. */
    public int representative(int id) {
        return representatives[id];
    }

    /** -1 for a surrogate. */
    public int classOf(int c) {
        return classes[indexOf(c)];
    }

    /** The classes met in {@code set}. */
    public boolean[] classesIn(CharSet set) {
        boolean[] in = new boolean[size()];
        for (int id = 0; id < in.length; id++) {
            in[id] = set.contains(representatives[id]);
        }
        return in;
    }

    /** One set per class. */
    public List<CharSet> sets() {
        List<List<Integer>> bounds = new ArrayList<>();
        for (int id = 0; id < size(); id++) {
            bounds.add(new ArrayList<>());
        }
        for (int i = 0; i < starts.length; i++) {
            if (classes[i] >= 0) {
                bounds.get(classes[i]).add(starts[i]);
                bounds.get(classes[i]).add(i + 1 < starts.length ? starts[i + 1] - 1 : CharSet.MAX_CHAR);
            }
        }
        return bounds.stream().map(b -> CharSet.ofRanges(b.stream().mapToInt(Integer::intValue).toArray())).toList();
    }

    int numRanges() {
        return starts.length;
    }

    int indexOf(int c) {
        int at = Arrays.binarySearch(starts, c);
        return at >= 0 ? at : -at - 2;
    }

    int start(int range) {
        return starts[range];
    }

    int classAt(int range) {
        return classes[range];
    }
}
