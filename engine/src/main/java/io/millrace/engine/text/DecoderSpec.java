package io.millrace.engine.text;

import com.fasterxml.jackson.databind.JsonNode;
import java.util.ArrayList;
import java.util.List;

/** What the {@code decoder} entry of a tokenizer.json asks for, reduced to the shapes that models use. */
sealed interface DecoderSpec {
    /** GPT-2's alphabet: each character of a piece stands for one byte. */
    record ByteLevel() implements DecoderSpec {}

    /**
     * SentencePiece conversions: {@code ▁} becomes a space, {@code <0xNN>} a byte, and the text may lose leading characters.
     *
     * @param replacements    applied to each piece in order
     * @param byteFallback    whether {@code <0xNN>} pieces are bytes
     * @param strip           the character removed from the start of the text
     * @param maxStripped     how many of them at most, 0 for none
     * @param metaspace       the character of a Metaspace decoder, 0 for none
     * @param metaspaceLeads  whether that character vanishes from the first token
     */
    record SentencePiece(List<Replacement> replacements, boolean byteFallback, char strip, int maxStripped,
                         char metaspace, boolean metaspaceLeads) implements DecoderSpec {}

    /** Anything else (WordPiece, CTC, suffix-marking BPE, none): left to the native library, over a window. */
    record Other() implements DecoderSpec {}

    record Replacement(String pattern, String content) {}

    /** @param decoder the entry, or null or JSON null where the file has none */
    static DecoderSpec parse(JsonNode decoder) {
        if (decoder == null || !decoder.isObject()) {
            return new Other();
        }
        List<JsonNode> steps = new ArrayList<>();
        flatten(decoder, steps, 0);
        if (steps.size() == 1 && type(steps.getFirst()).equals("ByteLevel")) {
            return new ByteLevel();
        }
        return sentencePiece(steps);
    }

    private static void flatten(JsonNode decoder, List<JsonNode> into, int depth) {
        if (type(decoder).equals("Sequence") && depth < 8) {
            decoder.path("decoders").forEach(d -> flatten(d, into, depth + 1));
        } else {
            into.add(decoder);
        }
    }

    /** The steps are understood only in orders where working piece by piece gives the same as working on the whole. */
    private static DecoderSpec sentencePiece(List<JsonNode> steps) {
        List<Replacement> replacements = new ArrayList<>();
        boolean byteFallback = false;
        boolean fused = false;
        char strip = 0;
        int maxStripped = 0;
        char metaspace = 0;
        boolean metaspaceLeads = false;
        for (JsonNode step : steps) {
            switch (type(step)) {
                case "Replace" -> {
                    JsonNode pattern = step.path("pattern").path("String");
                    if (byteFallback || fused || metaspace != 0 || !pattern.isTextual() || pattern.asText().isEmpty()) {
                        return new Other();
                    }
                    replacements.add(new Replacement(pattern.asText(), step.path("content").asText()));
                }
                case "ByteFallback" -> {
                    if (byteFallback || fused) {
                        return new Other();
                    }
                    byteFallback = true;
                }
                case "Metaspace" -> {
                    String replacement = step.path("replacement").asText("▁");
                    if (fused || metaspace != 0 || replacement.length() != 1) {
                        return new Other();
                    }
                    metaspace = replacement.charAt(0);
                    // Files older than prepend_scheme carry add_prefix_space instead.
                    metaspaceLeads = step.has("prepend_scheme")
                            ? !step.path("prepend_scheme").asText().equals("never")
                            : step.path("add_prefix_space").asBoolean(true);
                }
                case "Fuse" -> fused = true;
                case "Strip" -> {
                    String content = step.path("content").asText();
                    if (!fused || maxStripped != 0 || content.length() != 1 || step.path("stop").asInt() != 0) {
                        return new Other();
                    }
                    strip = content.charAt(0);
                    maxStripped = step.path("start").asInt();
                }
                default -> {
                    return new Other();
                }
            }
        }
        boolean any = byteFallback || metaspace != 0 || !replacements.isEmpty();
        return any ? new SentencePiece(List.copyOf(replacements), byteFallback, strip, maxStripped, metaspace, metaspaceLeads) : new Other();
    }

    private static String type(JsonNode step) {
        return step.path("type").asText("");
    }
}
