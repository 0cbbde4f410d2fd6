package io.millrace.engine.grammar;

import com.fasterxml.jackson.core.JsonFactory;
import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.core.StreamReadConstraints;
import com.fasterxml.jackson.core.StreamReadFeature;
import com.fasterxml.jackson.databind.DeserializationFeature;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import io.millrace.engine.grammar.automaton.CharDfa;
import io.millrace.engine.grammar.automaton.CharSet;
import io.millrace.engine.grammar.automaton.Fuel;
import io.millrace.engine.grammar.ebnf.EbnfCompiler;
import io.millrace.engine.grammar.json.SchemaCompiler;
import io.millrace.engine.grammar.machine.Machine;
import io.millrace.engine.grammar.machine.Part;
import io.millrace.engine.grammar.machine.State;
import io.millrace.engine.grammar.machine.TableBudget;
import io.millrace.engine.grammar.machine.TextPart;
import io.millrace.engine.grammar.mask.ByteVocabulary;
import io.millrace.engine.grammar.mask.MaskCache;
import io.millrace.engine.grammar.regex.Regexes;
import java.lang.ref.WeakReference;
import java.util.Iterator;
import java.util.LinkedHashMap;
import java.util.LinkedList;
import java.util.List;
import java.util.function.Supplier;

/**
 * Compiles constraints on the thread that asks and remembers them by content. What it and the constraints keep is bounded: the number of
 * constraints, each one's states, and the bytes of all masks. Thread-safe; two threads that ask for the same new one may both compile it.
 */
public final class ConstraintCompiler {
    /** Constraints remembered, by number and by what they hold; masks aside. */
    static final int MAX_REMEMBERED = 64;
    private static final long MAX_REMEMBERED_BYTES = 128L << 20;
    private static final long OVERHEAD_BYTES = 50_000;
    /** Of all constraints in use, remembered or not, a new one among them: a share of the heap. */
    private static final long MAX_LIVE_BYTES = Math.max(192L << 20, Runtime.getRuntime().maxMemory() / 3);
    private static final long COLLECTION_NANOS = 2_000_000_000L;
    /** Masks of all constraints. */
    private static final long MAX_MASK_BYTES = 64L << 20;
    private static final int MAX_SCHEMA_CHARS = 1 << 20;
    private static final int MAX_CHOICES = 10_000;
    private static final int MAX_CHOICE_CHARS = 200_000;
    private static final String NEEDED_FOR_JSON = "{}[]:,\"\\ \n0123456789-.eutrnfalsbABCDEFcd/";

    private final Supplier<ByteVocabulary> makeVocabulary;
    private final ObjectMapper json;
    private MaskCache masks;
    private long lastCollection = System.nanoTime() - COLLECTION_NANOS - 1;
    private final List<WeakReference<Constraint>> live = new LinkedList<>();
    private final LinkedHashMap<ConstraintSpec, Constraint> remembered = new LinkedHashMap<>(16, 0.75f, true);

    /** @param vocabulary what the model writes; asked for once, with the first constraint */
    public ConstraintCompiler(Supplier<ByteVocabulary> vocabulary) {
        this.makeVocabulary = vocabulary;
        this.json = new ObjectMapper(JsonFactory.builder().enable(StreamReadFeature.STRICT_DUPLICATE_DETECTION)
                .streamReadConstraints(StreamReadConstraints.builder().maxNestingDepth(300).maxNumberLength(1000).build()).build());
        json.enable(DeserializationFeature.USE_BIG_DECIMAL_FOR_FLOATS, DeserializationFeature.FAIL_ON_TRAILING_TOKENS);
    }

    /** @throws GrammarException if the constraint is malformed, not supported, impossible or too large */
    public Constraint compile(ConstraintSpec spec) {
        synchronized (remembered) {
            Constraint known = remembered.get(spec);
            if (known != null && !known.isWornOut()) {
                return known;
            }
        }
        Constraint made;
        try {
            Fuel.refill();
            MaskCache cache = masks();
            TableBudget budget = new TableBudget();
            Machine machine = new Machine(part(spec, cache.vocabulary().alphabet(), budget));
            requireAStart(machine);
            made = new Constraint(machine, budget, cache, Fuel.spent() + 2L * length(spec) + OVERHEAD_BYTES);
            requireRoom(made);
        } catch (StackOverflowError e) {
            throw new GrammarException("is nested too deeply");
        }
        synchronized (remembered) {
            Constraint before = remembered.put(spec, made);
            if (before != null) {
                before.release();
            }
            long bytes = remembered.values().stream().mapToLong(Constraint::bytes).sum();
            while (remembered.size() > 1 && (remembered.size() > MAX_REMEMBERED || bytes > MAX_REMEMBERED_BYTES)) {
                Constraint oldest = remembered.pollFirstEntry().getValue();
                oldest.release();
                bytes -= oldest.bytes();
            }
        }
        return made;
    }

