package io.millrace.server.http;

import io.helidon.common.buffers.BufferData;
import io.helidon.common.buffers.DataWriter;

/** Writes to a client's socket under a deadline: a client that stops reading makes the write wait. */
record WatchedWriter(DataWriter delegate, ClientConnection client) implements DataWriter {
    private void guarded(Runnable write) {
        client.writeBegins();
        try {
            write.run();
        } finally {
            client.writeEnded();
        }
    }

    @Override
    public void write(BufferData... buffers) {
        guarded(() -> delegate.write(buffers));
    }

    @Override
    public void write(BufferData buffer) {
        guarded(() -> delegate.write(buffer));
    }

    @Override
    public void writeNow(BufferData... buffers) {
        guarded(() -> delegate.writeNow(buffers));
    }

    @Override
    public void writeNow(BufferData buffer) {
        guarded(() -> delegate.writeNow(buffer));
    }

    @Override
    public void flush() {
        guarded(delegate::flush);
    }

    @Override
    public void close() {
        delegate.close();
    }
}
