package io.millrace.server.bench;

import io.millrace.scheduler.RejectedException;
import io.millrace.scheduler.simulate.Latencies;
import io.millrace.scheduler.simulate.SimulationResult;
import io.millrace.scheduler.simulate.SimulationResult.Group;
import io.millrace.server.console.Table;
import io.millrace.server.console.Texts;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.TreeMap;

/** A simulation's figures as a table for people and under stable names, those of {@code bench serve} where it has them. */
public final class ScheduleReport {
    private ScheduleReport() {}

    public static Table table(String heading, SimulationResult result, boolean goodputAsked) {
        Group all = result.all();
        double seconds = result.virtualSeconds();
        Table table = new Table().heading(heading)
                .row("completed", Texts.count(all.completed()))
                .row("refused", Texts.count(all.rejected()) + (result.rejections().isEmpty() ? "" : " " + byCode(result.rejections())))
                .row("virtual time, s", Texts.rate(seconds))
                .row("requests/s", Texts.rate(all.completed() / seconds))
                .row("output tokens/s", Texts.rate(all.outputTokens() / seconds))
                .row("tokens/s, prompt and output", Texts.rate((all.promptTokens() + all.outputTokens()) / seconds));
        if (goodputAsked) {
            table.row("good requests/s", Texts.rate(all.good() / seconds));
        }
        table.row("preemptions", Texts.count(result.numPreemptions()))
                .row("prefix cache hits, % of prompt tokens", Texts.rate(100 * result.hitRate()))
                .row("steps", Texts.count(result.numSteps()))
                .row("computed in, s", Texts.rate(result.hostSeconds()) + ", " + Texts.rate(result.speedUp()) + " times as fast as real; "
                        + Texts.rate(result.hostSeconds() * 1e9 / Math.max(1, result.numEntries())) + " ns for a sequence in a step");
        table.heading("").row("milliseconds", "mean", "median", "p90", "p95", "p99", "max");
        row(table, "time to first token (TTFT)", all.ttft());
        row(table, "time per output token (TPOT)", all.tpot());
        row(table, "whole request (E2E)", all.e2e());
        row(table, "in the queue", all.queue());
        Map<String, Group> keys = new LinkedHashMap<>();
        for (int i = 0; i < result.byTenant().size(); i++) {
            keys.put("key " + i, result.byTenant().get(i));
        }
        groups(table, "by key", keys);
        Map<String, Group> priorities = new LinkedHashMap<>();
        result.byPriority().forEach((priority, group) -> priorities.put("priority " + priority, group));
        groups(table, "by priority", priorities);
        return table;
    }

    private static void groups(Table table, String heading, Map<String, Group> groups) {
        if (groups.size() < 2) {
            return;
        }
        table.heading("").row(heading, "completed", "refused", "output tokens", "TTFT median, ms", "TTFT p99, ms", "E2E median, ms");
        groups.forEach((name, group) -> table.row(name, Texts.count(group.completed()), Texts.count(group.rejected()),
                Texts.count(group.outputTokens()), Texts.rate(group.ttft().millis(50)), Texts.rate(group.ttft().millis(99)),
                Texts.rate(group.e2e().millis(50))));
    }

    private static void row(Table table, String label, Latencies values) {
        table.row(label, Texts.rate(values.meanMillis()), Texts.rate(values.millis(50)), Texts.rate(values.millis(90)), Texts.rate(values.millis(95)),
                Texts.rate(values.millis(99)), Texts.rate(values.millis(100)));
    }

    private static Map<String, Integer> byCode(Map<RejectedException.Kind, Integer> counts) {
        Map<String, Integer> result = new TreeMap<>();
        counts.forEach((kind, count) -> result.put(kind.code(), count));
        return result;
    }

    private static Map<String, Integer> lower(Map<? extends Enum<?>, Integer> counts) {
        Map<String, Integer> result = new TreeMap<>();
        counts.forEach((kind, count) -> result.put(kind.name().toLowerCase(Locale.ROOT), count));
        return result;
    }

    public static Map<String, Object> toMap(SimulationResult result) {
        Map<String, Object> map = new LinkedHashMap<>();
        map.put("duration", result.virtualSeconds());
        map.put("host_seconds", result.hostSeconds());
        map.put("num_steps", result.numSteps());
        map.put("num_step_sequences", result.numEntries());
        map.put("num_preemptions", result.numPreemptions());
        map.put("prefix_cache_hit_rate", result.hitRate());
        map.put("rejections", byCode(result.rejections()));
        map.put("finish_reasons", lower(result.finishReasons()));
        map.put("schedule_hash", Long.toHexString(result.scheduleHash()));
        put(map, result.all(), result.virtualSeconds());
        Map<String, Object> priorities = new LinkedHashMap<>();
        result.byPriority().forEach((priority, group) -> {
            Map<String, Object> of = new LinkedHashMap<>();
            put(of, group, result.virtualSeconds());
            priorities.put(String.valueOf(priority), of);
        });
        map.put("priorities", priorities);
        map.put("keys", result.byTenant().stream().map(group -> {
            Map<String, Object> of = new LinkedHashMap<>();
            put(of, group, result.virtualSeconds());
            return of;
        }).toList());
        return map;
    }

    private static void put(Map<String, Object> map, Group group, double seconds) {
        map.put("completed", group.completed());
        map.put("rejected", group.rejected());
        map.put("total_input_tokens", group.promptTokens());
        map.put("total_output_tokens", group.outputTokens());
        map.put("request_throughput", group.completed() / seconds);
        map.put("output_throughput", group.outputTokens() / seconds);
        map.put("total_token_throughput", (group.promptTokens() + group.outputTokens()) / seconds);
        map.put("request_goodput", group.good() / seconds);
        put(map, "ttft", group.ttft());
        put(map, "tpot", group.tpot());
        put(map, "e2el", group.e2e());
        put(map, "queue", group.queue());
    }

    private static void put(Map<String, Object> map, String name, Latencies values) {
        if (values.count() > 0) {
            map.put("mean_" + name + "_ms", values.meanMillis());
            map.put("median_" + name + "_ms", values.millis(50));
            for (int percentile : List.of(90, 95, 99)) {
                map.put("p" + percentile + "_" + name + "_ms", values.millis(percentile));
            }
            map.put("max_" + name + "_ms", values.millis(100));
        }
    }
}
