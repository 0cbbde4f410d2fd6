/** Foreign libraries behind thin facades: our own CPU kernels today. Knows C headers; must not know models or batches. */
package io.millrace.bindings;