    private static long length(ConstraintSpec spec) {
        return switch (spec) {
            case ConstraintSpec.JsonSchema schema -> schema.schema().length();
            case ConstraintSpec.JsonObject object -> 0;
            case ConstraintSpec.Regex regex -> regex.pattern().length();
            case ConstraintSpec.Choice choice -> choice.texts().stream().mapToLong(text -> text.length() + 30L).sum();
            case ConstraintSpec.Grammar grammar -> grammar.source().length();
        };
    }

    /** Texts on their way, waiting ones among them, keep constraints that are no longer remembered. */
    private void requireRoom(Constraint made) {
        synchronized (live) {
            long bytes = made.bytes() + liveBytes();
            if (bytes > MAX_LIVE_BYTES && System.nanoTime() - lastCollection > COLLECTION_NANOS) {
                // Only a collection tells which of them are still in use.
                System.gc();
                lastCollection = System.nanoTime();
                bytes = made.bytes() + liveBytes();
            }
            if (bytes > MAX_LIVE_BYTES) {
                throw new GrammarException("there is no room for it now: the constraints in use hold " + (bytes >> 20) + " MiB of "
                        + (MAX_LIVE_BYTES >> 20) + "; try again later");
            }
            live.add(new WeakReference<>(made));
        }
    }

    private long liveBytes() {
        long bytes = 0;
        for (Iterator<WeakReference<Constraint>> i = live.iterator(); i.hasNext();) {
            Constraint one = i.next().get();
            if (one == null) {
                i.remove();
            } else {
                bytes += one.bytes();
            }
        }
        return bytes;
    }

    private static void requireAStart(Machine machine) {
        if (machine.start() == State.DEAD) {
            throw new GrammarException("allows no text that could be begun within the bounds on work and memory");
        }
        if (machine.opensTooWide()) {
            throw new GrammarException("begins in too many ways at once; make its alternatives fewer or less deep");
        }
    }

    private synchronized MaskCache masks() {
        if (masks == null) {
            masks = new MaskCache(makeVocabulary.get(), MAX_MASK_BYTES);
        }
        return masks;
    }

    private Part part(ConstraintSpec spec, CharSet alphabet, TableBudget budget) {
        return switch (spec) {
            case ConstraintSpec.JsonSchema schema -> {
                requireJson(alphabet);
                yield SchemaCompiler.compile(parse(schema.schema()), schema.options(), alphabet, budget);
            }
            case ConstraintSpec.JsonObject object -> {
                requireJson(alphabet);
                yield SchemaCompiler.anyObject(object.options(), alphabet);
            }
            case ConstraintSpec.Regex regex -> text(Regexes.matching(regex.pattern(), alphabet), "the regular expression matches no text");
            case ConstraintSpec.Choice choice -> choice(choice.texts(), alphabet);
            case ConstraintSpec.Grammar grammar -> EbnfCompiler.compile(grammar.source(), alphabet, budget);
        };
    }

    private static void requireJson(CharSet alphabet) {
        NEEDED_FOR_JSON.chars().filter(c -> !alphabet.contains(c)).findFirst().ifPresent(c -> {
            throw new GrammarException("the model's vocabulary has no token for `" + (char) c + "`, so it cannot write JSON");
        });
    }

    private JsonNode parse(String schema) {
        if (schema.length() > MAX_SCHEMA_CHARS) {
            throw new GrammarException("the schema has " + schema.length() + " characters; at most " + MAX_SCHEMA_CHARS + " are allowed");
        }
        try {
            return json.readTree(schema);
        } catch (JsonProcessingException e) {
            throw new GrammarException("the schema is no valid JSON: " + e.getOriginalMessage());
        }
    }

    private static Part choice(List<String> texts, CharSet alphabet) {
        if (texts.isEmpty() || texts.size() > MAX_CHOICES || texts.stream().mapToLong(String::length).sum() > MAX_CHOICE_CHARS) {
            throw new GrammarException("there are " + texts.size() + " texts to choose from, of " + texts.stream().mapToLong(String::length).sum()
                    + " characters; 1 to " + MAX_CHOICES + " of up to " + MAX_CHOICE_CHARS + " characters together are allowed");
        }
        List<String> writable = texts.stream().filter(text -> text.codePoints().allMatch(alphabet::contains)).toList();
        return text(CharDfa.ofTexts(writable), "the model's vocabulary can write none of the texts");
    }

    private static Part text(CharDfa dfa, String ifEmpty) {
        if (dfa.isEmpty()) {
            throw new GrammarException(ifEmpty);
        }
        return new TextPart(dfa);
    }
}
