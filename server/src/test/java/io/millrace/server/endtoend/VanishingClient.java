package io.millrace.server.endtoend;

import com.fasterxml.jackson.databind.JsonNode;
import java.io.IOException;
import java.io.InputStream;
import java.net.Socket;
import java.nio.charset.StandardCharsets;

/** A client that starts a stream, reads a little of it and closes its socket. */
final class VanishingClient {
    private VanishingClient() {}

    static Void readAndLeave(int port, JsonNode body) throws IOException {
        byte[] text = RealServer.JSON.writeValueAsBytes(body);
        try (Socket socket = new Socket("127.0.0.1", port)) {
            String head = "POST /v1/completions HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: " + text.length + "\r\n\r\n";
            socket.getOutputStream().write(head.getBytes(StandardCharsets.ISO_8859_1));
            socket.getOutputStream().write(text);
            socket.getOutputStream().flush();
            InputStream in = socket.getInputStream();
            byte[] some = new byte[512];
            int read = 0;
            // Until the first events have come: the request runs when its client goes away.
            while (read < 1500) {
                int n = in.read(some);
                if (n < 0) {
                    throw new IOException("the server closed the stream after " + read + " bytes");
                }
                read += n;
            }
        }
        return null;
    }
}
