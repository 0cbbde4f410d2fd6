/**
 * The scheduler in virtual time: arrival traces against the real scheduler, with a model of what a step costs in place of a machine.
 *
 * <p>{@link io.millrace.scheduler.simulate.Simulation} runs a {@link io.millrace.scheduler.simulate.Trace} and gives a
 * {@link io.millrace.scheduler.simulate.SimulationResult}; {@link io.millrace.scheduler.simulate.StepCost} says how long a step takes, and
 * {@link io.millrace.scheduler.simulate.CostFit} finds one that fits measured steps, which
 * {@link io.millrace.scheduler.simulate.Calibration} takes on a real engine.
 *
 * <p><b>Threading.</b> One thread. <b>Deterministic:</b> the same trace, options and seed give the same schedule, plan by plan.
 *
 * <p><b>Must not know:</b> files, terminals, HTTP.
 */
package io.millrace.scheduler.simulate;
