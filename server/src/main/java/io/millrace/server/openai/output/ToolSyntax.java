package io.millrace.server.openai.output;

import java.util.List;
import java.util.stream.Stream;

/**
 * How a family of models writes calls: {@code content BEGIN call SEPARATOR call END content}, a call being a JSON object, or one of an array, or
 * {@code header HEADER_END arguments}.
 *
 * @param begins     each of them begins calls; what precedes the first is content
 * @param between    what may lie between calls and after the last and says nothing: separators, ends, fences. White space may too
 * @param bare       a text whose first character is a bracket is calls without a beginning, if it names a tool of the request
 * @param headerEnds between a header, which has the name, and the arguments; empty = calls are JSON objects
 * @param header     how a header is read
 */
record ToolSyntax(List<String> begins, List<String> between, boolean bare, List<String> headerEnds, Header header) {
    record Named(String id, String name) {}

    /** Reads what stands between the beginning of a call and the end of its header. */
    interface Header {
        Named read(String header);
    }

    static ToolSyntax json(List<String> begins, List<String> ends, boolean bare) {
        return new ToolSyntax(begins, ends, bare, List.of(), null);
    }

    /** All that a tokenizer might have as a special token, whose text must not be lost. */
    List<String> markers() {
        return Stream.of(begins, between, headerEnds).flatMap(List::stream).map(String::strip).toList();
    }
}
