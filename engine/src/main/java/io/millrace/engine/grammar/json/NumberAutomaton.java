package io.millrace.engine.grammar.json;

import io.millrace.engine.grammar.GrammarException;
import io.millrace.engine.grammar.automaton.CharDfa;
import io.millrace.engine.grammar.automaton.CharSet;
import io.millrace.engine.grammar.automaton.Partition;
import java.math.BigDecimal;
import java.math.BigInteger;
import java.util.List;

/**
 * The spellings of a {@link NumberRange}'s numbers. Digits are compared with those of the bounds as they come, and their remainder by the
 * divisor is kept, so the automaton is exact. Numbers that are bounded, divided or integers have no exponent; minus zero is not written.
 */
final class NumberAutomaton implements CharDfa.Source<NumberAutomaton.Progress> {
    private static final int MAX_DIGITS = 400;
    private static final int EXACT_IN_DOUBLES = 15;
    private static final Partition CHARS = Partition.of(List.of(CharSet.of('-'), CharSet.of('+'), CharSet.of('.'), CharSet.anyOf("eE"),
            CharSet.of('0'), CharSet.of('1'), CharSet.of('2'), CharSet.of('3'), CharSet.of('4'), CharSet.of('5'), CharSet.of('6'),
            CharSet.of('7'), CharSet.of('8'), CharSet.of('9')));
    private static final int LESS = -1;
    private static final int GREATER = 1;

    private enum Phase { START, MINUS, ZERO, WHOLE, POINT, FRACTION, E, E_SIGN, EXPONENT }

    /**
     * @param whole    digits before the point, as far as their number matters; leading zero not counted
     * @param fraction digits after it, likewise; later the digits of the exponent
     * @param low      how the digits so far compare with those of the lower bound of the magnitude; {@code high} likewise
     */
    record Progress(Phase phase, boolean negative, int whole, int fraction, int low, int high, int remainder) {}

    /** A bound of the magnitude as digits, none of them leading or trailing zeros; null = there is none. */
    private record Bound(String whole, String fraction, boolean exclusive) {
        static Bound of(BigDecimal value, boolean exclusive) {
            String[] parts = value.stripTrailingZeros().toPlainString().split("\\.");
            return new Bound(parts[0].equals("0") ? "" : parts[0], parts.length > 1 ? parts[1] : "", exclusive);
        }
    }

    private final NumberRange range;
    private final Bound[] lows = new Bound[2];
    private final Bound[] highs = new Bound[2];
    private final boolean[] possible = new boolean[2];
    private final int modulus;
    private final int scale;
    private final int maxWhole;
    private final int maxFraction;
    private final boolean wholeLimited;
    private final boolean fractionLimited;

    private NumberAutomaton(NumberRange range) {
        this.range = range;
        setMagnitudes(0, range.low(), range.lowExclusive(), range.high(), range.highExclusive());
        setMagnitudes(1, range.high() == null ? null : range.high().negate(), range.highExclusive(),
                range.low() == null ? null : range.low().negate(), range.lowExclusive());
        int wholeDigits = 0;
        int fractionDigits = 0;
        for (Bound bound : new Bound[] {lows[0], lows[1], highs[0], highs[1]}) {
            if (bound != null) {
                wholeDigits = Math.max(wholeDigits, bound.whole.length());
                fractionDigits = Math.max(fractionDigits, bound.fraction.length());
            }
        }
        BigDecimal divisor = range.multipleOf() == null ? BigDecimal.ONE : range.multipleOf().stripTrailingZeros();
        divisor = divisor.scale() < 0 ? divisor.setScale(0) : divisor;
        scale = range.multipleOf() == null ? 0 : divisor.scale();
        if (divisor.unscaledValue().compareTo(BigInteger.valueOf(CharDfa.MAX_STATES)) > 0) {
            throw new GrammarException("multiples of " + range.multipleOf() + " need an automaton of more than " + CharDfa.MAX_STATES + " states");
        }
        modulus = divisor.unscaledValue().intValueExact();
        fractionDigits = Math.max(fractionDigits, scale);
        if (wholeDigits > MAX_DIGITS || fractionDigits > MAX_DIGITS) {
            throw new GrammarException("a number of more than " + MAX_DIGITS + " digits");
        }
        NumberRange.Spelling spelling = range.spelling();
        wholeLimited = spelling.maxIntegerDigits() != NumberRange.Spelling.UNLIMITED;
        // Programs that check multiples with doubles would be wrong about longer ones.
        int writable = range.multipleOf() == null ? spelling.maxIntegerDigits() : Math.min(spelling.maxIntegerDigits(), EXACT_IN_DOUBLES);
        maxWhole = wholeLimited ? Math.max(writable, significantWhole()) : wholeDigits + 1;
        fractionLimited = spelling.maxFractionDigits() != NumberRange.Spelling.UNLIMITED;
        maxFraction = Math.max(fractionDigits + 1, fractionLimited ? spelling.maxFractionDigits() : 0);
    }

