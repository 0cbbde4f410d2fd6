package io.millrace.engine.text.jinja;

import java.util.HashMap;
import java.util.Map;

/** {@code namespace()}: the one object whose attributes a template may set, so that a loop can carry something out. */
final class Namespace {
    final Map<String, Object> attributes = new HashMap<>();
}
