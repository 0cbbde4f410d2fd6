package io.millrace.engine.text;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.millrace.engine.EngineException;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Guards: a model folder's template is found where models keep it, with the variables it expects. */
class ChatTemplatesTest {
    private static final List<Map<String, Object>> MESSAGES = List.of(Map.of("role", "user", "content", "Hi"));

    @TempDir
    Path folder;

    private String render(List<Map<String, Object>> tools) {
        return ChatTemplates.load(folder).orElseThrow().render(MESSAGES, tools, true, Map.of());
    }

    @Test
    void aFolderWithoutATemplateHasNone() throws IOException {
        assertThat(ChatTemplates.load(folder)).isEmpty();
        Files.writeString(folder.resolve("tokenizer_config.json"), "{\"bos_token\": \"<s>\"}");
        assertThat(ChatTemplates.load(folder)).isEmpty();
    }

    @Test
    void theConfigsTemplateSeesSpecialTokensAsStringsOrObjects() throws IOException {
        Files.writeString(folder.resolve("tokenizer_config.json"), """
                {"bos_token": "<s>", "eos_token": {"content": "</s>", "lstrip": false}, "pad_token": null,
                 "chat_template": "{{ bos_token }}{{ messages[0].content }}{{ eos_token }}{{ pad_token is defined }}{{ tools is none }}"}""");
        assertThat(render(null)).isEqualTo("<s>Hi</s>FalseTrue");
    }

    @Test
    void aTemplateFileWinsOverTheConfig() throws IOException {
        Files.writeString(folder.resolve("tokenizer_config.json"), "{\"bos_token\": \"<b>\", \"chat_template\": \"config\"}");
        Files.writeString(folder.resolve("chat_template.jinja"), "file {{ bos_token }}\n");
        assertThat(render(null)).isEqualTo("file <b>");
    }

    @Test
    void aNamedListGivesToolUseToRequestsWithTools() throws IOException {
        Files.writeString(folder.resolve("tokenizer_config.json"), """
                {"chat_template": [{"name": "default", "template": "plain"}, {"name": "tool_use", "template": "{{ tools|length }} tools"}]}""");
        assertThat(render(null)).isEqualTo("plain");
        assertThat(render(List.of())).isEqualTo("plain");
        assertThat(render(List.of(Map.of("type", "function")))).isEqualTo("1 tools");
    }

    @Test
    void brokenFilesAreRefusedWithCodeAndRemedy() throws IOException {
        Files.writeString(folder.resolve("tokenizer_config.json"), "{");
        assertThatThrownBy(() -> ChatTemplates.load(folder)).isInstanceOf(EngineException.class).hasMessageStartingWith("TPL-001");
        Files.writeString(folder.resolve("tokenizer_config.json"), "{\"chat_template\": \"{% if %}\"}");
        // The model can still serve completions; a chat request is told why it cannot be answered.
        assertThat(ChatTemplates.load(folder)).hasValueSatisfying(template -> assertThat(template).isInstanceOf(BrokenChatTemplate.class));
        assertThatThrownBy(() -> render(null)).isInstanceOf(ChatTemplateException.class).hasMessageStartingWith("TPL-002: ")
                .hasMessageContaining("does not compile").hasMessageContaining("mend it");
    }

    @Test
    void requestVariablesReachTheTemplateButCannotReplaceTheMessages() {
        ChatTemplate template = ChatTemplates.compile("{{ enable_thinking }} {{ messages|length }}", Map.of());
        assertThat(template.render(MESSAGES, null, false, Map.of("enable_thinking", false, "messages", List.of()))).isEqualTo("False 1");
    }

    @Test
    void aTemplatesOwnRefusalIsTheWholeMessage() {
        ChatTemplate template = ChatTemplates.compile("{{ raise_exception('Only one user, please') }}", Map.of());
        assertThatThrownBy(() -> template.render(MESSAGES, null, false, Map.of())).isInstanceOf(ChatTemplateException.class)
                .hasMessage("Only one user, please");
    }

    @Test
    void nullContentIsNone() {
        Map<String, Object> message = new java.util.HashMap<>(Map.of("role", "assistant"));
        message.put("content", null);
        assertThat(ChatTemplates.compile("{{ messages[0].content is none }}", Map.of()).render(List.of(message), null, false, Map.of()))
                .isEqualTo("True");
    }

    /** The caller's lists are shared between requests' threads and possibly immutable, whatever a template pops. */
    @Test
    void renderingLeavesTheMessagesAlone() {
        ChatTemplate template = ChatTemplates.compile("{{ messages.pop().content }}{{ messages|length }}", Map.of());
        assertThat(template.render(MESSAGES, null, false, Map.of())).isEqualTo("Hi0");
        assertThat(template.render(MESSAGES, null, false, Map.of())).isEqualTo("Hi0");
    }
}
