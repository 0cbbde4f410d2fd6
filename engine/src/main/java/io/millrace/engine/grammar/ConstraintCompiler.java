package io.millrace.engine.grammar;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.core.StreamReadConstraints;
import com.fasterxml.jackson.core.StreamReadFeature;
import com.fasterxml.jackson.core.JsonFactory;
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
import io.millrace.engine.grammar.machine.TextPart;
import io.millrace.engine.grammar.mask.ByteVocabulary;
import io.millrace.engine.grammar.mask.MaskCache;
import io.millrace.engine.grammar.regex.Regexes;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.function.Supplier;

/**
 * Compiles constraints on the thread that asks and remembers them by content. What it and the constraints keep is bounded: the number of
 * constraints, each one's states, and the bytes of all masks. Thread-safe; two threads that ask for the same new one may both compile it.
 */
public final class ConstraintCompiler {
    /** Constraints remembered; each may come to some megabytes. */
    static final int MAX_REMEMBERED = 64;
    /** Masks of all constraints. */
    private static final long MAX_MASK_BYTES = 64L << 20;
    private static final int MAX_SCHEMA_CHARS = 1 << 20;
    private static final int MAX_CHOICES = 10_000;
    private static final int MAX_CHOICE_CHARS = 200_000;
    private static final String NEEDED_FOR_JSON = "{}[]:,\"\\ \n0123456789-.eutrnfalsbABCDEFcd/";

    private final Supplier<ByteVocabulary> makeVocabulary;
    private final ObjectMapper json;
    private MaskCache masks;
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
            if (known != null) {
                return known;
            }
        }
        Constraint made;
        try {
            Fuel.refill();
            MaskCache cache = masks();
            made = new Constraint(new Machine(part(spec, cache.vocabulary().alphabet())), cache);
        } catch (StackOverflowError e) {
            throw new GrammarException("is nested too deeply");
        }
        synchronized (remembered) {
            remembered.put(spec, made);
            if (remembered.size() > MAX_REMEMBERED) {
                remembered.pollFirstEntry();
            }
        }
        return made;
    }

    private synchronized MaskCache masks() {
        if (masks == null) {
            masks = new MaskCache(makeVocabulary.get(), MAX_MASK_BYTES);
        }
        return masks;
    }

    private Part part(ConstraintSpec spec, CharSet alphabet) {
        return switch (spec) {
            case ConstraintSpec.JsonSchema schema -> {
                requireJson(alphabet);
                yield SchemaCompiler.compile(parse(schema.schema()), schema.options(), alphabet);
            }
            case ConstraintSpec.JsonObject object -> {
                requireJson(alphabet);
                yield SchemaCompiler.anyObject(object.options(), alphabet);
            }
            case ConstraintSpec.Regex regex -> text(Regexes.matching(regex.pattern(), alphabet), "the regular expression matches no text");
            case ConstraintSpec.Choice choice -> choice(choice.texts(), alphabet);
            case ConstraintSpec.Grammar grammar -> EbnfCompiler.compile(grammar.source(), alphabet);
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
