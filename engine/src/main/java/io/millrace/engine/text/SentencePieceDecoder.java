package io.millrace.engine.text;

/**
 * Streams the text of SentencePiece conversions (Llama 2, Mistral, Gemma, Phi-3): pieces with {@code ▁} for space, single bytes as
 * {@code <0xNN>}, and leading space dropped once at the start of the whole text, prompt included.
 *
 * <p>Malformed bytes become one U+FFFD each. Hugging Face's decoder goes further: one malformed byte turns every byte of its run into
 * U+FFFD, complete characters too. A stream that has shown a character cannot take it back, and waiting for the end of the run would hold
 * back whole sentences of scripts that such vocabularies spell in bytes, so complete characters stay, here and in {@link Tokenizer#decode}.
 */
final class SentencePieceDecoder implements IncrementalDecoder {
    private final TokenTexts.SentencePiece texts;
    private final TokenizerFile file;
    private final DecoderSpec.SentencePiece spec;
    private final boolean skipSpecialTokens;
    private final Utf8Assembler assembler = new Utf8Assembler();
    private boolean isFirstToken = true;
    private int numStrippable;

    SentencePieceDecoder(TokenTexts.SentencePiece texts, TokenizerFile file, DecoderSpec.SentencePiece spec, int[] promptIds,
                         boolean skipSpecialTokens) {
        this.texts = texts;
        this.file = file;
        this.spec = spec;
        this.skipSpecialTokens = skipSpecialTokens;
        this.numStrippable = spec.maxStripped();
        skipPrompt(promptIds);
    }

    /** Runs over the prompt's start until the leading space is settled, then over the character that its end may leave open. */
    private void skipPrompt(int[] promptIds) {
        int i = 0;
        while (i < promptIds.length && (isFirstToken || numStrippable > 0)) {
            append(promptIds[i++]);
        }
        int resume = promptIds.length;
        while (resume > i) {
            int id = promptIds[--resume];
            boolean closes = !texts.isSkipped(id, skipSpecialTokens) && file.piece(id) != null
                    && (texts.text(id) != null || !Utf8Assembler.isContinuation(texts.bytes(id)[0]));
            if (closes) {
                assembler.reset();
                break;
            }
        }
        while (resume < promptIds.length) {
            append(promptIds[resume++]);
        }
    }

    @Override
    public String append(int tokenId) {
        if (texts.isSkipped(tokenId, skipSpecialTokens) || file.piece(tokenId) == null) {
            return "";
        }
        String text = texts.text(tokenId);
        if (text == null) {
            isFirstToken = false;
            return stripped(appendByte(texts.bytes(tokenId)[0]));
        }
        if (isFirstToken) {
            isFirstToken = false;
            text = texts.openingText(tokenId, text, file);
        }
        return stripped(assembler.numPending() == 0 ? text : finishCharacter() + text);
    }

    private String appendByte(byte b) {
        int numPending = assembler.numPending();
        int codePoint = assembler.feed(b);
        if (codePoint >= 0) {
            return Character.toString(codePoint);
        }
        return switch (codePoint) {
            case Utf8Assembler.MALFORMED_BYTE -> "\uFFFD";
            case Utf8Assembler.MALFORMED_PREFIX -> "\uFFFD".repeat(numPending) + appendByte(b);
            default -> "";
        };
    }

    private String stripped(String text) {
        if (numStrippable == 0 || text.isEmpty()) {
            return text;
        }
        int begin = 0;
        while (begin < text.length() && begin < numStrippable && text.charAt(begin) == spec.strip()) {
            begin++;
        }
        numStrippable = begin < text.length() ? 0 : numStrippable - begin;
        return text.substring(begin);
    }

    private String finishCharacter() {
        String text = "\uFFFD".repeat(assembler.numPending());
        assembler.reset();
        return text;
    }

    @Override
    public String finish() {
        return stripped(finishCharacter());
    }
}
