package io.millrace.server.http;

import io.helidon.common.buffers.DataReader;
import io.helidon.webserver.ServerConnectionException;
import java.nio.channels.ClosedByInterruptException;
import java.util.concurrent.locks.Condition;
import java.util.concurrent.locks.ReentrantLock;
import java.util.function.Supplier;

/**
 * One client's connection: the source of its bytes, and a watch that notices the client going away while its answer is being computed.
 *
 * <p>The server itself reads from a socket only between requests, so a client that vanishes while it waits would be noticed by the next
 * write, and never before a non-streaming answer is complete. While a request runs, a second virtual thread therefore blocks in the read
 * that the connection would do next anyway: end of stream means that the client is gone; bytes (the next request on the same connection)
 * are kept and handed to the connection's thread. The read outlives the request, so at most one watcher exists per connection.
 *
 * <p>A client that closes only its sending half counts as gone, as it does in other servers.
 */
final class ClientConnection implements Supplier<byte[]> {
    private static final ThreadLocal<ClientConnection> CURRENT = new ThreadLocal<>();

    private final DataReader socket;
    private final ReentrantLock lock = new ReentrantLock();
    private final Condition changed = lock.newCondition();
    private boolean watching;
    private byte[] arrived;
    private boolean gone;
    private Runnable onGone;

    ClientConnection(DataReader socket) {
        this.socket = socket;
    }

    /** The connection that the calling thread serves. */
    static ClientConnection current() {
        return CURRENT.get();
    }

    /** A connection has one thread for all its life; the binding ends with it. */
    void bindToThread() {
        CURRENT.set(this);
    }

    /** The next bytes of the client, null at the end. Connection thread only. */
    @Override
    public byte[] get() {
        lock.lock();
        try {
            while (watching) {
                changed.await();
            }
            if (arrived != null) {
                byte[] bytes = arrived;
                arrived = null;
                return bytes;
            }
            if (gone) {
                return null;
            }
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
            throw new ServerConnectionException("the connection is being closed", new ClosedByInterruptException());
        } finally {
            lock.unlock();
        }
        return read();
    }

    /** Calls {@code action}, on any thread, once the client is gone; until {@link #unwatch}. */
    void watch(Runnable action) {
        lock.lock();
        try {
            if (!gone) {
                onGone = action;
                if (!watching && arrived == null) {
                    watching = true;
                    Thread.ofVirtual().name("client-watch").start(this::awaitBytes);
                }
                return;
            }
        } finally {
            lock.unlock();
        }
        action.run();
    }

    void unwatch() {
        lock.lock();
        try {
            onGone = null;
        } finally {
            lock.unlock();
        }
    }

    private void awaitBytes() {
        byte[] bytes;
        try {
            bytes = read();
        } catch (RuntimeException e) {
            bytes = null; // reset by the client, or closed here
        }
        Runnable action = null;
        lock.lock();
        try {
            watching = false;
            if (bytes == null) {
                gone = true;
                action = onGone;
            } else {
                arrived = bytes;
            }
            changed.signalAll();
        } finally {
            lock.unlock();
        }
        if (action != null) {
            action.run();
        }
    }

    private byte[] read() {
        try {
            socket.ensureAvailable();
            return socket.readBytes(socket.available());
        } catch (DataReader.InsufficientDataAvailableException e) {
            return null;
        }
    }
}
