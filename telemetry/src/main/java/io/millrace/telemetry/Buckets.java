package io.millrace.telemetry;

import java.util.stream.DoubleStream;

/**
 * Upper bounds of the histograms. They contain all of vLLM's, so that its dashboards read the same, and more where those are too
 * coarse: its lowest bound between two tokens, 10 ms, is longer than the whole step of a small model.
 */
final class Buckets {
    static final double[] TIME_TO_FIRST_TOKEN = {.001, .005, .01, .02, .04, .06, .08, .1, .25, .5, .75, 1, 2.5, 5, 7.5, 10, 20, 40, 80,
        160, 640, 2560};
    static final double[] BETWEEN_TOKENS = {.001, .002, .003, .004, .005, .006, .007, .008, .009, .01, .015, .02, .025, .05, .075, .1, .15,
        .2, .3, .4, .5, .75, 1, 2.5, 5, 7.5, 10, 20, 40, 80};
    static final double[] REQUEST_SECONDS = {.01, .03, .1, .3, .5, .8, 1, 1.5, 2, 2.5, 5, 10, 15, 20, 30, 40, 50, 60, 120, 240, 480, 960,
        1920, 7680};
    static final double[] STEP_TOKENS = {1, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384};
    static final double[] STEP_SECONDS = {.00001, .00003, .0001, .0003, .001, .002, .003, .005, .0075, .01, .02, .03, .05, .1, .2, .5, 1, 5};
    static final double[] HTTP_SECONDS = {.001, .005, .01, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 300};

    private Buckets() {}

    /** 1, 2, 5, 10, 20, ... up to {@code max}, and {@code max} itself. */
    static double[] oneTwoFive(int max) {
        DoubleStream.Builder bounds = DoubleStream.builder();
        for (long decade = 1; decade <= max; decade *= 10) {
            for (long step : new long[] {1, 2, 5}) {
                if (decade * step < max) {
                    bounds.add(decade * step);
                }
            }
        }
        return bounds.add(max).build().toArray();
    }
}
