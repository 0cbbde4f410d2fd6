/**
 * Text in and out of a model: tokenizers, streaming detokenization and chat templates.
 *
 * <p>Public types: {@link io.millrace.engine.text.Tokenizer} with its implementation {@link io.millrace.engine.text.HfTokenizer},
 * {@link io.millrace.engine.text.IncrementalDecoder}, {@link io.millrace.engine.text.ChatTemplate} with its loader
 * {@link io.millrace.engine.text.ChatTemplates}, {@link io.millrace.engine.text.ChatTemplateException}.
 *
 * <p>Threading: tokenizers and chat templates are shared by all requests; an incremental decoder belongs to one stream.
 *
 * <p>Bounds: a tokenizer.json of 256 MiB, token ids up to 2^20, template sources and renderings as
 * {@link io.millrace.engine.text.jinja} says. Files are untrusted: a hostile one is refused with a coded error.
 *
 * <p>This package must not know requests, HTTP, tensors or model families.
 */
package io.millrace.engine.text;
