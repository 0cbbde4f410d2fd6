package io.millrace.scheduler.simulate;

import java.util.Arrays;
import java.util.List;

/**
 * The {@link StepCost} that fits measured steps best: least squares of the relative error, so that a short decode counts as much as a
 * long chunk, under the condition that no cost is negative. Five unknowns have 31 choices of those that are above zero; each is solved,
 * and the best without a negative one is taken. That is exact, where rounding negative ones off to zero would not be.
 */
public final class CostFit {
    /** One measured step: what {@link StepCost#terms} counts, and its time. */
    record Sample(double[] terms, double nanos) {}

    private CostFit() {}

    /**
     * @param meanError mean over steps of |predicted - measured| / measured
     */
    public record Fitted(StepCost cost, int numSteps, double meanError) {}

    static Fitted fit(List<Sample> samples, String source) {
        if (samples.size() < StepCost.NUM_TERMS) {
            throw new IllegalArgumentException("SIM-002: " + samples.size() + " measured steps cannot tell " + StepCost.NUM_TERMS
                    + " costs apart; measure for longer");
        }
        double[] best = null;
        double bestError = Double.POSITIVE_INFINITY;
        for (int mask = 1; mask < 1 << StepCost.NUM_TERMS; mask++) {
            double[] costs = solve(samples, mask);
            if (costs == null || Arrays.stream(costs).anyMatch(cost -> cost < 0)) {
                continue;
            }
            double error = samples.stream().mapToDouble(sample -> square(relativeError(sample, costs))).sum();
            if (error < bestError) {
                bestError = error;
                best = costs;
            }
        }
        double[] costs = best;
        double mean = samples.stream().mapToDouble(sample -> Math.abs(relativeError(sample, costs))).average().orElse(0);
        return new Fitted(new StepCost(source, costs[0], costs[1], costs[2], costs[3], costs[4]), samples.size(), mean);
    }

    private static double relativeError(Sample sample, double[] costs) {
        double predicted = 0;
        for (int k = 0; k < costs.length; k++) {
            predicted += costs[k] * sample.terms[k];
        }
        return predicted / sample.nanos - 1;
    }

    private static double square(double x) {
        return x * x;
    }

    /** Costs with those outside {@code mask} at zero; null if the samples do not tell them apart. */
    private static double[] solve(List<Sample> samples, int mask) {
        int[] chosen = new int[Integer.bitCount(mask)];
        for (int k = 0, n = 0; k < StepCost.NUM_TERMS; k++) {
            if ((mask >> k & 1) != 0) {
                chosen[n++] = k;
            }
        }
        int n = chosen.length;
        // Columns are scaled to length 1: pairs reach millions where the fixed term is 1.
        double[] scale = new double[n];
        for (Sample sample : samples) {
            for (int i = 0; i < n; i++) {
                scale[i] += square(sample.terms[chosen[i]] / sample.nanos);
            }
        }
        double[][] normal = new double[n][n + 1];
        for (Sample sample : samples) {
            for (int i = 0; i < n; i++) {
                double x = sample.terms[chosen[i]] / sample.nanos / Math.sqrt(scale[i]);
                for (int j = 0; j < n; j++) {
                    normal[i][j] += x * sample.terms[chosen[j]] / sample.nanos / Math.sqrt(scale[j]);
                }
                normal[i][n] += x;
            }
        }
        double[] solved = eliminate(normal);
        if (solved == null) {
            return null;
        }
        double[] costs = new double[StepCost.NUM_TERMS];
        for (int i = 0; i < n; i++) {
            costs[chosen[i]] = solved[i] / Math.sqrt(scale[i]);
        }
        return costs;
    }

    /** Gauss with pivoting on {@code [A | b]}; null if A is as good as singular. */
    private static double[] eliminate(double[][] rows) {
        int n = rows.length;
        for (int column = 0; column < n; column++) {
            int pivot = column;
            for (int row = column + 1; row < n; row++) {
                pivot = Math.abs(rows[row][column]) > Math.abs(rows[pivot][column]) ? row : pivot;
            }
            // Of columns of length 1: what is left of one after taking out the others.
            if (!(Math.abs(rows[pivot][column]) > 1e-9)) {
                return null;
            }
            double[] swapped = rows[column];
            rows[column] = rows[pivot];
            rows[pivot] = swapped;
            for (int row = 0; row < n; row++) {
                double factor = row == column ? 0 : rows[row][column] / rows[column][column];
                for (int k = column; factor != 0 && k <= n; k++) {
                    rows[row][k] -= factor * rows[column][k];
                }
            }
        }
        double[] solution = new double[n];
        for (int i = 0; i < n; i++) {
            solution[i] = rows[i][n] / rows[i][i];
        }
        return solution;
    }
}
