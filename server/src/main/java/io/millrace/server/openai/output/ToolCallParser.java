package io.millrace.server.openai.output;

import java.util.List;
import java.util.function.Predicate;
import java.util.stream.Stream;

/** Finds calls in a text by their {@link ToolSyntax}. What looks like one at first and is none is given back as content. */
final class ToolCallParser extends OutputParser {
    private enum At { START, CONTENT, CALLS, OBJECT, HEADER, BEFORE_ARGUMENTS, ARGUMENTS }

    private final ToolSyntax syntax;
    private final JsonCallScanner object;
    private final JsonValueScanner value = new JsonValueScanner();
    private final List<String> betweenCalls;
    /** Text since the beginning of calls that is content if no call follows. */
    private final StringBuilder unsure = new StringBuilder();
    /** Header and arguments of the call that is being read, where it is no object. */
    private final StringBuilder written = new StringBuilder();
    private boolean anyCall;
    private boolean bare;
    private At at;

    /** @param isTool whether the request has a tool of this name; asked only of calls that have no beginning */
    ToolCallParser(ToolSyntax syntax, Predicate<String> isTool) {
        this.syntax = syntax;
        this.object = new JsonCallScanner(name -> !bare || isTool.test(name));
        this.betweenCalls = Stream.of(syntax.begins(), syntax.between()).flatMap(List::stream).toList();
        this.at = syntax.bare() ? At.START : At.CONTENT;
    }

    @Override
    boolean step(OutputSink sink) {
        return switch (at) {
            case START -> start();
            case CONTENT -> content(sink);
            case CALLS -> calls(sink);
            case OBJECT -> object(sink);
            case HEADER -> header(sink);
            case BEFORE_ARGUMENTS -> beforeArguments(sink);
            case ARGUMENTS -> arguments(sink);
        };
    }

    private boolean start() {
        int i = leadingSpace();
        if (i == in.length()) {
            return false;
        }
        bare = in.charAt(i) == '{' || in.charAt(i) == '[' && syntax.begins().stream().noneMatch(begin -> begin.startsWith("["));
        at = bare ? At.CALLS : At.CONTENT;
        return true;
    }

    private boolean content(OutputSink sink) {
        int begin = indexOf(syntax.begins());
        // White space before a call is no content either.
        emit(takeTrimmed(begin >= 0 ? begin : certain(syntax.begins())), sink);
        if (begin >= 0) {
            unsure.setLength(0);
            unsure.append(takeSpace());
            at = At.CALLS;
            bare = false;
            anyCall = false;
        }
        return begin >= 0;
    }

    private boolean calls(OutputSink sink) {
        if (Character.isWhitespace(in.charAt(0))) {
            unsure.append(take(1));
            return true;
        }
        for (String literal : betweenCalls) {
            if (skip(literal)) {
                unsure.append(literal);
                return true;
            }
        }
        if (mayBecome(betweenCalls)) {
            return false;
        }
        char c = in.charAt(0);
        if (c == '{') {
            object.reset();
            at = At.OBJECT;
        } else if (c == '[' || anyCall && (c == ']' || c == ',' || c == ';')) {
            unsure.append(take(1));
        } else if (!syntax.headerEnds().isEmpty() && afterBegin()) {
            at = At.HEADER;
        } else {
            giveBack("", sink);
        }
        return true;
    }

    /** A header stands only directly after the beginning of a call. */
    private boolean afterBegin() {
        String text = unsure.toString().stripTrailing();
        return syntax.begins().stream().anyMatch(text::endsWith);
    }

    private boolean object(OutputSink sink) {
        for (int i = 0; i < in.length(); i++) {
            JsonCallScanner.Status status = object.next(in.charAt(i), sink);
            if (status == JsonCallScanner.Status.MORE) {
                continue;
            }
            // Whatever ends an object too early may begin a mark, so it is looked at again.
            in.delete(0, status == JsonCallScanner.Status.CALL ? i + 1 : i);
            if (status != JsonCallScanner.Status.NO_CALL) {
                callEnds(sink);
            } else {
                object.flush(sink);
                String raw = object.raw();
                breaks(raw.substring(0, raw.length() - 1), object.hasBegun(), sink);
            }
            return true;
        }
        in.setLength(0);
        object.flush(sink);
        return false;
    }

    private boolean header(OutputSink sink) {
        int end = indexOf(syntax.headerEnds());
        if (end < 0) {
            return false;
        }
        String header = take(end);
        written.setLength(0);
        written.append(header);
        for (String literal : syntax.headerEnds()) {
            if (skip(literal)) {
                written.append(literal);
                break;
            }
        }
        ToolSyntax.Named named = syntax.header().read(header.strip());
        sink.call(named.id(), named.name());
        value.reset();
        at = At.BEFORE_ARGUMENTS;
        return true;
    }

    private boolean beforeArguments(OutputSink sink) {
        if (Character.isWhitespace(in.charAt(0))) {
            written.append(take(1));
            return true;
        }
        if (in.charAt(0) == '<') {
            // The end of the call, or of the text, in the place of arguments.
            sink.arguments("{}");
            callEnds(sink);
            return true;
        }
        at = At.ARGUMENTS;
        return true;
    }

    private boolean arguments(OutputSink sink) {
        for (int i = 0; i < in.length(); i++) {
            JsonValueScanner.Where where = value.next(in.charAt(i));
            if (where != JsonValueScanner.Where.INSIDE) {
                arguments(take(where == JsonValueScanner.Where.LAST ? i + 1 : i), sink);
                callEnds(sink);
                return true;
            }
        }
        written.append(in);
        arguments(take(in.length()), sink);
        return false;
    }

    private static void arguments(String text, OutputSink sink) {
        if (!text.isEmpty()) {
            sink.arguments(text);
        }
    }

    private void callEnds(OutputSink sink) {
        sink.callEnds();
        anyCall = true;
        unsure.setLength(0);
        at = At.CALLS;
    }

    /** What was taken for an object of a call is none. */
    private void breaks(String raw, boolean begun, OutputSink sink) {
        if (begun) {
            sink.callBreaks(unsure + raw);
            unsure.setLength(0);
            anyCall = true;
            giveBack("", sink);
        } else {
            giveBack(raw, sink);
        }
    }

    /** What was taken for the beginning of calls is content. It is not looked at again. */
    private void giveBack(String more, OutputSink sink) {
        emit(anyCall ? more : unsure + more, sink);
        unsure.setLength(0);
        at = At.CONTENT;
        bare = false;
    }

    @Override
    public void finish(OutputSink sink) {
        switch (at) {
            case OBJECT -> breaks(object.raw(), object.hasBegun(), sink);
            case BEFORE_ARGUMENTS, ARGUMENTS -> breaks(written.toString(), true, sink);
            case CALLS, HEADER, START -> {
                if (!anyCall) {
                    giveBack("", sink);
                }
            }
            default -> { }
        }
        if (at == At.CONTENT) {
            emit(takeSpace() + take(in.length()), sink);
        }
    }
}
