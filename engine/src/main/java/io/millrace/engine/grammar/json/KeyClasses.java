package io.millrace.engine.grammar.json;

import io.millrace.engine.grammar.automaton.CharDfa;
import java.util.ArrayList;
import java.util.List;
import java.util.Set;
import java.util.TreeSet;

/**
 * All keys an object may ever have and what each is: named keys are classes {@code [0, numNames)}, others have a class for each set of
 * patterns they match. An empty automaton if there is none.
 *
 * @param classOfState by state of the automaton; meaningless where it does not accept
 * @param before       by state, the states from which it is reached in one step
 */
record KeyClasses(CharDfa dfa, int[] classOfState, int numNames, int numClasses, int[][] before) {
    KeyClasses(CharDfa dfa, int[] classOfState, int numNames, int numClasses) {
        this(dfa, classOfState, numNames, numClasses, predecessors(dfa));
    }

    private static int[][] predecessors(CharDfa dfa) {
        List<Set<Integer>> before = new ArrayList<>();
        for (int s = 0; s < dfa.numStates(); s++) {
            before.add(new TreeSet<>());
        }
        for (int s = 0; s < dfa.numStates(); s++) {
            for (int to : dfa.row(s)) {
                if (to != CharDfa.DEAD) {
                    before.get(to).add(s);
                }
            }
        }
        return before.stream().map(all -> all.stream().mapToInt(Integer::intValue).toArray()).toArray(int[][]::new);
    }

    int classOf(int state) {
        return classOfState[state];
    }
}
