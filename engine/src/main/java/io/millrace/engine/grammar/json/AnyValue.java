package io.millrace.engine.grammar.json;

import io.millrace.engine.grammar.automaton.CharDfa;
import io.millrace.engine.grammar.automaton.CharSet;
import io.millrace.engine.grammar.machine.AlternativesPart;
import io.millrace.engine.grammar.machine.Part;
import io.millrace.engine.grammar.machine.StringPart;
import io.millrace.engine.grammar.machine.TableBudget;
import io.millrace.engine.grammar.machine.TextPart;
import io.millrace.engine.grammar.automaton.Partition;
import java.util.ArrayList;
import java.util.BitSet;
import java.util.List;

/** Any JSON value at all, arrays and objects to {@link #MAX_DEPTH} levels inside each other. Levels are made as they are entered. */
final class AnyValue extends AlternativesPart {
    static final int MAX_DEPTH = 32;

    private final Scalars scalars;
    private final int depth;
    private List<Part> options;

    /** What all levels share: texts of scalars, the automaton of any key. */
    record Scalars(Part string, Part number, Part words, KeyClasses keys, boolean spaced) {
        static Scalars of(NumberRange number, CharSet alphabet, boolean spaced) {
            CharDfa text = CharDfa.intersection(List.of(Strings.any(alphabet)), Partition.of(List.of(alphabet)));
            return new Scalars(new StringPart(Strings.any(alphabet)), new TextPart(NumberAutomaton.of(number)),
                    new TextPart(CharDfa.ofTexts(List.of("true", "false", "null"))), new KeyClasses(text, new int[text.numStates()], 0, 1), spaced);
        }
    }

    AnyValue(Scalars scalars, int depth) {
        this.scalars = scalars;
        this.depth = depth;
    }

    static Part object(Scalars scalars, int depth) {
        return new ObjectPart(new ObjectRules(scalars.keys, new Part[] {new AnyValue(scalars, depth + 1)},
                new ObjectRules.Demands(new BitSet(), null, 0, ObjectRules.UNLIMITED, false, scalars.spaced), new TableBudget()));
    }

    private static Part array(Scalars scalars, int depth) {
        return new ArrayPart(new Part[0], new AnyValue(scalars, depth + 1), 0, ArrayPart.UNLIMITED, scalars.spaced);
    }

    @Override
    protected List<Part> options() {
        if (options == null) {
            List<Part> all = new ArrayList<>(List.of(scalars.string, scalars.number, scalars.words));
            if (depth < MAX_DEPTH) {
                all.add(object(scalars, depth));
                all.add(array(scalars, depth));
            }
            options = all;
        }
        return options;
    }
}
