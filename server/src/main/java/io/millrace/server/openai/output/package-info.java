/**
 * What a model's text says: content, reasoning and tool calls, told apart while the text arrives. Models write calls in some ten notations
 * ({@link ToolFormat}); clients get them in one. Nothing here knows requests, tokens or HTTP.
 */
package io.millrace.server.openai.output;
