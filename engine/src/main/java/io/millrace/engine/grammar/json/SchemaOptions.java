package io.millrace.engine.grammar.json;

/**
 * How schemas are read and their instances written. Whatever is chosen, what a constraint lets through is an instance of its schema; the
 * choices say which instances, and how spelled, are offered.
 *
 * @param ordered   properties come in the order in which the schema names them, others after them
 * @param closed    an object that names properties or patterns has no others unless {@code additionalProperties} speaks of them
 * @param unique    whether {@code uniqueItems} is taken seriously, which means refused; llama.cpp passes over it
 * @param inference what a schema without {@code type}, {@code enum} and {@code const} says of the type
 * @param formats   whether the formats of {@link Formats} are demanded; the standard takes them as annotations
 * @param spaced    whether there may be space between the tokens
 * @param draft7    the dialect of schemas that do not name theirs: draft 7 rather than 2020-12
 */
public record SchemaOptions(boolean ordered, boolean closed, boolean unique, Inference inference, boolean formats, boolean spaced, boolean draft7, int maxIntegerDigits,
        int maxFractionDigits, int maxExponentDigits, boolean integersWithFraction) {

    /** Of what type is a schema that does not say so? */
    public enum Inference {
        /** Of any, as the standard has it. */
        NONE,
        /** Of those its keywords are about: {@code properties} makes it an object. */
        KEYWORDS,
        /** Like {@link #KEYWORDS}, and an empty schema is an object, as llama.cpp has it. */
        KEYWORDS_OR_OBJECT
    }

    private static final int UNLIMITED = NumberRange.Spelling.UNLIMITED;

    /** What requests get: instances as people expect them from the schema, numbers of a sensible length. */
    public static final SchemaOptions REQUESTS = new SchemaOptions(true, true, true, Inference.KEYWORDS, true, true, false, 19, 17, 2, false);
    /** All instances, in every order of properties and spelling of numbers. */
    public static final SchemaOptions STANDARD = new SchemaOptions(false, false, true, Inference.NONE, false, true, false, UNLIMITED, UNLIMITED,
            UNLIMITED, true);
    /** As llama.cpp's converter reads schemas. */
    public static final SchemaOptions LLAMA_CPP = new SchemaOptions(true, true, false, Inference.KEYWORDS_OR_OBJECT, true, true, false, 16, 16, 16, false);

    /** The same without space between tokens: for texts that only programs read. */
    public SchemaOptions compact() {
        return new SchemaOptions(ordered, closed, unique, inference, formats, false, draft7, maxIntegerDigits, maxFractionDigits, maxExponentDigits,
                integersWithFraction);
    }

    public SchemaOptions withDraft7(boolean value) {
        return new SchemaOptions(ordered, closed, unique, inference, formats, spaced, value, maxIntegerDigits, maxFractionDigits, maxExponentDigits,
                integersWithFraction);
    }

    NumberRange.Spelling spelling() {
        return new NumberRange.Spelling(maxIntegerDigits, maxFractionDigits, maxExponentDigits, integersWithFraction);
    }
}
