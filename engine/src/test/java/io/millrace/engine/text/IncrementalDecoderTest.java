package io.millrace.engine.text;

import static org.assertj.core.api.Assertions.assertThat;

import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.Random;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Guards: what a stream shows, put end to end, is what decoding the whole would show, and never half a character. */
class IncrementalDecoderTest {
    private static final String TEXT = "Once upon a time, naïve 😀👩‍👩‍👧 said: “日本語 и русский” ½ \t\n\n  end. <s> ▁ \u0301";
    private static final String LLAMA = """
            {"type":"Sequence","decoders":[{"type":"Replace","pattern":{"String":"▁"},"content":" "},{"type":"ByteFallback"},
             {"type":"Fuse"},{"type":"Strip","content":" ","start":1,"stop":0}]}""";

    @TempDir
    Path folder;

    @Test
    void randomIdsStreamToTheDecodeDifference() {
        for (Path path : TestTokenizers.folders()) {
            try (HfTokenizer tokenizer = HfTokenizer.load(path)) {
                Random random = new Random(42);
                for (int round = 0; round < 2000; round++) {
                    int[] ids = randomIds(tokenizer, random, random.nextInt(40));
                    assertStreamsAsWhole(tokenizer, ids, random.nextInt(ids.length + 1), random.nextBoolean());
                }
            }
        }
    }

    @Test
    void realTextStreamsToTheDecodeDifferenceFromEveryPosition() {
        for (Path path : TestTokenizers.folders()) {
            try (HfTokenizer tokenizer = HfTokenizer.load(path)) {
                int[] ids = tokenizer.encode(TEXT, true);
                for (int split = 0; split <= ids.length; split++) {
                    assertStreamsAsWhole(tokenizer, ids, split, true);
                    assertStreamsAsWhole(tokenizer, ids, split, false);
                }
            }
        }
    }

    /** The tables and decoders here against the Rust library: exact for byte-level, exact for SentencePiece where bytes form characters. */
    @Test
    void ownDecodeEqualsTheRustLibrarys() {
        for (Path path : TestTokenizers.folders()) {
            boolean isByteLevel = !path.toString().contains("stories") && !path.toString().contains("phi");
            try (HfTokenizer tokenizer = HfTokenizer.load(path)) {
                Random random = new Random(7);
                for (int id = 0; id < tokenizer.vocabSize(); id++) {
                    int[] one = {id};
                    assertThat(tokenizer.decode(one, false)).as("%s %d", path, id).isEqualTo(tokenizer.decodeNatively(one, false));
                }
                for (int round = 0; round < 2000; round++) {
                    int[] ids = isByteLevel ? randomIds(tokenizer, random, 20) : tokenizer.encode(randomText(random), random.nextBoolean());
                    boolean skip = random.nextBoolean();
                    assertThat(tokenizer.decode(ids, skip)).isEqualTo(tokenizer.decodeNatively(ids, skip));
                }
            }
        }
    }

    @Test
    void anIncompleteCharacterBecomesAReplacementCharacterOnlyAtTheEnd() {
        try (HfTokenizer tokenizer = HfTokenizer.load(TestTokenizers.data("tokenizers/hf/gpt2"))) {
            int[] ids = tokenizer.encode("😀", false);
            assertThat(ids.length).isGreaterThan(1);
            IncrementalDecoder decoder = tokenizer.decoder(new int[0], true);
            for (int i = 0; i + 1 < ids.length; i++) {
                assertThat(decoder.append(ids[i])).isEmpty();
            }
            assertThat(decoder.finish()).isEqualTo("\uFFFD");
            assertThat(decoder.finish()).isEmpty();
        }
    }

    @Test
    void aCharacterBegunInThePromptIsFinishedInTheStream() {
        for (Path path : TestTokenizers.folders()) {
            try (HfTokenizer tokenizer = HfTokenizer.load(path)) {
                int[] ids = tokenizer.encode("x😀", false);
                IncrementalDecoder decoder = tokenizer.decoder(Arrays.copyOf(ids, ids.length - 1), true);
                assertThat(decoder.append(ids[ids.length - 1])).as(path.toString()).isEqualTo("😀");
            }
        }
    }

    @Test
    void theLeadingSpaceStaysAfterAPromptAndGoesWithoutOne() {
        HfTokenizer tokenizer = TestTokenizers.handWritten(folder, "BPE", LLAMA, 1, "▁Once", "▁upon", "▁", "<0x20>", "<s>");
        int bos = tokenizer.idOf("<s>");
        assertThat(stream(tokenizer, new int[0], true, 0, 1)).isEqualTo("Once upon");
        assertThat(stream(tokenizer, new int[] {0}, true, 1)).isEqualTo(" upon");
        assertThat(stream(tokenizer, new int[] {bos}, true, 0, 1)).as("a skipped bos is no text").isEqualTo("Once upon");
        assertThat(stream(tokenizer, new int[] {bos}, false, 0)).as("a shown bos is text").isEqualTo(" Once");
        assertThat(stream(tokenizer, new int[0], true, 2, 2, 0)).as("one space of several goes").isEqualTo("  Once");
        assertThat(stream(tokenizer, new int[0], true, 3, 0)).as("a space spelled as a byte").isEqualTo(" Once");
        tokenizer.close();
    }

