/** Pulses, metrics, detectors. A leaf: depends on no other module. */
package io.millrace.telemetry;