    static CharDfa of(NumberRange range) {
        return CharDfa.of(CHARS, new NumberAutomaton(range));
    }

    /** Digits that the smallest magnitude needs, however few are allowed otherwise. */
    private int significantWhole() {
        int needed = 0;
        for (Bound low : lows) {
            needed = Math.max(needed, low == null ? 0 : low.whole.length());
        }
        return needed;
    }

    private void setMagnitudes(int negative, BigDecimal low, boolean lowExclusive, BigDecimal high, boolean highExclusive) {
        possible[negative] = high == null || high.signum() >= 0 && (high.signum() > 0 || !highExclusive);
        if (!possible[negative]) {
            return;
        }
        highs[negative] = high == null ? null : Bound.of(high, highExclusive);
        boolean fromZero = low == null || low.signum() < 0;
        if (negative == 1 && (fromZero || low.signum() == 0)) {
            lows[1] = Bound.of(BigDecimal.ZERO, true);
        } else {
            lows[negative] = fromZero ? null : Bound.of(low, lowExclusive);
        }
    }

    @Override
    public Progress start() {
        return new Progress(Phase.START, false, 0, 0, 0, 0, 0);
    }

    @Override
    public Progress step(Progress p, int c) {
        boolean digit = c >= '0' && c <= '9';
        return switch (p.phase) {
            case START -> c == '-' ? possible[1] ? new Progress(Phase.MINUS, true, 0, 0, 0, 0, 0) : null
                    : digit && possible[0] ? whole(p, c - '0') : null;
            case MINUS -> digit ? whole(p, c - '0') : null;
            case ZERO -> digit ? null : afterWhole(p, c);
            case WHOLE -> digit ? whole(p, c - '0') : afterWhole(p, c);
            case POINT -> digit ? fraction(p, c - '0') : null;
            case FRACTION -> digit ? fraction(p, c - '0') : exponentMark(p, c);
            case E -> c == '-' || c == '+' ? new Progress(Phase.E_SIGN, p.negative, 0, 0, p.low, p.high, 0) : digit ? exponent(p) : null;
            case E_SIGN, EXPONENT -> digit ? exponent(p) : null;
        };
    }

    private Progress whole(Progress p, int digit) {
        if (p.phase != Phase.WHOLE && digit == 0) {
            return new Progress(Phase.ZERO, p.negative, 0, 0, 0, 0, 0);
        }
        if (wholeLimited && p.whole == maxWhole) {
            return null;
        }
        int negative = p.negative ? 1 : 0;
        return new Progress(Phase.WHOLE, p.negative, Math.min(p.whole + 1, maxWhole), 0, compareWhole(lows[negative], p.low, p.whole, digit),
                compareWhole(highs[negative], p.high, p.whole, digit), (p.remainder * 10 + digit) % modulus);
    }

