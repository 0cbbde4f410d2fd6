/** What people read: log lines, numbers, tables, progress. Knows nothing of models and requests. */
package io.millrace.server.console;
