package io.millrace.server.http;

import io.millrace.telemetry.HttpMetrics;
import java.time.Duration;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;

/**
 * Closes the sockets of clients that send a request too slowly or stop reading their answer: both would hold a connection, and what it
 * reserved, for ever. One thread looks at the connections that have a deadline; setting one costs them a volatile write.
 */
final class Deadlines implements AutoCloseable {
    private static final System.Logger LOG = System.getLogger(Deadlines.class.getName());

    private final Duration readTimeout;
    private final Duration writeTimeout;
    private final HttpMetrics metrics;
    private final Set<ClientConnection> watched = ConcurrentHashMap.newKeySet();
    private final Thread thread;

    /**
     * @param readTimeout  from the first byte of a request to its last
     * @param writeTimeout of one write to the socket
     */
    Deadlines(Duration readTimeout, Duration writeTimeout, HttpMetrics metrics) {
        this.readTimeout = readTimeout;
        this.writeTimeout = writeTimeout;
        this.metrics = metrics;
        long interval = Math.clamp(Math.min(readTimeout.toMillis(), writeTimeout.toMillis()) / 4, 5, 1000);
        thread = Thread.ofVirtual().name("connection-deadlines").start(() -> run(interval));
    }

    /** After a connection has set a deadline. */
    void watch(ClientConnection client) {
        watched.add(client);
    }

    /** The connection has ended. */
    void unwatch(ClientConnection client) {
        watched.remove(client);
    }

    int numWatched() {
        return watched.size();
    }

    /** For a request that begins now. Never 0, which means none. */
    long readDeadline() {
        return System.nanoTime() + readTimeout.toNanos() | 1;
    }

    /** For a write that begins now. */
    long writeDeadline() {
        return System.nanoTime() + writeTimeout.toNanos() | 1;
    }

    private void run(long intervalMillis) {
        try {
            while (true) {
                Thread.sleep(intervalMillis);
                for (ClientConnection client : watched) {
                    lookSafely(client);
                }
            }
        } catch (InterruptedException e) {
            return; // closed
        }
    }

    /** All connections depend on this thread: what goes wrong with one of them must not end it. */
    private void lookSafely(ClientConnection client) {
        try {
            look(client);
        } catch (RuntimeException e) {
            watched.remove(client);
            LOG.log(System.Logger.Level.ERROR, "could not close " + client, e);
        }
    }

    private void look(ClientConnection client) {
        long now = System.nanoTime();
        if (isOver(client.readDeadline(), now)) {
            LOG.log(System.Logger.Level.INFO, "closed " + client + ": its request was not complete after " + readTimeout.toMillis() + " ms");
            watched.remove(client);
            client.closeSocket();
        } else if (isOver(client.writeDeadline(), now)) {
            LOG.log(System.Logger.Level.INFO, "closed " + client + ": it has not read its answer for " + writeTimeout.toMillis() + " ms");
            metrics.recordSlowClient();
            watched.remove(client);
            client.closeSocket();
        } else if (client.readDeadline() == 0 && client.writeDeadline() == 0) {
            // Removed before the second look: a deadline set in between is seen there, or its connection adds itself again.
            watched.remove(client);
            if (!client.hasEnded() && (client.readDeadline() != 0 || client.writeDeadline() != 0)) {
                watched.add(client);
            }
        }
    }

    private static boolean isOver(long deadline, long now) {
        return deadline != 0 && deadline - now < 0;
    }

    @Override
    public void close() {
        thread.interrupt();
    }
}