    private static int compareWhole(Bound bound, int before, int at, int digit) {
        if (bound == null) {
            return 0;
        }
        if (at >= bound.whole.length()) {
            return GREATER;
        }
        return before != 0 ? before : Integer.compare(digit, bound.whole.charAt(at) - '0');
    }

    private Progress afterWhole(Progress p, int c) {
        boolean fractions = !range.integer() || range.spelling().integersWithFraction();
        if (c == '.' && fractions) {
            Progress closed = closeWhole(p);
            return new Progress(Phase.POINT, p.negative, 0, 0, closed.low, closed.high, p.remainder);
        }
        return exponentMark(p, c);
    }

    /** Comparisons once the number of digits before the point is known. */
    private Progress closeWhole(Progress p) {
        int negative = p.negative ? 1 : 0;
        return new Progress(p.phase, p.negative, p.whole, p.fraction, shorter(lows[negative], p.low, p.whole),
                shorter(highs[negative], p.high, p.whole), p.remainder);
    }

    private static int shorter(Bound bound, int order, int digits) {
        return bound != null && digits < bound.whole.length() ? LESS : order;
    }

    private Progress fraction(Progress p, int digit) {
        boolean beyondScale = range.integer() || range.multipleOf() != null && p.fraction >= scale;
        if (beyondScale && digit != 0 || fractionLimited && p.fraction == maxFraction) {
            return null;
        }
        int negative = p.negative ? 1 : 0;
        int remainder = range.multipleOf() == null || p.fraction >= scale ? p.remainder : (p.remainder * 10 + digit) % modulus;
        return new Progress(Phase.FRACTION, p.negative, 0, Math.min(p.fraction + 1, maxFraction),
                compareFraction(lows[negative], p.low, p.fraction, digit), compareFraction(highs[negative], p.high, p.fraction, digit), remainder);
    }

    private static int compareFraction(Bound bound, int before, int at, int digit) {
        if (bound == null || before != 0) {
            return before;
        }
        return Integer.compare(digit, at < bound.fraction.length() ? bound.fraction.charAt(at) - '0' : 0);
    }

    private Progress exponentMark(Progress p, int c) {
        if (c != 'e' && c != 'E' || !range.isUnbounded() || range.spelling().maxExponentDigits() == 0) {
            return null;
        }
        Progress closed = p.phase == Phase.FRACTION ? p : closeWhole(p);
        return new Progress(Phase.E, p.negative, 0, 0, closed.low, closed.high, 0);
    }

    private Progress exponent(Progress p) {
        int max = range.spelling().maxExponentDigits();
        boolean limited = max != NumberRange.Spelling.UNLIMITED;
        if (limited && p.fraction == max) {
            return null;
        }
        return new Progress(Phase.EXPONENT, p.negative, 0, limited ? p.fraction + 1 : 0, p.low, p.high, 0);
    }

    @Override
    public boolean accepts(Progress p) {
        Progress whole = switch (p.phase) {
            case ZERO, WHOLE -> closeWhole(p);
            case FRACTION, EXPONENT -> p;
            default -> null;
        };
        if (whole == null) {
            return false;
        }
        int negative = p.negative ? 1 : 0;
        int fraction = p.phase == Phase.FRACTION ? p.fraction : 0;
        int low = end(lows[negative], whole.low, fraction);
        int high = end(highs[negative], whole.high, fraction);
        boolean inside = (lows[negative] == null || low > 0 || low == 0 && !lows[negative].exclusive)
                && (highs[negative] == null || high < 0 || high == 0 && !highs[negative].exclusive);
        return inside && divides(p.remainder, fraction);
    }

    private static int end(Bound bound, int order, int fractionDigits) {
        return bound != null && order == 0 && fractionDigits < bound.fraction.length() ? LESS : order;
    }

    private boolean divides(int remainder, int fractionDigits) {
        long rest = remainder;
        for (int i = fractionDigits; i < scale; i++) {
            rest = rest * 10 % modulus;
        }
        return rest == 0;
    }
}
