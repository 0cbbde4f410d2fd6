/**
 * The HTTP front end: connections, routes, keys, server-sent events.
 *
 * <p>Public: {@link io.millrace.server.http.HttpServer}, {@link io.millrace.server.http.HttpServerConfig},
 * {@link io.millrace.server.http.MetricsSource}. Each connection has one virtual thread that parses, validates, tokenizes, submits and
 * writes; a second one, alive only while an answer is being computed, notices that the client went away. The engine thread hands
 * tokens over without ever waiting for a client. Must not know kernels, block ids or the command line.
 */
package io.millrace.server.http;
