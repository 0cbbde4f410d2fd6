package io.millrace.server.openai.output;

import static org.assertj.core.api.Assertions.assertThat;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Random;
import org.junit.jupiter.api.Assumptions;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class ToolFormatTest {
    private static final ObjectMapper JSON = new ObjectMapper();
    private static final Map<String, JsonNode> TOOLS = new LinkedHashMap<>();

    static {
        try {
            TOOLS.put("f", JSON.readTree("{\"type\":\"object\",\"properties\":{\"a\":{\"type\":\"integer\"},\"s\":{\"type\":\"string\"},"
                    + "\"o\":{\"type\":[\"string\"]},\"q\":{\"anyOf\":[{\"type\":\"string\"},{\"type\":\"null\"}]},"
                    + "\"q2\":{\"$ref\":\"#/properties/q\"}}}"));
            TOOLS.put("g", JSON.readTree("{}"));
        } catch (IOException e) {
            throw new AssertionError(e);
        }
    }

    /** Property: every notation in use is understood, with content around it, several calls, and ids where the model gives them. */
    @ParameterizedTest
    @CsvSource(delimiter = '#', quoteCharacter = '~', textBlock = """
            HERMES # <tool_call>\\n{"name": "f", "arguments": {"a": 1}}\\n</tool_call> # call f {"a": 1}
            HERMES # Well.\\n\\n<tool_call>{"name": "f", "arguments": {"a": 1}}</tool_call>\\n<tool_call>\\n{"arguments": {}, "name": "g"}\\n</tool_call>\\nDone. # content "Well." | call f {"a": 1} | call g {} | content "Done."
            HERMES # <tool_call>{"name": "f", "arguments": "{\\"s\\": \\"x\\\\n\\"}"}</tool_call> # call f {"s": "x\\n"}
            HERMES # <tool_call>{"type": "function", "id": "c7", "function": {"name": "f", "arguments": {"s": "</tool_call>}{"}}, "n": 3}</tool_call> # call f(c7) {"s": "</tool_call>}{"}
            HERMES # <tool_call>{"name": "g"}</tool_call> # call g {}
            HERMES # <tool_call>{"name": "g", "arguments": null}</tool_call> # call g {}
            HERMES # <tool_call>{"name":"f","arguments":{"a":1}</tool_call> after # call f {"a":1} | content "after"
            HERMES # <tool_call>{"arguments":{"a":1},"name":"f","arguments":{"b":1}}</tool_call> # call f {"a":1}
            HERMES # <tool_call>{"name":"f","arguments":{"a":1} oh</tool_call> # broken f {"a":1} of <tool_call>{"name":"f","arguments":{"a":1}  | content "oh</tool_call>"
            HERMES # <tool_call><tool_call>{"name": "g"}</tool_call> # call g {}
            HERMES # a < b and <tool_calls> is no call # content "a < b and <tool_calls> is no call"
            HERMES # <tool_call> is a word I like # content "<tool_call> is a word I like"
            HERMES # <tool_call>{"colour": 1}</tool_call> # content "<tool_call>{"colour": 1}</tool_call>"
            LLAMA3_JSON # {"name": "f", "parameters": {"a": 1}} # call f {"a": 1}
            LLAMA3_JSON # <|python_tag|>{"name": "f", "parameters": {"a": 1}}; {"name": "g", "parameters": {}} # call f {"a": 1} | call g {}
            LLAMA3_JSON # {"type": "function", "name": "f", "parameters": {"a": 1}} # call f {"a": 1}
            LLAMA3_JSON # {"name": "Ann", "age": 5} # content "{"name": "Ann", "age": 5}"
            LLAMA3_JSON # The {"name": "f", "parameters": {}} of it # content "The {"name": "f", "parameters": {}} of it"
            LLAMA3_JSON # [1, 2] # content "[1, 2]"
            LLAMA3_JSON # <|python_tag|>print(1) # content "<|python_tag|>print(1)"
            MISTRAL # [TOOL_CALLS][{"name": "f", "arguments": {"a": 1}}, {"name": "g", "arguments": {}, "id": "abcdefghi"}] # call f {"a": 1} | call g {}
            MISTRAL # Hm [TOOL_CALLS]f[CALL_ID]abc123def[ARGS]{"a": 1}[TOOL_CALLS]g[ARGS]{} # content "Hm" | call f(abc123def) {"a": 1} | call g {}
            MISTRAL # [TOOL_CALLS] [{"name": "f", "arguments": {"a": [1, {"b": "]"}]}}] # call f {"a": [1, {"b": "]"}]}
            MISTRAL # an [array] of things # content "an [array] of things"
            GRANITE # <|tool_call|>[{"name": "f", "arguments": {"a": 1}}, {"name": "g", "arguments": {}}] # call f {"a": 1} | call g {}
            GRANITE # <tool_call>[{"name": "f", "arguments": {"a": 1}}] # call f {"a": 1}
            PHI4_MINI_JSON # <|tool_call|>[{"name": "f", "arguments": {"a": 1}}]<|/tool_call|> # call f {"a": 1}
            PHI4_MINI_JSON # functools[{"name": "f", "arguments": {"a": 1}}] # call f {"a": 1}
            PHI4_MINI_JSON # I like functools and itertools # content "I like functools and itertools"
            KIMI_K2 # So.<|tool_calls_section_begin|><|tool_call_begin|>functions.f:0<|tool_call_argument_begin|>{"a": 1}<|tool_call_end|><|tool_call_begin|>functions.g:1<|tool_call_argument_begin|>{}<|tool_call_end|><|tool_calls_section_end|> # content "So." | call f(functions.f:0) {"a": 1} | call g(functions.g:1) {}
            KIMI_K2 # <|tool_call_begin|>functions.g:1<|tool_call_argument_begin|><|tool_call_end|> # call g(functions.g:1) {}
            DEEPSEEK_V3 # <｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>f\\n```json\\n{"a": 1}\\n```<｜tool▁call▁end｜>\\n<｜tool▁call▁begin｜>function<｜tool▁sep｜>g\\n```json\\n{}\\n```<｜tool▁call▁end｜><｜tool▁calls▁end｜> # call f {"a": 1} | call g {}
            DEEPSEEK_V31 # <｜tool▁calls▁begin｜><｜tool▁call▁begin｜>f<｜tool▁sep｜>{"a": 1}<｜tool▁call▁end｜><｜tool▁call▁begin｜>g<｜tool▁sep｜>{}<｜tool▁call▁end｜><｜tool▁calls▁end｜> # call f {"a": 1} | call g {}
            QWEN3_CODER # Look:\\n<tool_call>\\n<function=f>\\n<parameter=a>\\n1\\n</parameter>\\n<parameter=s>\\n12\\n</parameter>\\n</function>\\n</tool_call>\\n<tool_call>\\n<function=g>\\n</function>\\n</tool_call> # content "Look:" | call f {"a": 1, "s": "12"} | call g {}
            QWEN3_CODER # <function=f><parameter=o>null</parameter><parameter=x>[1,2]</parameter><parameter=y>one "two"</parameter><parameter=z>True</parameter></function> # call f {"o": "null", "x": [1,2], "y": "one \\"two\\"", "z": true}
            QWEN3_CODER # I define <function=x in my code, where 1 > 0 # content "I define <function=x in my code, where 1 > 0"
            QWEN3_CODER # <function=f><parameter=q>10 Downing Street</parameter><parameter=q2>null</parameter><parameter=w>{"x":1} tail</parameter></function> # call f {"q": "10 Downing Street", "q2": null, "w": "{\\"x\\":1} tail"}
            JSON # [{"name": "f", "arguments": {"a": 1}}, {"name": "g", "parameters": {}}] # call f {"a": 1} | call g {}
            JSON # {"name": "f", "arguments": {"a": 1}} # call f {"a": 1}
            JSON # [{"name": "x"}] and so on # content "[{"name": "x"}] and so on"
            JSON # {"a": {"name": "f"}} # content "{"a": {"name": "f"}}"
            """)
    void callsOfEveryNotation(ToolFormat format, String text, String expected) {
        assertCutsDoNotMatter(format.parser(TOOLS).getClass().getSimpleName(), () -> format.parser(TOOLS), unescape(text), unescape(expected));
    }

    /** Property: an answer that ends in the midst of a call has no complete call, and what was no call yet is content. */
    @ParameterizedTest
    @CsvSource(delimiter = '#', quoteCharacter = '~', textBlock = """
            HERMES # <tool_call>{"name": "f", "arguments": {"a": # broken f {"a": of <tool_call>{"name": "f", "arguments": {"a":
            HERMES # <tool_call>{"name": "f # content "<tool_call>{"name": "f"
            HERMES # Well <tool_c # content "Well <tool_c"
            HERMES # <tool_call>{"name": "f", "arguments": {}}</tool_ # call f {}
            LLAMA3_JSON # {"name": # content "{"name":"
            KIMI_K2 # <|tool_calls_section_begin|><|tool_call_begin|>functions.f # content "<|tool_calls_section_begin|><|tool_call_begin|>functions.f"
            KIMI_K2 # <|tool_call_begin|>functions.f:0<|tool_call_argument_begin|>{"a" # broken f(functions.f:0) {"a" of <|tool_call_begin|>functions.f:0<|tool_call_argument_begin|>{"a"
            QWEN3_CODER # <tool_call>\\n<function=f>\\n<parameter=a>\\n1 # broken f  of <function=f>\\n<parameter=a>\\n1
            QWEN3_CODER # <tool_call>\\n<func # content "<tool_call>\\n<func"
            """)
    void cutOffCalls(ToolFormat format, String text, String expected) {
        assertCutsDoNotMatter(format.name(), () -> format.parser(TOOLS), unescape(text), unescape(expected));
    }

    /** Property: thinking is told from the answer, and calls are found after it; marks that come later are text. */
    @ParameterizedTest
    @CsvSource(delimiter = '#', quoteCharacter = '~', textBlock = """
            false # <think>\\nHm, a < b.\\n</think>\\n\\nYes. # reasoning "Hm, a < b." | content "Yes."
            true # Hm.</think>Yes. # reasoning "Hm." | content "Yes."
            true # Hm, no end # reasoning "Hm, no end"
            false # No <think>thoughts</think> here # content "No <think>thoughts</think> here"
            false # <think></think>Yes. # content "Yes."
            false # <think>x</think><tool_call>{"name": "f", "arguments": {}}</tool_call> # reasoning "x" | call f {}
            false # <thin # content "<thin"
            """)
    void reasoning(boolean opened, String text, String expected) {
        OutputFormat format = new OutputFormat(ToolFormat.HERMES, TOOLS, true, false, ReasoningFormat.THINK, opened);
        assertCutsDoNotMatter("reasoning", format::parser, unescape(text), unescape(expected));
    }

    /** Property: no text makes a parser lose a character of content, fail or keep state; hostile mixtures of all marks included. */
    @Test
    void anyTextIsSurvived() {
        String[] parts = {"<tool_call>", "</tool_call>", "{\"name\": \"f\"", ", \"arguments\": {", "}", "]", "[", "[TOOL_CALLS]", "[ARGS]", "<function=f>",
            "<parameter=a>", "</function>", "<｜tool▁call▁begin｜>", "<｜tool▁sep｜>", "\n```json\n", "\"", "\\", "text ", "<", " ", "\n", "<|tool_call|>", "functools"};
        Random random = new Random(5);
        for (int run = 0; run < 3000; run++) {
            StringBuilder text = new StringBuilder();
            for (int i = random.nextInt(12); i >= 0; i--) {
                text.append(parts[random.nextInt(parts.length)]);
            }
            ToolFormat format = ToolFormat.values()[random.nextInt(ToolFormat.values().length)];
            String whole = hear(format.parser(TOOLS), text.toString(), text.length());
            assertThat(hear(format.parser(TOOLS), text.toString(), 1)).as("%s: %s", format, text).isEqualTo(whole);
        }
    }

    /** Property: marks without calls, and white space without end, cost in proportion to their number. */
    @Test
    void manyMarksAreReadOnce() {
        for (String part : new String[] {"<tool_call>", "\n\n\n\n", "<tool_call>{\"name\": 1}"}) {
            long[] nanos = new long[2];
            for (int size : new int[] {2_000, 2_000, 20_000}) {
                OutputParser parser = ToolFormat.HERMES.parser(TOOLS);
                Heard heard = new Heard();
                java.lang.management.ThreadMXBean threads = java.lang.management.ManagementFactory.getThreadMXBean();
                long began = threads.getCurrentThreadCpuTime();
                for (int i = 0; i < size; i++) {
                    parser.append(part, heard);
                }
                parser.append("x", heard);
                parser.finish(heard);
                nanos[size > 2_000 ? 1 : 0] = threads.getCurrentThreadCpuTime() - began;
                assertThat(heard.toString()).isEqualTo("content \"" + part.repeat(size) + "x\"");
            }
            assertThat(nanos[1]).as("%s: ten times as many took %d and %d ns", part, nanos[0], nanos[1]).isLessThan(2_000_000_000L);
        }
    }

    /** Property: the notation follows from the template that the model comes with. */
    @ParameterizedTest
    @CsvSource({"Qwen-Qwen2.5-7B-Instruct, HERMES", "Qwen-Qwen3-0.6B, HERMES", "Qwen3-Coder, QWEN3_CODER", "HuggingFaceTB-SmolLM3-3B, JSON",
        "NousResearch-Hermes-2-Pro-Llama-3-8B-tool_use, HERMES", "meta-llama-Llama-3.1-8B-Instruct, LLAMA3_JSON",
        "meta-llama-Llama-3.2-3B-Instruct, LLAMA3_JSON", "mistralai-Mistral-Nemo-Instruct-2407, MISTRAL", "Mistral-Small-3.2-24B-Instruct-2506, MISTRAL",
        "ibm-granite-granite-3.3-2B-Instruct, GRANITE", "ortx-phi-4-mini, PHI4_MINI_JSON", "Kimi-K2-Instruct, KIMI_K2",
        "deepseek-ai-DeepSeek-R1-Distill-Llama-8B, DEEPSEEK_V3", "google-gemma-2-2b-it, JSON"})
    void templatesShowTheirNotation(String template, ToolFormat expected) throws IOException {
        String data = System.getProperty("millrace.data", "../../shared/data");
        Path file = Path.of(data, "templates", "jinja", template + ".jinja");
        Assumptions.assumeTrue(Files.exists(file), () -> "no test data: " + file);
        assertThat(ToolFormat.ofTemplate(Files.readString(file))).isEqualTo(expected);
    }

    private static void assertCutsDoNotMatter(String what, java.util.function.Supplier<OutputParser> parser, String text, String expected) {
        assertThat(hear(parser.get(), text, text.length())).as("%s, whole", what).isEqualTo(expected.strip());
        for (int size = 1; size <= 7; size++) {
            assertThat(hear(parser.get(), text, size)).as("%s, in pieces of %d", what, size).isEqualTo(expected.strip());
        }
    }

    private static String hear(OutputParser parser, String text, int size) {
        Heard heard = new Heard();
        for (int i = 0; i < text.length(); i += Math.max(size, 1)) {
            parser.append(text.substring(i, Math.min(text.length(), i + size)), heard);
        }
        parser.finish(heard);
        return heard.toString().strip();
    }

    private static String unescape(String text) {
        return text.replace("\\n", "\n").replace("\\\n", "\\n");
    }
}
