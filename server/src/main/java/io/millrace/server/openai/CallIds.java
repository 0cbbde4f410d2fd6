package io.millrace.server.openai;

import io.millrace.server.openai.output.ToolFormat;
import java.util.concurrent.ThreadLocalRandom;

/** Names for calls that the model gave none. */
final class CallIds {
    private CallIds() {}

    /** Mistral's chat templates refuse ids of any other form than nine letters and digits. */
    static String next(ToolFormat format) {
        return format == ToolFormat.MISTRAL ? random(9) : "call_" + random(24);
    }

    static String random(int length) {
        ThreadLocalRandom random = ThreadLocalRandom.current();
        StringBuilder id = new StringBuilder(length);
        for (int i = 0; i < length; i++) {
            id.append(Character.forDigit(random.nextInt(36), 36));
        }
        return id.toString();
    }
}
