package io.millrace.engine.text;

/** Streams the text of byte-level vocabularies (GPT-2, Llama 3, Qwen): every token is bytes, decoded as one lossy UTF-8 stream. */
final class ByteLevelDecoder implements IncrementalDecoder {
    private final TokenTexts texts;
    private final boolean skipSpecialTokens;
    private final Utf8Assembler assembler = new Utf8Assembler();

    ByteLevelDecoder(TokenTexts texts, int[] promptIds, boolean skipSpecialTokens) {
        this.texts = texts;
        this.skipSpecialTokens = skipSpecialTokens;
        // Only a character left open at the prompt's end matters here, and no character reaches back over a byte that starts one.
        for (int i = startOfLastCharacter(promptIds); i < promptIds.length; i++) {
            append(promptIds[i]);
        }
    }

    private int startOfLastCharacter(int[] promptIds) {
        int i = promptIds.length - 1;
        for (; i > 0; i--) {
            byte[] bytes = texts.isSkipped(promptIds[i], skipSpecialTokens) ? new byte[0] : texts.bytes(promptIds[i]);
            if (bytes.length > 0 && !Utf8Assembler.isContinuation(bytes[0])) {
                return i;
            }
        }
        return Math.max(i, 0);
    }

    @Override
    public String append(int tokenId) {
        if (texts.isSkipped(tokenId, skipSpecialTokens)) {
            return "";
        }
        String text = texts.text(tokenId);
        if (text != null && (assembler.numPending() == 0 || text.isEmpty())) {
            return text;
        }
        byte[] bytes = texts.bytes(tokenId);
        StringBuilder out = new StringBuilder(bytes.length);
        for (byte b : bytes) {
            int codePoint = assembler.feed(b);
            if (codePoint == Utf8Assembler.MALFORMED_PREFIX) {
                out.append('\uFFFD');
                codePoint = assembler.feed(b);
            }
            if (codePoint >= 0) {
                out.appendCodePoint(codePoint);
            } else if (codePoint == Utf8Assembler.MALFORMED_BYTE) {
                out.append('\uFFFD');
            }
        }
        return out.toString();
    }

    @Override
    public String finish() {
        boolean open = assembler.numPending() > 0;
        assembler.reset();
        return open ? "\uFFFD" : "";
    }
}
