package io.millrace.server.http;

import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.net.InetAddress;
import java.net.Socket;
import java.nio.charset.StandardCharsets;

/** A client that sees and controls the bytes: for framing, disconnects and readers that do not read. */
final class RawClient implements AutoCloseable {
    private final Socket socket;
    private final InputStream in;

    RawClient(TestServer server) {
        this(server, 0);
    }

    /** @param receiveBuffer bytes the operating system buffers for this client; 0 = its default */
    RawClient(TestServer server, int receiveBuffer) {
        try {
            socket = new Socket();
            if (receiveBuffer > 0) {
                socket.setReceiveBufferSize(receiveBuffer);
            }
            socket.connect(new java.net.InetSocketAddress(InetAddress.getLoopbackAddress(), server.server.port()));
            socket.setSoTimeout(20_000);
            in = new java.io.BufferedInputStream(socket.getInputStream(), 16 * 1024);
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    RawClient post(String path, String singleQuotedJson, String... headers) {
        byte[] body = singleQuotedJson.replace('\'', '"').getBytes(StandardCharsets.UTF_8);
        StringBuilder head = new StringBuilder("POST " + path + " HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
                + "Content-Length: " + body.length + "\r\n");
        for (String header : headers) {
            head.append(header).append("\r\n");
        }
        return send(head + "\r\n" + new String(body, StandardCharsets.UTF_8));
    }

    RawClient send(String text) {
        try {
            socket.getOutputStream().write(text.getBytes(StandardCharsets.UTF_8));
            return this;
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    /** Everything up to and including {@code end}. */
    String readUntil(String end) {
        StringBuilder text = new StringBuilder();
        try {
            while (text.length() < end.length() || text.indexOf(end, text.length() - end.length()) < 0) {
                int b = in.read();
                if (b < 0) {
                    throw new AssertionError("connection ended after: " + text);
                }
                text.append((char) b);
            }
        } catch (IOException e) {
            throw new UncheckedIOException(text.toString(), e);
        }
        return text.toString();
    }

    /** Up to the end of a JSON error, or the connection's. */
    String readToEndOfAnswer() {
        StringBuilder text = new StringBuilder();
        try {
            for (int b; text.indexOf("}}") < 0 && (b = in.read()) >= 0; ) {
                text.append((char) b);
            }
        } catch (IOException e) {
            // closed with unread bytes: what came before counts
        }
        return text.toString();
    }

    /** Returns once the server has ended the connection, orderly or not. */
    void awaitEnd() {
        try {
            in.readAllBytes();
        } catch (java.net.SocketTimeoutException e) {
            throw new AssertionError("the connection is still open", e);
        } catch (IOException e) {
            // reset: ended too
        }
    }

    String readToEnd() {
        try {
            return new String(in.readAllBytes(), StandardCharsets.UTF_8);
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    /** Ends the connection with a reset, as a crashed client does, or an orderly close. */
    void vanish(boolean reset) {
        try {
            if (reset) {
                socket.setSoLinger(true, 0);
            }
            socket.close();
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    @Override
    public void close() {
        vanish(false);
    }
}
