package io.millrace.server.openai;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.millrace.engine.text.ChatTemplate;
import io.millrace.engine.text.ChatTemplateException;
import io.millrace.engine.text.ChatTemplates;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.api.Test;

/** Guards that a conversation with calls and results renders with templates of every ability, each seeing the most it understands. */
class TemplateFitTest {
    private static List<Map<String, Object>> conversation() {
        Map<String, Object> function = new LinkedHashMap<>(Map.of("name", "f", "arguments", new LinkedHashMap<>(Map.of("a", 1))));
        Map<String, Object> call = new LinkedHashMap<>(Map.of("id", "c1", "function", function));
        List<Map<String, Object>> messages = new ArrayList<>();
        messages.add(new LinkedHashMap<>(Map.of("role", "user", "content", "U")));
        messages.add(new LinkedHashMap<>(Map.of("role", "assistant", "tool_calls", new ArrayList<>(List.of(call)))));
        messages.add(new LinkedHashMap<>(Map.of("role", "tool", "tool_call_id", "c1", "content", "R")));
        return messages;
    }

    private static String render(String source) {
        ChatTemplate template = ChatTemplates.compile(source, Map.of());
        return TemplateFit.render(template, conversation(), Tools.NONE, false, Map.of());
    }

    @ParameterizedTest
    @CsvSource(delimiter = '#', quoteCharacter = '~', textBlock = """
            {% for m in messages %}{{ m.content or m.tool_calls[0].function.arguments.a }};{% endfor %} # U;1;R;
            {% for m in messages %}{{ m.content + '' }}{% for c in m.tool_calls or [] %}{{ c.function.arguments.a + 1 }}{% endfor %};{% endfor %} # U;2;R;
            {% for m in messages %}{% for c in m.tool_calls or [] %}{{ c.function.name + c.function.arguments }}{% endfor %};{% endfor %} # ;f{"a":1};;
            {% for m in messages %}{% if m.role == 'tool' %}{{ raise_exception('no tools') }}{% endif %}{{ m.role[0] + m.content }};{% endfor %} # uU;a{"name": "f", "arguments": {"a":1}};u{"name":"f","result":"R"};
            """)
    void theFirstFormThatRendersIsTaken(String source, String expected) {
        assertThat(render(source)).isEqualTo(expected);
    }

    /** Property: where no form will do, the client hears what the template said to the messages as they were. */
    @Test
    void theFirstRefusalIsTheOneThatIsTold() {
        assertThatThrownBy(() -> render("{% if messages[1].content is none or not messages[1].content %}{{ raise_exception('first ' ~ (messages[1].content is none)) }}"
                + "{% endif %}{{ raise_exception('later') }}")).isInstanceOf(ChatTemplateException.class).hasMessageContaining("first");
    }
}
