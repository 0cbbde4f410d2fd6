package io.millrace.engine.grammar.json;

import com.fasterxml.jackson.databind.JsonNode;
import io.millrace.engine.grammar.GrammarException;
import io.millrace.engine.grammar.automaton.CharDfa;
import io.millrace.engine.grammar.automaton.CharMachine;
import io.millrace.engine.grammar.automaton.CharSet;
import io.millrace.engine.grammar.automaton.Fuel;
import io.millrace.engine.grammar.automaton.Partition;
import io.millrace.engine.grammar.machine.Part;
import io.millrace.engine.grammar.machine.Machine;
import io.millrace.engine.grammar.machine.StringPart;
import io.millrace.engine.grammar.machine.TableBudget;
import io.millrace.engine.grammar.machine.TextPart;
import io.millrace.engine.grammar.machine.UnionPart;
import java.util.ArrayList;
import java.util.BitSet;
import java.util.HashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;

/**
 * JSON Schema (2020-12 and draft 7) to parts. Schemas become {@link Shapes}; what a value inside has to meet is a {@link Conjunction}, of
 * which there are finitely many however recursive the schema is. Those that no value meets are found as the complement of a least fixed
 * point and taken out, so that nothing is offered which could not be completed.
 */
public final class SchemaCompiler {
    private static final int MAX_CONJUNCTIONS = 5_000;

    private final SchemaOptions options;
    private final CharSet alphabet;
    private final TableBudget budget;
    private final Strings strings;
    private final SchemaReader reader;
    private final Map<Set<SchemaNode>, Conjunction> conjunctions = new HashMap<>();
    private final List<Conjunction> inOrder = new ArrayList<>();
    private final Shapes any;
    private AnyValue.Scalars scalars;
    private Part anyValue;

    private SchemaCompiler(SchemaReader reader, SchemaOptions options, CharSet alphabet, TableBudget budget) {
        this.budget = budget;
        this.options = options;
        this.alphabet = alphabet;
        this.strings = new Strings(alphabet);
        this.reader = reader;
        this.any = Shapes.any(options.spelling());
    }

    /**
     * @param alphabet the characters that can be written
     * @throws GrammarException with the pointer to what is malformed, not supported, impossible or too large
     */
    public static Part compile(JsonNode schema, SchemaOptions options, CharSet alphabet, TableBudget budget) {
        SchemaDocument document = new SchemaDocument(schema);
        SchemaReader reader = new SchemaReader(document, schema, options);
        return new SchemaCompiler(reader, options, alphabet, budget).compile(document.root(options.inference() == SchemaOptions.Inference.NONE));
    }

    /** Any JSON object. */
    public static Part anyObject(SchemaOptions options, CharSet alphabet) {
        return AnyValue.object(scalars(options, alphabet), 0);
    }

    private static AnyValue.Scalars scalars(SchemaOptions options, CharSet alphabet) {
        return AnyValue.Scalars.of(NumberRange.any(false, options.spelling()), alphabet, options.spaced());
    }

    private Part compile(SchemaNode root) {
        Conjunction whole = conjunction(Set.of(root), "#");
        int overlapsSeen = 0;
        List<Conjunction> overlaps = new ArrayList<>();
        for (int i = 0; i < inOrder.size(); i++) {
            plan(inOrder.get(i));
            for (; overlapsSeen < reader.overlaps().size(); overlapsSeen++) {
                SchemaReader.Overlap overlap = reader.overlaps().get(overlapsSeen);
                overlaps.add(conjunction(new LinkedHashSet<>(overlap.both()), overlap.pointer()));
            }
        }
        findProductive();
        for (int i = 0; i < overlaps.size(); i++) {
            if (overlaps.get(i).productive) {
                throw new GrammarException(reader.overlaps().get(i).pointer(),
                        "`oneOf` is supported where no value can be in two of its schemas, and here one can; use `anyOf`");
            }
        }
        if (!whole.productive) {
            throw new GrammarException("#", "no value meets this schema");
        }
        return part(whole);
    }

    private Conjunction conjunction(Set<SchemaNode> nodes, String pointer) {
        Conjunction known = conjunctions.get(nodes);
        if (known == null) {
            if (inOrder.size() == MAX_CONJUNCTIONS) {
                throw new GrammarException(pointer, "the schema combines to more than " + MAX_CONJUNCTIONS + " different schemas");
            }
            known = new Conjunction(nodes, pointer);
            conjunctions.put(nodes, known);
            inOrder.add(known);
        }
        return known;
    }

