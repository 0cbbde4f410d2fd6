/**
 * Settings: declared once in {@link io.millrace.server.config.Settings}, read from flags, variables and a file by
 * {@link io.millrace.server.config.ConfigReader} into one {@link io.millrace.server.config.ServerConfig}. Values only, no threads.
 * Error codes {@code CLI-001} to {@code CLI-006}.
 */
package io.millrace.server.config;
