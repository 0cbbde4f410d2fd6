package io.millrace.server.anthropic;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import io.millrace.server.openai.Answer;
import io.millrace.server.openai.Generation;
import io.millrace.server.openai.JsonBuffer;
import io.millrace.server.openai.SingleAnswer;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;

/** An answer as one message object. */
public final class WholeMessage extends SingleAnswer implements Answer.Whole {
    private static final ObjectMapper JSON = new ObjectMapper();

    private record Block(String type, String id, String name, StringBuilder text) {}

    private final List<Block> blocks = new ArrayList<>();
    private Block call;
    private String broken;
    private String reason;
    private String stopString;

    public WholeMessage(Generation generation) {
        super(generation);
    }

    @Override
    public void await() {
        advanceToTheEnd();
    }

    @Override
    protected void begins() {}

    @Override
    public void content(String text) {
        if (broken != null) {
            add("text", broken);
            broken = null;
        }
        add("text", text);
    }

    @Override
    public void reasoning(String text) {
        add("thinking", text);
    }

    private void add(String type, String text) {
        if (blocks.isEmpty() || !blocks.getLast().type.equals(type)) {
            blocks.add(new Block(type, null, null, new StringBuilder()));
        }
        blocks.getLast().text.append(text);
    }

    @Override
    public void call(String id, String name) {
        call = new Block("tool_use", id == null ? newCallId("toolu_") : id, name, new StringBuilder());
    }

    @Override
    public void arguments(String json) {
        call.text.append(json);
    }

    /** Input is an object in this protocol: a call whose arguments are none is text. */
    @Override
    public void callEnds() {
        try {
            JsonNode input = JSON.readTree(call.text.toString());
            if (input != null && input.isObject()) {
                call.text.setLength(0);
                call.text.append(input);
                blocks.add(call);
                called();
                return;
            }
        } catch (JsonProcessingException e) {
            // as below
        }
        add("text", call.name + call.text);
    }

    @Override
    public void callBreaks(String raw) {
        broken = raw;
    }

    @Override
    protected void ends(String endReason, String endString) {
        reason = endReason;
        stopString = endString;
        if (broken != null && !endReason.equals("length")) {
            add("text", broken); // nothing of a text that is complete may be lost
        }
    }

    @Override
    public JsonBuffer toJson() {
        JsonBuffer json = new JsonBuffer(1024);
        json.raw("{\"id\":").string(newCallId("msg_")).raw(",\"type\":\"message\",\"role\":\"assistant\",\"model\":").string(model())
                .raw(",\"content\":[");
        for (int i = 0; i < blocks.size(); i++) {
            Block block = blocks.get(i);
            json.raw(i == 0 ? "" : ",").raw("{\"type\":\"").raw(block.type).raw("\"");
            switch (block.type) {
                case "text" -> json.raw(",\"text\":").string(block.text);
                case "thinking" -> json.raw(",\"thinking\":").string(block.text).raw(",\"signature\":\"\"");
                default -> json.raw(",\"id\":").string(block.id).raw(",\"name\":").string(block.name).raw(",\"input\":")
                        .raw(block.text.toString().getBytes(StandardCharsets.UTF_8));
            }
            json.raw("}");
        }
        json.raw("],");
        Stops.write(reason, stopString, json);
        json.raw(",");
        Stops.writeUsage(promptTokens(), cachedTokens(), outputTokens(), json);
        return json.raw("}");
    }
}
