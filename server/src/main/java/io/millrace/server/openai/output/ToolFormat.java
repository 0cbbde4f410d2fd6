package io.millrace.server.openai.output;

import com.fasterxml.jackson.databind.JsonNode;
import java.util.Arrays;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.stream.Stream;

/**
 * The notations in which models call tools, under the names that vLLM's {@code --tool-call-parser} has for them where it has one. A model's
 * chat template shows which one it was trained on.
 */
public enum ToolFormat {
    /** {@code <tool_call>{"name": "f", "arguments": {}}</tool_call>}: Hermes 2 and 3, Qwen 2.5 and 3. */
    HERMES(ToolSyntax.json(List.of("<tool_call>"), List.of("</tool_call>"), false)),
    /** The text is {@code {"name": "f", "parameters": {}}}, maybe after {@code <|python_tag|>}, several separated by {@code ;}: Llama 3.1 to 3.3. */
    LLAMA3_JSON(ToolSyntax.json(List.of("<|python_tag|>"), List.of(), true)),
    /** {@code [TOOL_CALLS][{"name": "f", "arguments": {}}]}, and {@code [TOOL_CALLS]f[CALL_ID]id[ARGS]{}} since 2025. */
    MISTRAL(new ToolSyntax(List.of("[TOOL_CALLS]"), List.of(), false, List.of("[ARGS]"), ToolFormat::mistralHeader)),
    /** {@code <|tool_call|>[{"name": "f", "arguments": {}}]}, in some versions {@code <tool_call>}: Granite 3. */
    GRANITE(ToolSyntax.json(List.of("<|tool_call|>", "<tool_call>"), List.of("</tool_call>"), false)),
    /** {@code <|tool_call|>[...]<|/tool_call|>} or {@code functools[...]}: Phi-4 mini. */
    PHI4_MINI_JSON(ToolSyntax.json(List.of("<|tool_call|>", "functools"), List.of("<|/tool_call|>"), false)),
    /** {@code <|tool_call_begin|>functions.f:0<|tool_call_argument_begin|>{}<|tool_call_end|>} within a section: Kimi K2. */
    KIMI_K2(new ToolSyntax(List.of("<|tool_calls_section_begin|>", "<|tool_call_begin|>"), List.of("<|tool_call_end|>", "<|tool_calls_section_end|>"),
            false, List.of("<|tool_call_argument_begin|>"), ToolFormat::kimiHeader)),
    /** {@code <｜tool▁call▁begin｜>function<｜tool▁sep｜>f\n```json\n{}\n```<｜tool▁call▁end｜>} within a section: DeepSeek V3, R1. */
    DEEPSEEK_V3(new ToolSyntax(List.of("<｜tool▁calls▁begin｜>", "<｜tool▁call▁begin｜>"),
            List.of("```", "<｜tool▁call▁end｜>", "<｜tool▁calls▁end｜>"), false, List.of("\n```json"), ToolFormat::deepseekHeader)),
    /** {@code <｜tool▁call▁begin｜>f<｜tool▁sep｜>{}<｜tool▁call▁end｜>} within a section: DeepSeek V3.1. */
    DEEPSEEK_V31(new ToolSyntax(List.of("<｜tool▁calls▁begin｜>", "<｜tool▁call▁begin｜>"), List.of("<｜tool▁call▁end｜>", "<｜tool▁calls▁end｜>"),
            false, List.of("<｜tool▁sep｜>"), header -> new ToolSyntax.Named(null, header))),
    /** {@code <tool_call><function=f><parameter=k>v</parameter></function></tool_call>}: Qwen3-Coder. */
    QWEN3_CODER(null),
    /** The text is a JSON object with {@code name} and {@code arguments} or {@code parameters}, or an array of them: for models trained on none. */
    JSON(ToolSyntax.json(List.of("<tool_call>"), List.of("</tool_call>"), true));

    private static final String DEEPSEEK_SEPARATOR = "<｜tool▁sep｜>";
    private static final String MISTRAL_ID = "[CALL_ID]";

    private final ToolSyntax syntax;

    ToolFormat(ToolSyntax syntax) {
        this.syntax = syntax;
    }

    private static ToolSyntax.Named mistralHeader(String header) {
        int at = header.indexOf(MISTRAL_ID);
        return at < 0 ? new ToolSyntax.Named(null, header)
                : new ToolSyntax.Named(header.substring(at + MISTRAL_ID.length()).strip(), header.substring(0, at).strip());
    }

    private static ToolSyntax.Named kimiHeader(String header) {
        String name = header.substring(header.indexOf('.') + 1);
        int number = name.lastIndexOf(':');
        return new ToolSyntax.Named(header, number < 0 ? name : name.substring(0, number));
    }

    private static ToolSyntax.Named deepseekHeader(String header) {
        int at = header.indexOf(DEEPSEEK_SEPARATOR);
        return new ToolSyntax.Named(null, at < 0 ? header : header.substring(at + DEEPSEEK_SEPARATOR.length()).strip());
    }

    /** As the command line has it. */
    public String flag() {
        return name().toLowerCase(Locale.ROOT);
    }

    public static Optional<ToolFormat> ofFlag(String flag) {
        return Arrays.stream(values()).filter(format -> format.flag().equals(flag)).findFirst();
    }

    /** The notation that a chat template writes the calls of earlier turns in. */
    public static ToolFormat ofTemplate(String source) {
        if (source.contains("<function=")) {
            return QWEN3_CODER;
        }
        if (source.contains("<｜tool▁call▁begin｜>")) {
            return source.contains("```json") ? DEEPSEEK_V3 : DEEPSEEK_V31;
        }
        if (source.contains("<|tool_call_begin|>")) {
            return KIMI_K2;
        }
        if (source.contains("[TOOL_CALLS]")) {
            return MISTRAL;
        }
        if (source.contains("<|/tool_call|>") || source.contains("functools") || source.contains("<|/tool|>")) {
            return PHI4_MINI_JSON;
        }
        if (source.contains("<|tool_call|>")) {
            return GRANITE;
        }
        if (source.contains("<tool_call>")) {
            return HERMES;
        }
        return source.contains("<|python_tag|>") || source.contains("ipython") ? LLAMA3_JSON : JSON;
    }

    /** Texts that may be special tokens of the model and yet belong to its calls. */
    public List<String> markers() {
        return switch (this) {
            case QWEN3_CODER -> XmlToolCallParser.MARKERS;
            case MISTRAL -> plus(MISTRAL_ID);
            case DEEPSEEK_V3 -> plus(DEEPSEEK_SEPARATOR);
            default -> syntax.markers();
        };
    }

    private List<String> plus(String inHeader) {
        return Stream.concat(syntax.markers().stream(), Stream.of(inHeader)).toList();
    }

    /** @param schemas the request's tools: by name, the JSON schema of their arguments */
    public OutputParser parser(Map<String, JsonNode> schemas) {
        return this == QWEN3_CODER ? new XmlToolCallParser(schemas) : new ToolCallParser(syntax, schemas::containsKey);
    }
}
