package io.millrace.server.openai.output;

import java.util.List;

/**
 * Splits what a model thinks aloud, between {@code open} and {@code close}, from its answer, which goes on to {@code answer}. Thinking comes
 * first or not at all.
 */
final class ReasoningParser extends OutputParser {
    private enum At { START, REASONING, AFTER, ANSWER }

    private final List<String> open;
    private final List<String> close;
    private final OutputParser answer;
    private At at;
    private boolean anyReasoning;

    /** @param opened whether the prompt has the opening already */
    ReasoningParser(String open, String close, boolean opened, OutputParser answer) {
        this.open = List.of(open);
        this.close = List.of(close);
        this.answer = answer;
        this.at = opened ? At.REASONING : At.START;
    }

    @Override
    boolean step(OutputSink sink) {
        return switch (at) {
            case START -> start();
            case REASONING -> reasoning(sink);
            case AFTER -> after();
            case ANSWER -> {
                answer.append(take(in.length()), sink);
                yield false;
            }
        };
    }

    private boolean start() {
        int i = leadingSpace();
        if (i == in.length()) {
            return false;
        }
        String text = in.substring(i);
        String opening = open.getFirst();
        if (text.startsWith(opening)) {
            in.delete(0, i + opening.length());
            at = At.REASONING;
        } else if (opening.startsWith(text)) {
            return false;
        } else {
            at = At.ANSWER;
        }
        return true;
    }

    private boolean reasoning(OutputSink sink) {
        if (!anyReasoning) {
            in.delete(0, leadingSpace());
        }
        int end = indexOf(close);
        String text = takeTrimmed(end >= 0 ? end : certain(close));
        if (!text.isEmpty()) {
            anyReasoning = true;
            sink.reasoning(text);
        }
        if (end >= 0) {
            takeSpace();
            in.delete(0, close.getFirst().length());
            at = At.AFTER;
        }
        return end >= 0;
    }

    private boolean after() {
        in.delete(0, leadingSpace());
        if (in.isEmpty()) {
            return false;
        }
        at = At.ANSWER;
        return true;
    }

    @Override
    public void finish(OutputSink sink) {
        if (at == At.START && !in.isEmpty()) {
            answer.append(take(in.length()), sink);
        } else if (at == At.REASONING && !in.isEmpty()) {
            String rest = takeTrimmed(in.length());
            if (!rest.isEmpty()) {
                sink.reasoning(rest);
            }
        }
        answer.finish(sink);
    }
}
