package io.millrace.engine.grammar.json;

import io.millrace.engine.grammar.automaton.CharDfa;

/**
 * All keys an object may ever have and what each is: named keys are classes {@code [0, numNames)}, others have a class for each set of
 * patterns they match. An empty automaton if there is none.
 *
 * @param classOfState by state of the automaton; meaningless where it does not accept
 */
record KeyClasses(CharDfa dfa, int[] classOfState, int numNames, int numClasses) {
    int classOf(int state) {
        return classOfState[state];
    }
}
