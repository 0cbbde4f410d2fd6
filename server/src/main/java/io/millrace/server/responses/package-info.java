/**
 * OpenAI's Responses protocol (developers.openai.com/api/reference/resources/responses) without its server-side state: requests become chat
 * requests, answers are written from the same parts. Nothing is stored, so nothing can be continued by its id.
 */
package io.millrace.server.responses;
