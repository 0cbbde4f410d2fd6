package io.millrace.engine.text.jinja;

import java.util.List;

/** The {@code loop} variable. */
final class Loop {
    private final List<?> items;
    private final int depth;
    /** Null unless the loop is recursive: renders the body over other items, one level deeper. */
    private final Callable recursion;
    private final Budget budget;
    private int index = -1;
    private Object lastChanged = Args.MISSING;

    Loop(List<?> items, int depth, Callable recursion, Budget budget) {
        this.items = items;
        this.depth = depth;
        this.recursion = recursion;
        this.budget = budget;
    }

    void advance() {
        index++;
    }

    int length() {
        return items.size();
    }

    int depth() {
        return depth;
    }

    Callable recursion() {
        if (recursion == null) {
            throw JinjaException.type("The loop must have the 'recursive' marker to be called recursively.");
        }
        return recursion;
    }

    /** {@link Args#MISSING} for a name that loops do not have. */
    Object attribute(String name) {
        return switch (name) {
            case "index" -> index + 1L;
            case "index0" -> (long) index;
            case "revindex" -> (long) items.size() - index;
            case "revindex0" -> items.size() - index - 1L;
            case "first" -> index == 0;
            case "last" -> index == items.size() - 1;
            case "length" -> (long) items.size();
            case "depth" -> depth + 1L;
            case "depth0" -> (long) depth;
            case "previtem" -> index > 0 ? items.get(index - 1) : Undefined.attribute(this, "previtem");
            case "nextitem" -> index + 1 < items.size() ? items.get(index + 1) : Undefined.attribute(this, "nextitem");
            case "cycle" -> (Callable) args -> {
                if (args.positional().isEmpty()) {
                    throw JinjaException.type("no items for cycling given");
                }
                return args.positional().get(index % args.positional().size());
            };
            case "changed" -> (Callable) args -> {
                Object current = new Tuple(args.positional());
                boolean changed = lastChanged == Args.MISSING || !Values.equal(lastChanged, current, budget);
                lastChanged = current;
                return changed;
            };
            default -> Args.MISSING;
        };
    }
}