    private void plan(Conjunction conjunction) {
        Shapes shapes = any;
        for (SchemaNode node : conjunction.nodes) {
            Shapes one = reader.read(node);
            shapes = shapes.equals(any) ? one : shapes.and(one);
        }
        conjunction.shapes = shapes;
        if (shapes.equals(any)) {
            conjunction.productive = true;
            return;
        }
        try {
            planScalars(conjunction, shapes);
        } catch (GrammarException e) {
            throw e.where().startsWith("#") ? e : e.at(conjunction.pointer);
        }
        for (ArrayRule rule : shapes.arrays()) {
            conjunction.arrays.add(planArray(rule, conjunction.pointer));
        }
        for (ObjectRule rule : shapes.objects()) {
            conjunction.objects.add(planObject(rule, conjunction));
        }
    }

    private void planScalars(Conjunction conjunction, Shapes shapes) {
        List<String> exact = new ArrayList<>();
        for (NumberRange range : shapes.numbers()) {
            CharDfa dfa = NumberAutomaton.of(range);
            if (!dfa.isEmpty()) {
                boolean single = range.low() != null && range.high() != null && range.low().compareTo(range.high()) == 0;
                if (single && !options.integersWithFraction()) {
                    exact.add(range.low().signum() == 0 ? "0" : range.low().stripTrailingZeros().toPlainString());
                } else {
                    conjunction.numbers.add(dfa);
                }
            }
        }
        if (!exact.isEmpty()) {
            conjunction.numbers.add(CharDfa.ofTexts(exact));
        }
        for (StringRule rule : shapes.strings()) {
            CharMachine content = strings.content(rule);
            if (content != null) {
                conjunction.strings.add(content);
            }
        }
        conjunction.productive = shapes.nothing() || shapes.yes() || shapes.no() || !conjunction.numbers.isEmpty()
                || !conjunction.strings.isEmpty();
    }

    private Conjunction.ArrayPlan planArray(ArrayRule rule, String pointer) {
        int length = 0;
        for (ArrayRule.Items items : rule.items()) {
            length = Math.max(length, items.prefix().size());
        }
        List<Conjunction> prefix = new ArrayList<>();
        for (int i = 0; i <= length; i++) {
            Set<SchemaNode> nodes = new LinkedHashSet<>();
            for (ArrayRule.Items items : rule.items()) {
                if (items.at(i) != null) {
                    nodes.add(items.at(i));
                }
            }
            prefix.add(conjunction(nodes, pointer));
        }
        return new Conjunction.ArrayPlan(prefix.subList(0, length), prefix.get(length), rule.min(), rule.max());
    }

    private Conjunction.ObjectPlan planObject(ObjectRule rule, Conjunction conjunction) {
        String pointer = conjunction.pointer;
        // Where it is asked what a schema could mean at most, its objects are open as the standard has it.
        boolean exact = conjunction.nodes.stream().anyMatch(SchemaNode::exact);
        List<CharMachine> demands = new ArrayList<>();
        for (SchemaNode names : rule.names()) {
            List<CharDfa> options = new ArrayList<>();
            List<CharSet> sets = new ArrayList<>(List.of(alphabet));
            for (StringRule one : reader.read(names).strings()) {
                CharMachine content = strings.content(one);
                if (content instanceof CharDfa dfa) {
                    sets.addAll(dfa.partition().sets());
                }
                if (content != null) {
                    options.add(content instanceof CharDfa dfa ? dfa : CharDfa.intersection(List.of(content), Partition.of(List.of(alphabet))));
                }
            }
            demands.add(CharDfa.union(options, Partition.of(sets)));
        }
        KeyPlanner.Keys keys = new KeyPlanner(rule, strings, alphabet, demands, options.closed() && !exact).plan();
        if (rule.min() > 1 && keys.schemas().size() > keys.names().size() && rule.min() > rule.required().size()) {
            throw new GrammarException(rule.pointer() + "/minProperties",
                    "`minProperties` above 1 is not supported where keys are free, since none may be counted twice; name the properties in `required`");
        }
        if (rule.min() > 0 && rule.max() != Integer.MAX_VALUE && !rule.dependents().isEmpty()) {
            throw new GrammarException(rule.pointer(), "`minProperties` and `maxProperties` together with dependent properties are not supported");
        }
        List<Conjunction> values = new ArrayList<>();
        for (Set<SchemaNode> nodes : keys.schemas()) {
            values.add(nodes == null ? null : conjunction(nodes, pointer));
        }
        return new Conjunction.ObjectPlan(rule, keys.names(), keys.classes(), values);
    }

