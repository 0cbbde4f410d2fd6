/** HTTP, JSON, command line. Must not know kernels or block ids. */
package io.millrace.server;
