/**
 * A model that generates, without HTTP: {@link io.millrace.server.serving.Generation} owns model and engine thread,
 * {@link io.millrace.server.serving.TokenStream} hands one request's tokens to one reader.
 */
package io.millrace.server.serving;
