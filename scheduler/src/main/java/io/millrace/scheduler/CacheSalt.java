package io.millrace.scheduler;

import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;

/**
 * Whose cached prefixes a request may share: only those of the same salt. 128 bits of SHA-256, so that nobody finds a second text with
 * the salt of another tenant.
 */
record CacheSalt(long high, long low) {
    /** The salt of requests that bring none. */
    static final CacheSalt NONE = new CacheSalt(0, 0);

    static CacheSalt of(String text) {
        try {
            ByteBuffer digest = ByteBuffer.wrap(MessageDigest.getInstance("SHA-256").digest(text.getBytes(StandardCharsets.UTF_8)));
            return new CacheSalt(digest.getLong(), digest.getLong());
        } catch (NoSuchAlgorithmException e) {
            throw new IllegalStateException("every Java has SHA-256", e);
        }
    }

    /** One that no text has and no other {@code number}: what its requests compute is shared among them only. */
    static CacheSalt ofGroup(long number) {
        return new CacheSalt(-1, number);
    }
}
