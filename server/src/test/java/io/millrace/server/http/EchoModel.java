package io.millrace.server.http;

import io.millrace.engine.FakeEngine;
import io.millrace.engine.Sequence;
import io.millrace.server.openai.ByteTokenizer;
import java.util.Arrays;

/**
 * A model that says what the first line of its prompt says after "user: ", and stops; so tests write their model's output into the request. After the
 * result of a tool it says "So it is: " and the result.
 */
final class EchoModel implements FakeEngine.NextToken {
    private static final String TOOL = "\ntool: ";

    @Override
    public int next(Sequence sequence, long hash) {
        int[] prompt = Arrays.copyOf(sequence.tokenIds(), sequence.numPromptTokens());
        String text = new ByteTokenizer().decode(prompt, true);
        int tool = text.lastIndexOf(TOOL);
        String line = tool >= 0 ? text.substring(tool + TOOL.length()) : text.substring(text.indexOf("user: ") + "user: ".length());
        String say = (tool >= 0 ? "So it is: " : "") + line.lines().findFirst().orElse("");
        int said = sequence.numOutputTokens();
        return said < say.length() ? ByteTokenizer.id(say.charAt(said)) : ByteTokenizer.EOS;
    }
}
