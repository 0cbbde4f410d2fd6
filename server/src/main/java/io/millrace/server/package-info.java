/**
 * The program: {@link io.millrace.server.Main} starts one of the commands in {@code cli}, which read a
 * {@link io.millrace.server.config.ServerConfig}, load a model, start the engine thread and the HTTP server. Settings are declared once in
 * {@link io.millrace.server.config.Settings}; flags, YAML keys, environment variables and help are made from that table.
 *
 * <p>Knows of no kernel, tensor or block id.
 */
package io.millrace.server;
