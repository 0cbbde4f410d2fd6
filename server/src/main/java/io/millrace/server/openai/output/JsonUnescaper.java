package io.millrace.server.openai.output;

/** Undoes the escapes of a JSON string, character by character. What is no escape of JSON is left as it stands. */
final class JsonUnescaper {
    private boolean escaped;
    private int hexDigits = -1;
    private int hex;

    void reset() {
        escaped = false;
        hexDigits = -1;
    }

    /** @param c of the string, without its quotes */
    void next(char c, StringBuilder out) {
        if (hexDigits >= 0) {
            int digit = Character.digit(c, 16);
            hex = hex << 4 | Math.max(digit, 0);
            if (++hexDigits == 4) {
                out.append((char) hex);
                hexDigits = -1;
            }
        } else if (escaped) {
            escaped = false;
            switch (c) {
                case 'n' -> out.append('\n');
                case 't' -> out.append('\t');
                case 'r' -> out.append('\r');
                case 'b' -> out.append('\b');
                case 'f' -> out.append('\f');
                case 'u' -> {
                    hexDigits = 0;
                    hex = 0;
                }
                default -> out.append(c);
            }
        } else if (c == '\\') {
            escaped = true;
        } else {
            out.append(c);
        }
    }
}