    private void findProductive() {
        for (boolean changed = true; changed;) {
            changed = false;
            Fuel.spend(2L * inOrder.size());
            for (Conjunction one : inOrder) {
                if (!one.productive && (one.arrays.stream().anyMatch(Conjunction.ArrayPlan::isProductive)
                        || one.objects.stream().anyMatch(this::isProductive))) {
                    one.productive = true;
                    changed = true;
                }
            }
        }
    }

    /** With the values known to exist so far, can the object be closed? */
    private boolean isProductive(Conjunction.ObjectPlan plan) {
        Fuel.spend(20L + 4L * plan.values().size());
        Part[] placeholders = new Part[plan.values().size()];
        for (int i = 0; i < placeholders.length; i++) {
            Conjunction value = plan.values().get(i);
            placeholders[i] = value != null && value.productive ? new UnionPart() : null;
        }
        return rules(plan, placeholders).isSatisfiable();
    }

    private ObjectRules rules(Conjunction.ObjectPlan plan, Part[] values) {
        Map<String, Integer> numbers = new HashMap<>();
        for (String name : plan.names()) {
            numbers.put(name, numbers.size());
        }
        BitSet required = new BitSet();
        plan.rule().required().forEach(name -> required.set(numbers.get(name)));
        BitSet[] dependents = plan.rule().dependents().isEmpty() ? null : new BitSet[plan.names().size()];
        plan.rule().dependents().forEach((name, more) -> {
            BitSet bits = new BitSet();
            more.forEach(other -> bits.set(numbers.get(other)));
            dependents[numbers.get(name)] = bits;
        });
        return new ObjectRules(plan.keys(), values, new ObjectRules.Demands(required, dependents, plan.rule().min(), plan.rule().max(),
                options.ordered(), options.spaced()), budget);
    }

    private Part part(Conjunction conjunction) {
        if (conjunction.shapes.equals(any)) {
            if (anyValue == null) {
                scalars = scalars(options, alphabet);
                anyValue = new AnyValue(scalars, 0);
            }
            return anyValue;
        }
        if (conjunction.part != null) {
            return conjunction.part;
        }
        conjunction.part = new UnionPart();
        List<Part> all = new ArrayList<>();
        List<String> words = new ArrayList<>();
        if (conjunction.shapes.nothing()) {
            words.add("null");
        }
        if (conjunction.shapes.yes()) {
            words.add("true");
        }
        if (conjunction.shapes.no()) {
            words.add("false");
        }
        if (!words.isEmpty()) {
            all.add(new TextPart(CharDfa.ofTexts(words)));
        }
        conjunction.numbers.forEach(dfa -> all.add(new TextPart(dfa)));
        conjunction.strings.forEach(content -> all.add(new StringPart(content)));
        for (Conjunction.ArrayPlan plan : conjunction.arrays) {
            if (plan.isProductive()) {
                all.add(array(plan));
            }
        }
        for (Conjunction.ObjectPlan plan : conjunction.objects) {
            if (isProductive(plan)) {
                all.add(object(plan));
            }
        }
        // An object or an array may have a space where it may go on: two stacks.
        long stacks = all.stream().mapToInt(option -> option instanceof ObjectPart || option instanceof ArrayPart ? 2 : 1).sum();
        if (stacks > Machine.MAX_STACKS) {
            throw new GrammarException(conjunction.pointer, "has too many alternatives: " + all.size() + ", of which objects and arrays count twice; "
                    + "at most " + Machine.MAX_STACKS + " can be told apart, so " + Machine.MAX_STACKS / 2 + " objects");
        }
        conjunction.part.setOptions(all);
        return conjunction.part;
    }

    private Part array(Conjunction.ArrayPlan plan) {
        int max = plan.max();
        List<Part> prefix = new ArrayList<>();
        for (int i = 0; i < plan.prefix().size() && i < max; i++) {
            if (!plan.at(i).productive) {
                max = i;
            } else {
                prefix.add(part(plan.at(i)));
            }
        }
        if (max > prefix.size() && !plan.rest().productive) {
            max = prefix.size();
        }
        return new ArrayPart(prefix.toArray(new Part[0]), max > prefix.size() ? part(plan.rest()) : null, plan.min(), max, options.spaced());
    }

    private Part object(Conjunction.ObjectPlan plan) {
        Part[] values = new Part[plan.values().size()];
        for (int i = 0; i < values.length; i++) {
            Conjunction value = plan.values().get(i);
            values[i] = value != null && value.productive ? part(value) : null;
        }
        return new ObjectPart(rules(plan, values));
    }
}
