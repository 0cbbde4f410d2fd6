/**
 * Anthropic's Messages protocol (platform.claude.com/docs/en/api/messages), for clients that speak no other: its requests become chat
 * requests, its answers are written from the same parts. What the model is asked and how it is sampled is the business of {@code openai}.
 */
package io.millrace.server.anthropic;
