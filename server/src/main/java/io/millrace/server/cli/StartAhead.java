package io.millrace.server.cli;

import io.millrace.engine.ModelLoader;
import io.millrace.server.http.HttpServer;

/**
 * Work that a start is sure to need and that waits for nothing, on a thread beside the one that reads settings and headers: native libraries
 * with the handles of their functions, and the classes of the HTTP server. It only makes things be there earlier: what fails here fails again,
 * with its message, where it is needed.
 */
final class StartAhead {
    private StartAhead() {}

    /** @param gguf whether the model is a GGUF file */
    static void begin(boolean gguf) {
        Thread.ofPlatform().daemon().name("millrace-ahead").start(() -> {
            try {
                ModelLoader.warmUp(gguf);
                HttpServer.warmUp();
            } catch (RuntimeException | Error e) {
                System.getLogger("io.millrace.server").log(System.Logger.Level.DEBUG, "starting ahead", e);
            }
        });
    }
}
