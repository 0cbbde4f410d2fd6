package io.millrace.engine.text.jinja;

/** A string marked safe, which only matters when something is added to it: that is then escaped, as in MarkupSafe. */
record Markup(String text) {
    static String escape(String text) {
        return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace("'", "&#39;").replace("\"", "&#34;");
    }

    @Override
    public String toString() {
        return text;
    }
}
