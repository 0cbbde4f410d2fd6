package io.millrace.server.http;

import io.helidon.common.buffers.DataReader;
import io.helidon.common.socket.HelidonSocket;
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
    private final HelidonSocket channel;
    private final Deadlines deadlines;
    /** Asked for while it is connected: a closed socket does not know its peer. */
    private final String peer;
    private final DataReader reader = DataReader.create(this);
    private volatile long readDeadline;
    private volatile long writeDeadline;
    private volatile boolean ended;
    /** Whether a request is under way; connection thread only. */
    private boolean inRequest;
    private final ReentrantLock lock = new ReentrantLock();
    private final Condition changed = lock.newCondition();
    private boolean watching;
    private byte[] arrived;
    private boolean gone;
    private Runnable onGone;

    ClientConnection(DataReader socket, HelidonSocket channel, Deadlines deadlines) {
        this.socket = socket;
        this.channel = channel;
        this.deadlines = deadlines;
        this.peer = peer(channel);
    }

    private static String peer(HelidonSocket channel) {
        try {
            return channel.remotePeer().host() + ":" + channel.remotePeer().port();
        } catch (RuntimeException e) {
            return "a client that has left"; // between accept and here
        }
    }

    /** What the connection's thread reads from. */
    DataReader reader() {
        return reader;
    }

    /** {@link System#nanoTime} at which the request must have been read, 0 = no limit now. */
    long readDeadline() {
        return readDeadline;
    }

    /** {@link System#nanoTime} at which the write under way must have ended, 0 = none is. */
    long writeDeadline() {
        return writeDeadline;
    }

    private void requestBegins() {
        inRequest = true;
        readDeadline = deadlines.readDeadline();
        deadlines.watch(this);
    }

    /** The head is here; without an entity that is all. */
    void headRead(boolean hasEntity) {
        if (!hasEntity) {
            requestRead();
        } else if (readDeadline == 0) {
            requestBegins(); // it came with the bytes of the request before
        }
    }

    void requestRead() {
        inRequest = true;
        readDeadline = 0;
    }

    /** A body that nobody wanted is still to be read over: then the deadline stays, for it and the next request together. */
    void requestAnswered() {
        if (readDeadline == 0) {
            inRequest = false;
        }
    }

    void writeBegins() {
        writeDeadline = deadlines.writeDeadline();
        deadlines.watch(this);
    }

    void writeEnded() {
        writeDeadline = 0;
    }

    /** Its thread has left it; nothing is to be waited for any more, whatever was not read. */
    void ended() {
        ended = true;
        readDeadline = 0;
        writeDeadline = 0;
        deadlines.unwatch(this);
    }

    /** Whether {@link #ended} was called. */
    boolean hasEnded() {
        return ended;
    }

    void closeSocket() {
        channel.close();
    }

    @Override
    public String toString() {
        return "connection of " + peer;
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
        if (!inRequest && reader.available() > 0) {
            requestBegins(); // its first bytes came with the request before
        }
        byte[] bytes = next();
        if (!inRequest && bytes != null) {
            requestBegins();
        }
        return bytes;
    }

    private byte[] next() {
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
