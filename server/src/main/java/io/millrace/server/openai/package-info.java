/**
 * The OpenAI protocol without HTTP: request bodies to {@link io.millrace.engine.SamplingParams}, tokens to response JSON.
 *
 * <p>Unknown fields are ignored, fields that would change the answer but are not supported are refused by name. Must not know sockets
 * or the HTTP server.
 */
package io.millrace.server.openai;
