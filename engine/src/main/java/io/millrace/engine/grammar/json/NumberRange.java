package io.millrace.engine.grammar.json;

import java.math.BigDecimal;
import java.math.BigInteger;

/**
 * Numbers of a schema. Bounds are null for none; {@code multipleOf} is positive or null.
 */
record NumberRange(boolean integer, BigDecimal low, boolean lowExclusive, BigDecimal high, boolean highExclusive, BigDecimal multipleOf,
        Spelling spelling) {

    /** Limits of how a number is written; {@link #UNLIMITED} for none. */
    record Spelling(int maxIntegerDigits, int maxFractionDigits, int maxExponentDigits, boolean integersWithFraction) {
        static final int UNLIMITED = Integer.MAX_VALUE;
    }

    static NumberRange any(boolean integer, Spelling spelling) {
        return new NumberRange(integer, null, false, null, false, null, spelling);
    }

    static NumberRange exactly(BigDecimal value, Spelling spelling) {
        return new NumberRange(false, value, false, value, false, null, spelling);
    }

    NumberRange atLeast(BigDecimal bound, boolean exclusive) {
        int order = low == null ? -1 : low.compareTo(bound);
        return order > 0 ? this : new NumberRange(integer, bound, order == 0 ? exclusive | lowExclusive : exclusive, high, highExclusive,
                multipleOf, spelling);
    }

    NumberRange atMost(BigDecimal bound, boolean exclusive) {
        int order = high == null ? 1 : high.compareTo(bound);
        return order < 0 ? this : new NumberRange(integer, low, lowExclusive, bound, order == 0 ? exclusive | highExclusive : exclusive,
                multipleOf, spelling);
    }

    NumberRange multipleOf(BigDecimal factor) {
        BigDecimal common = factor;
        if (multipleOf != null) {
            int scale = Math.max(0, Math.max(factor.scale(), multipleOf.scale()));
            BigInteger a = factor.setScale(scale).unscaledValue();
            BigInteger b = multipleOf.setScale(scale).unscaledValue();
            common = new BigDecimal(a.divide(a.gcd(b)).multiply(b), scale);
        }
        return new NumberRange(integer, low, lowExclusive, high, highExclusive, common, spelling);
    }

    NumberRange and(NumberRange other) {
        NumberRange both = new NumberRange(integer | other.integer, low, lowExclusive, high, highExclusive, multipleOf, spelling);
        both = other.low == null ? both : both.atLeast(other.low, other.lowExclusive);
        both = other.high == null ? both : both.atMost(other.high, other.highExclusive);
        return other.multipleOf == null ? both : both.multipleOf(other.multipleOf);
    }

    /** Whether certainly no number is in it; what is left is seen when the automaton is built. */
    boolean isClearlyEmpty() {
        return low != null && high != null && (low.compareTo(high) > 0 || low.compareTo(high) == 0 && (lowExclusive || highExclusive));
    }

    boolean isUnbounded() {
        return low == null && high == null && multipleOf == null && !integer;
    }
}
