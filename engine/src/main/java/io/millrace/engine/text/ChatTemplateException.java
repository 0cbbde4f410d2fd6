package io.millrace.engine.text;

/** A chat template could not be compiled or rendered; the message says why in words fit for the client. */
public class ChatTemplateException extends RuntimeException {
    private static final long serialVersionUID = 1L;

    public ChatTemplateException(String message) {
        super(message);
    }
}
