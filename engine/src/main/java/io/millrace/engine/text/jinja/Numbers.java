package io.millrace.engine.text.jinja;

import java.math.BigDecimal;
import java.math.BigInteger;

/** Python's arithmetic on {@link Long}, {@link BigInteger}, {@link Double} and {@link Boolean}. */
final class Numbers {
    /** Of an integer's magnitude: nothing in a prompt needs more than a few hundred digits. */
    private static final int MAX_BITS = 4096;

    private Numbers() {}

    static boolean isNumber(Object value) {
        return value instanceof Long || value instanceof Double || value instanceof Boolean || value instanceof BigInteger;
    }

    static boolean isInteger(Object value) {
        return value instanceof Long || value instanceof BigInteger;
    }

    static Object normalized(BigInteger value) {
        if (value.bitLength() > MAX_BITS) {
            throw JinjaException.limit("bits in an integer", MAX_BITS);
        }
        return value.bitLength() < 64 ? (Object) value.longValue() : value;
    }

    static double toDouble(Object value) {
        return switch (value) {
            case Boolean b -> b ? 1 : 0;
            case Number number -> number.doubleValue();
            default -> throw new IllegalArgumentException("not a number");
        };
    }

    static BigInteger toBig(Object value) {
        return switch (value) {
            case Boolean b -> b ? BigInteger.ONE : BigInteger.ZERO;
            case BigInteger big -> big;
            case Long number -> BigInteger.valueOf(number);
            default -> throw new IllegalArgumentException("not an integer");
        };
    }

    static int compare(Object a, Object b) {
        if (a instanceof Long x && b instanceof Long y) {
            return Long.compare(x, y);
        }
        if (a instanceof Double || b instanceof Double) {
            double x = toDouble(a);
            double y = toDouble(b);
            return x < y ? -1 : x == y ? 0 : 1;
        }
        return toBig(a).compareTo(toBig(b));
    }

    static Object arithmetic(String operator, Object a, Object b) {
        return a instanceof Double || b instanceof Double || operator.equals("/")
                ? floating(operator, toDouble(a), toDouble(b)) : integral(operator, toBig(a), toBig(b));
    }

    private static Object integral(String operator, BigInteger a, BigInteger b) {
        return switch (operator) {
            case "+" -> normalized(a.add(b));
            case "-" -> normalized(a.subtract(b));
            case "*" -> normalized(a.multiply(b));
            case "//" -> {
                requireDivisor(b.signum() != 0, "integer division or modulo by zero");
                BigInteger[] parts = a.divideAndRemainder(b);
                boolean roundsDown = parts[1].signum() != 0 && parts[1].signum() != b.signum();
                yield normalized(roundsDown ? parts[0].subtract(BigInteger.ONE) : parts[0]);
            }
            case "%" -> {
                requireDivisor(b.signum() != 0, "integer division or modulo by zero");
                BigInteger remainder = a.remainder(b);
                yield normalized(remainder.signum() != 0 && remainder.signum() != b.signum() ? remainder.add(b) : remainder);
            }
            case "**" -> power(a, b);
            default -> throw new IllegalArgumentException(operator);
        };
    }

    private static Object power(BigInteger a, BigInteger b) {
        if (b.signum() < 0) {
            return floating("**", a.doubleValue(), b.doubleValue());
        }
        if (a.bitLength() > 1 && (b.bitLength() > 31 || (long) a.bitLength() * b.intValue() > 2L * MAX_BITS)) {
            throw JinjaException.limit("bits in an integer", MAX_BITS);
        }
        // Of -1, 0 and 1 only the exponent's parity counts.
        return normalized(a.bitLength() > 1 ? a.pow(b.intValue()) : a.pow(b.signum() == 0 ? 0 : b.testBit(0) ? 1 : 2));
    }

    private static Object floating(String operator, double a, double b) {
        return switch (operator) {
            case "+" -> a + b;
            case "-" -> a - b;
            case "*" -> a * b;
            case "/" -> {
                requireDivisor(b != 0, "division by zero");
                yield a / b;
            }
            case "//" -> {
                requireDivisor(b != 0, "float floor division by zero");
                yield Math.floor(a / b);
            }
            case "%" -> {
                requireDivisor(b != 0, "float modulo");
                double remainder = a % b;
                yield remainder != 0 && remainder < 0 != b < 0 ? remainder + b : remainder;
            }
            case "**" -> Math.pow(a, b);
            default -> throw new IllegalArgumentException(operator);
        };
    }

    private static void requireDivisor(boolean isThere, String message) {
        if (!isThere) {
            throw JinjaException.type(message);
        }
    }

    /** As Python prints a float: the shortest digits that read back, without exponent from 1e-4 to below 1e16. */
    static String repr(double value) {
        if (Double.isNaN(value)) {
            return "nan";
        }
        if (Double.isInfinite(value)) {
            return value > 0 ? "inf" : "-inf";
        }
        if (value == 0) {
            return 1 / value < 0 ? "-0.0" : "0.0";
        }
        BigDecimal shortest = new BigDecimal(Double.toString(value)).stripTrailingZeros();
        int exponent = shortest.precision() - shortest.scale() - 1;
        if (exponent >= -4 && exponent < 16) {
            String plain = shortest.toPlainString();
            return plain.indexOf('.') < 0 ? plain + ".0" : plain;
        }
        String digits = shortest.unscaledValue().abs().toString();
        String mantissa = digits.length() == 1 ? digits : digits.charAt(0) + "." + digits.substring(1);
        return (value < 0 ? "-" : "") + mantissa + "e" + (exponent < 0 ? "-" : "+") + (Math.abs(exponent) < 10 ? "0" : "") + Math.abs(exponent);
    }
}
