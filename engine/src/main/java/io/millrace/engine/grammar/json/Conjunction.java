package io.millrace.engine.grammar.json;

import io.millrace.engine.grammar.automaton.CharMachine;
import io.millrace.engine.grammar.automaton.CharDfa;
import io.millrace.engine.grammar.machine.UnionPart;
import java.util.ArrayList;
import java.util.List;
import java.util.Set;

/** Schemas that a value has to meet all at once, on the way to a part. Equal by identity; {@link SchemaCompiler} has one per set of schemas. */
final class Conjunction {
    final Set<SchemaNode> nodes;
    /** Where it was met first, for messages. */
    final String pointer;
    Shapes shapes;
    /** Whether a value is known that is in it. */
    boolean productive;
    final List<CharDfa> numbers = new ArrayList<>();
    final List<CharMachine> strings = new ArrayList<>();
    final List<ArrayPlan> arrays = new ArrayList<>();
    final List<ObjectPlan> objects = new ArrayList<>();
    UnionPart part;

    Conjunction(Set<SchemaNode> nodes, String pointer) {
        this.nodes = nodes;
        this.pointer = pointer;
    }

    /** An array: what each place must meet. */
    record ArrayPlan(List<Conjunction> prefix, Conjunction rest, int min, int max) {
        Conjunction at(int index) {
            return index < prefix.size() ? prefix.get(index) : rest;
        }

        boolean isProductive() {
            if (min > max) {
                return false;
            }
            for (int i = 0; i < Math.min(min, prefix.size() + 1); i++) {
                if (!at(i).productive) {
                    return false;
                }
            }
            return true;
        }
    }

    /** An object: its keys by class and what the value of each class must meet; null = the class is not allowed. */
    record ObjectPlan(ObjectRule rule, List<String> names, KeyClasses keys, List<Conjunction> values) {}
}
