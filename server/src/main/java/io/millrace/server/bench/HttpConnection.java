package io.millrace.server.bench;

import java.io.BufferedInputStream;
import java.io.BufferedOutputStream;
import java.io.EOFException;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.net.InetSocketAddress;
import java.net.Socket;
import java.net.URI;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.HashMap;
import java.util.Locale;
import java.util.Map;
import javax.net.ssl.SSLSocketFactory;

/**
 * One HTTP/1.1 connection that is used for one request after another, on a virtual thread. Written for measuring: an event of a stream
 * costs the client a read and a few bytes of parsing, so that on a shared machine the load generator takes little from the server.
 */
final class HttpConnection implements AutoCloseable {
    private static final int MAX_LINE = 64 * 1024;

    private final Socket socket;
    private final InputStream in;
    private final OutputStream out;
    private final String authority;
    private boolean reusable = true;
    private boolean answering;

    /** A response's head; the body must be read to its end before the next request. */
    record Response(int status, Map<String, String> headers, InputStream body) {}

    HttpConnection(URI base, Duration timeout) throws IOException {
        boolean secure = "https".equals(base.getScheme());
        int port = base.getPort() >= 0 ? base.getPort() : secure ? 443 : 80;
        Socket plain = new Socket();
        try {
            plain.connect(new InetSocketAddress(base.getHost(), port), (int) timeout.toMillis());
            plain.setTcpNoDelay(true);
            plain.setSoTimeout((int) timeout.toMillis());
            socket = secure ? ((SSLSocketFactory) SSLSocketFactory.getDefault()).createSocket(plain, base.getHost(), port, true) : plain;
            in = new BufferedInputStream(socket.getInputStream(), 16 * 1024);
            out = new BufferedOutputStream(socket.getOutputStream(), 16 * 1024);
        } catch (IOException | RuntimeException e) {
            plain.close();
            throw e;
        }
        authority = base.getHost() + ":" + port;
    }

    /** @param body null for GET */
    Response send(String path, Map<String, String> headers, byte[] body) throws IOException {
        answering = false;
        StringBuilder head = new StringBuilder(256);
        head.append(body == null ? "GET " : "POST ").append(path).append(" HTTP/1.1\r\nHost: ").append(authority).append("\r\n");
        headers.forEach((name, value) -> head.append(name).append(": ").append(value).append("\r\n"));
        if (body != null) {
            head.append("Content-Type: application/json\r\nContent-Length: ").append(body.length).append("\r\n");
        }
        out.write(head.append("\r\n").toString().getBytes(StandardCharsets.ISO_8859_1));
        if (body != null) {
            out.write(body);
        }
        out.flush();
        return readHead();
    }

    /** Whether anything came back for the last request. */
    boolean isAnswering() {
        return answering;
    }

    /** Whether another request may follow on this connection. */
    boolean isReusable() {
        return reusable;
    }

    private Response readHead() throws IOException {
        String line = readLine();
        if (!line.startsWith("HTTP/1.") || line.length() < 12) {
            throw new IOException("not an HTTP/1.1 answer: " + line);
        }
        int status = Integer.parseInt(line.substring(9, 12));
        Map<String, String> headers = new HashMap<>();
        while (!(line = readLine()).isEmpty()) {
            int colon = line.indexOf(':');
            if (colon > 0) {
                headers.put(line.substring(0, colon).toLowerCase(Locale.ROOT), line.substring(colon + 1).strip());
            }
        }
        if (status == 100) {
            return readHead();
        }
        reusable = !"close".equalsIgnoreCase(headers.get("connection"));
        if ("chunked".equalsIgnoreCase(headers.get("transfer-encoding"))) {
            return new Response(status, headers, new Chunks());
        }
        String length = headers.get("content-length");
        if (length == null) {
            reusable = false;
            return new Response(status, headers, in);
        }
        return new Response(status, headers, new Fixed(Long.parseLong(length)));
    }

    private String readLine() throws IOException {
        StringBuilder line = new StringBuilder(64);
        int c;
        while ((c = in.read()) != '\n') {
            if (c < 0) {
                throw new EOFException("the server closed the connection");
            }
            answering = true;
            if (c != '\r') {
                line.append((char) c);
            }
            if (line.length() > MAX_LINE) {
                throw new IOException("a header line is longer than " + MAX_LINE + " bytes");
            }
        }
        return line.toString();
    }

    @Override
    public void close() {
        try {
            socket.close();
        } catch (IOException e) {
            // Nothing is lost: the answer was read or given up before.
        }
    }

    /** A body of known length. */
    private final class Fixed extends InputStream {
        private long left;

        Fixed(long length) {
            left = length;
        }

        @Override
        public int read() throws IOException {
            byte[] one = new byte[1];
            return read(one, 0, 1) < 0 ? -1 : one[0] & 0xff;
        }

        @Override
        public int read(byte[] target, int offset, int length) throws IOException {
            if (left == 0) {
                return -1;
            }
            int n = in.read(target, offset, (int) Math.min(length, left));
            if (n < 0) {
                throw new EOFException("the answer ended " + left + " bytes early");
            }
            left -= n;
            return n;
        }
    }

    /** A chunked body (RFC 9112, section 7.1), without its framing. */
    private final class Chunks extends InputStream {
        private long left;
        private boolean first = true;
        private boolean ended;

        @Override
        public int read() throws IOException {
            byte[] one = new byte[1];
            return read(one, 0, 1) < 0 ? -1 : one[0] & 0xff;
        }

        @Override
        public int read(byte[] target, int offset, int length) throws IOException {
            if (left == 0 && !ended) {
                if (!first) {
                    readLine();
                }
                first = false;
                String size = readLine();
                int extension = size.indexOf(';');
                left = Long.parseLong((extension < 0 ? size : size.substring(0, extension)).strip(), 16);
                if (left == 0) {
                    ended = true;
                    while (!readLine().isEmpty()) {
                        // Trailers mean nothing here.
                    }
                }
            }
            if (ended) {
                return -1;
            }
            int n = in.read(target, offset, (int) Math.min(length, left));
            if (n < 0) {
                throw new EOFException("the stream ended within a chunk");
            }
            left -= n;
            return n;
        }
    }
}
