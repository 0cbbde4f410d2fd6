/**
 * Measuring: load over HTTP against any server with OpenAI's API, and speed of the engine in this process. Results are records with
 * stable snake_case JSON keys, described in docs/bench.md. Knows no flags and prints nothing.
 */
package io.millrace.server.bench;
