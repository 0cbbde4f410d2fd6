package io.millrace.server.openai;

/**
 * What generation continues.
 *
 * @param ids  at least one token
 * @param text as the client sent it, or the text of the ids it sent
 */
record Prompt(int[] ids, String text) {}
