package io.millrace.scheduler;

import java.security.SecureRandom;

/**
 * What the hashes of a {@link PrefixIndex} depend on beside tokens and salts. Nothing that can be seen from outside depends on it.
 *
 * @param secret   unknown outside, so that nobody can make prompts that crowd one place of the table
 * @param hashMask bits of a hash that are kept: all, but in tests that need blocks to collide
 */
record IndexKey(long secret, long hashMask) {
    IndexKey(long secret) {
        this(secret, -1L);
    }

    static IndexKey random() {
        return new IndexKey(new SecureRandom().nextLong());
    }
}
