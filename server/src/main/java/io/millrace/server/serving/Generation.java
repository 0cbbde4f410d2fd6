package io.millrace.server.serving;

import io.millrace.engine.LoadedModel;
import io.millrace.engine.ModelLoader;
import io.millrace.scheduler.EngineLoop;
import io.millrace.scheduler.GenerationService;
import io.millrace.scheduler.LoopOptions;
import io.millrace.scheduler.SchedulerConfig;
import io.millrace.scheduler.SchedulerListener;
import io.millrace.server.config.ServerConfig;
import java.time.Duration;
import java.util.function.Consumer;
import java.util.function.Function;

/** A loaded model and the engine thread that runs it. Owns both: {@link #close} ends the thread, then frees the model's memory. */
public final class Generation implements AutoCloseable {
    private final LoadedModel model;
    private final EngineLoop loop;
    private final SchedulerConfig schedulerConfig;
    private boolean closed;

    private Generation(LoadedModel model, SchedulerConfig schedulerConfig, SchedulerListener listener, LoopOptions options) {
        this.model = model;
        this.schedulerConfig = schedulerConfig;
        this.loop = EngineLoop.start(model.engine(), schedulerConfig, listener, options);
    }

    /**
     * Loads the configured model and starts its engine thread.
     *
     * @throws io.millrace.engine.EngineException if the model cannot be loaded
     * @throws io.millrace.server.config.ConfigException if there is no such folder
     */
    public static Generation open(ServerConfig config) {
        return open(config, model -> SchedulerListener.NONE);
    }

    /**
     * The same with all weights in place, for measurements: a server brings them over while it is idle, and in its first steps.
     *
     * @param loaded told of the model before its weights are packed, which takes seconds and a line of the log
     */
    public static Generation openPacked(ServerConfig config, Consumer<LoadedModel> loaded) {
        LoadedModel model = ModelLoader.load(config.modelPath(), config.engineConfig());
        loaded.accept(model);
        model.engine().packAll();
        return of(config, model, any -> SchedulerListener.NONE);
    }

    /** @param listener made from the loaded model, whose limits it may want to know */
    public static Generation open(ServerConfig config, Function<LoadedModel, SchedulerListener> listener) {
        return of(config, ModelLoader.load(config.modelPath(), config.engineConfig()), listener);
    }

    private static Generation of(ServerConfig config, LoadedModel model, Function<LoadedModel, SchedulerListener> listener) {
        try {
            return new Generation(model, config.schedulerConfig(model.engine().limits()), listener.apply(model),
                    config.loopOptions());
        } catch (RuntimeException | Error e) {
            model.close();
            throw e;
        }
    }

    public LoadedModel model() {
        return model;
    }

    /** From now on, idle time is used for the weights that loading has left unpacked. */
    public void packWhileIdle() {
        loop.packWhileIdle();
    }

    public GenerationService service() {
        return loop;
    }

    /** Proves the scheduler's invariants (blocks free + used = all); slow, for tests and diagnosis. */
    public void checkIntegrity() {
        loop.checkIntegrity();
    }

    public SchedulerConfig schedulerConfig() {
        return schedulerConfig;
    }

    @Override
    public synchronized void close() {
        if (closed) {
            return;
        }
        closed = true;
        loop.shutdown(Duration.ZERO);
        // A step that does not end still uses the memory: then the process is beyond tidying up.
        if (!loop.status().alive()) {
            model.close();
        }
    }
}
