package io.millrace.engine;

import java.util.Optional;

/** Another engine, every call passed on: to be overridden where something is to be measured, or to fail. */
public abstract class ForwardingEngine implements Engine {
    protected final Engine engine;

    protected ForwardingEngine(Engine engine) {
        this.engine = engine;
    }

    @Override
    public EngineLimits limits() {
        return engine.limits();
    }

    @Override
    public String kvCacheDtype() {
        return engine.kvCacheDtype();
    }

    @Override
    public Optional<ModelWork> work() {
        return engine.work();
    }

    @Override
    public long bytesToPack() {
        return engine.bytesToPack();
    }

    @Override
    public boolean packSome() {
        return engine.packSome();
    }

    @Override
    public void begin(Sequence sequence) {
        engine.begin(sequence);
    }

    @Override
    public void end(Sequence sequence) {
        engine.end(sequence);
    }

    @Override
    public StepResult execute(StepPlan plan) {
        return engine.execute(plan);
    }

    @Override
    public int maxStepsInFlight() {
        return engine.maxStepsInFlight();
    }

    @Override
    public long submit(StepPlan plan) {
        return engine.submit(plan);
    }

    @Override
    public StepResult await(long ticket) {
        return engine.await(ticket);
    }

    @Override
    public long runnerThreadId() {
        return engine.runnerThreadId();
    }

    @Override
    public String position() {
        return engine.position();
    }

    @Override
    public void close() {
        engine.close();
    }
}
