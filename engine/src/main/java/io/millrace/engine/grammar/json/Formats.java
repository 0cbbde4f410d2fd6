package io.millrace.engine.grammar.json;

import java.util.Map;

/**
 * Regular expressions of the formats that are kept to, each for the whole text and a little narrower than its standard where programs differ
 * (offsets of time zones that exist, at most three labels of a host name). Others are annotations, as JSON Schema has it.
 */
final class Formats {
    private static final String DATE = "(\\d{4}-(((0[13578]|1[02])-(0[1-9]|[12]\\d|3[01]))|((0[469]|11)-(0[1-9]|[12]\\d|30))|(02-(0[1-9]|1\\d|2[0-8])))"
            + "|(\\d\\d(0[48]|[2468][048]|[13579][26])|([02468][048]|[13579][26])00)-02-29)";
    private static final String TIME = "([01]\\d|2[0-3]):[0-5]\\d:[0-5]\\d(\\.\\d{1,9})?([Zz]|[+-]((0\\d|1[0-3]):[0-5]\\d|14:00))";
    private static final String OCTET = "(25[0-5]|2[0-4]\\d|1\\d\\d|[1-9]?\\d)";
    private static final String IPV4 = OCTET + "(\\." + OCTET + "){3}";
    private static final String H = "[0-9A-Fa-f]{1,4}";
    private static final String LS32 = "(" + H + ":" + H + "|" + IPV4 + ")";
    private static final String IPV6 = "((" + H + ":){6}" + LS32 + "|::(" + H + ":){5}" + LS32 + "|(" + H + ")?::(" + H + ":){4}" + LS32
            + "|((" + H + ":){0,1}" + H + ")?::(" + H + ":){3}" + LS32 + "|((" + H + ":){0,2}" + H + ")?::(" + H + ":){2}" + LS32
            + "|((" + H + ":){0,3}" + H + ")?::" + H + ":" + LS32 + "|((" + H + ":){0,4}" + H + ")?::" + LS32
            + "|((" + H + ":){0,5}" + H + ")?::" + H + "|((" + H + ":){0,6}" + H + ")?::)";
    private static final String LABEL = "[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?";
    private static final String HOSTNAME = LABEL + "(\\." + LABEL + "){0,2}";
    private static final String ATOM = "[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]{1,31}";
    private static final String URI_CHAR = "([A-Za-z0-9._~!$&'()*+,;=:@/-]|%[0-9A-Fa-f]{2})";
    private static final String DURATION_TIME = "T(\\d+H(\\d+M(\\d+S)?)?|\\d+M(\\d+S)?|\\d+S)";

    private static final Map<String, String> BY_NAME = Map.ofEntries(Map.entry("date", DATE), Map.entry("time", TIME),
            Map.entry("date-time", DATE + "[Tt]" + TIME),
            Map.entry("duration", "P((\\d+Y(\\d+M(\\d+D)?)?|\\d+M(\\d+D)?|\\d+D)(" + DURATION_TIME + ")?|" + DURATION_TIME + "|\\d+W)"),
            Map.entry("uuid", "[0-9A-Fa-f]{8}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{12}"), Map.entry("ipv4", IPV4),
            Map.entry("ipv6", IPV6), Map.entry("hostname", HOSTNAME), Map.entry("email", ATOM + "(\\." + ATOM + ")?@" + LABEL + "(\\." + LABEL + ")?\\.[A-Za-z]{2,10}"),
            Map.entry("uri", "[A-Za-z][A-Za-z0-9+.-]*:(//" + HOSTNAME + "(:\\d{1,5})?(/" + URI_CHAR + "*)?|[A-Za-z0-9]" + URI_CHAR + "*)(\\?(" + URI_CHAR
                    + "|\\?)*)?(#" + URI_CHAR + "*)?"));

    private Formats() {}

    /** Null for a format that is only an annotation. */
    static String regex(String name) {
        return BY_NAME.get(name);
    }
}