    @Test
    void completeCharactersSurviveAMalformedByteRun() {
        HfTokenizer tokenizer = TestTokenizers.handWritten(folder, "BPE", LLAMA, 0, "<0xC3>", "<0xA9>", "<0xF0>", "a");
        assertThat(tokenizer.decode(new int[] {0, 1, 2, 3}, true)).isEqualTo("é\uFFFDa");
        assertThat(tokenizer.decode(new int[] {2, 0, 1, 1}, true)).isEqualTo("\uFFFDé\uFFFD");
        assertThat(tokenizer.decode(new int[] {0, 2}, true)).as("as the Rust library where no character is complete")
                .isEqualTo(tokenizer.decodeNatively(new int[] {0, 2}, true)).isEqualTo("\uFFFD\uFFFD");
        tokenizer.close();
    }

    @Test
    void metaspaceDropsItsMarkOnlyOnTheFirstToken() {
        for (String scheme : List.of("always", "first", "never")) {
            HfTokenizer tokenizer = TestTokenizers.handWritten(folder, "BPE",
                    "{\"type\":\"Metaspace\",\"replacement\":\"▁\",\"prepend_scheme\":\"" + scheme + "\",\"split\":true}", 1, "▁a", "b▁", "▁", "</s>");
            Random random = new Random(3);
            for (int round = 0; round < 500; round++) {
                int[] ids = random.ints(random.nextInt(8), 0, 4).toArray();
                boolean skip = random.nextBoolean();
                assertThat(tokenizer.decode(ids, skip)).isEqualTo(tokenizer.decodeNatively(ids, skip));
                assertStreamsAsWhole(tokenizer, ids, random.nextInt(ids.length + 1), skip);
            }
            tokenizer.close();
        }
    }

    @Test
    void decodersKnownOnlyNativelyStreamOverAWindow() {
        HfTokenizer tokenizer = TestTokenizers.handWritten(folder, "WordPiece", "{\"type\":\"WordPiece\",\"prefix\":\"##\",\"cleanup\":false}", 1,
                "[UNK]", "play", "##ing", "##s", "the", "é", "[SEP]");
        Random random = new Random(5);
        for (int round = 0; round < 500; round++) {
            int[] ids = random.ints(1 + random.nextInt(30), 0, 6).toArray();
            int split = random.nextInt(ids.length);
            String whole = tokenizer.decode(ids, true);
            String prompt = tokenizer.decode(Arrays.copyOf(ids, split), true);
            assertThat(prompt + stream(tokenizer, Arrays.copyOf(ids, split), true, Arrays.copyOfRange(ids, split, ids.length))).isEqualTo(whole);
        }
        tokenizer.close();
    }

    @Test
    void aTokenCostsUnderAMicrosecond() {
        for (Path path : TestTokenizers.folders()) {
            try (HfTokenizer tokenizer = HfTokenizer.load(path)) {
                int[] ids = tokenizer.encode(TEXT.repeat(20), false);
                double best = Double.MAX_VALUE;
                for (int round = 0; round < 30; round++) {
                    IncrementalDecoder decoder = tokenizer.decoder(new int[] {ids[0]}, true);
                    long length = 0;
                    long begin = System.nanoTime();
                    for (int repeat = 0; repeat < 10; repeat++) {
                        for (int id : ids) {
                            length += decoder.append(id).length();
                        }
                    }
                    best = Math.min(best, (System.nanoTime() - begin) / (10.0 * ids.length));
                    assertThat(length).isPositive();
                }
                System.out.printf("%-10s incremental decode: %.0f ns per token%n", path.getFileName(), best);
                assertThat(best).isLessThan(1000);
            }
        }
    }

    private static String stream(HfTokenizer tokenizer, int[] prompt, boolean skip, int... ids) {
        IncrementalDecoder decoder = tokenizer.decoder(prompt, skip);
        StringBuilder text = new StringBuilder();
        for (int id : ids) {
            String part = decoder.append(id);
            assertThat(part.isEmpty() || !Character.isHighSurrogate(part.charAt(part.length() - 1))).isTrue();
            text.append(part);
        }
        return text.append(decoder.finish()).toString();
    }

    /** A character that the prompt leaves open belongs to the stream, so the prompt's share is what it shows before it ends. */
    private static void assertStreamsAsWhole(HfTokenizer tokenizer, int[] ids, int split, boolean skip) {
        IncrementalDecoder promptDecoder = tokenizer.decoder(new int[0], skip);
        StringBuilder promptText = new StringBuilder();
        for (int i = 0; i < split; i++) {
            promptText.append(promptDecoder.append(ids[i]));
        }
        String streamed = stream(tokenizer, Arrays.copyOf(ids, split), skip, Arrays.copyOfRange(ids, split, ids.length));
        assertThat(promptText + streamed).as(() -> Arrays.toString(ids) + " split at " + split).isEqualTo(tokenizer.decode(ids, skip));
    }

    private static int[] randomIds(HfTokenizer tokenizer, Random random, int length) {
        int[] ids = new int[length];
        for (int i = 0; i < length; i++) {
            // Low ids are where bytes and specials live; gaps and unknown ids must be harmless too.
            ids[i] = random.nextBoolean() ? random.nextInt(300) : random.nextInt(tokenizer.vocabSize() + 3);
        }
        return ids;
    }

    private static String randomText(Random random) {
        StringBuilder text = new StringBuilder();
        for (int i = random.nextInt(12); i > 0; i--) {
            switch (random.nextInt(4)) {
                case 0 -> text.appendCodePoint('a' + random.nextInt(26));
                case 1 -> text.append(' ');
                case 2 -> text.appendCodePoint(0xA0 + random.nextInt(0x2000));
                default -> text.appendCodePoint(0x1F300 + random.nextInt(0x300));
            }
        }
        return text.toString();
    }
}
