package io.millrace.engine.grammar.mask;

import io.millrace.engine.grammar.automaton.CharMachine;
import io.millrace.engine.grammar.machine.State;
import java.util.Arrays;

/**
 * Which tokens may follow a {@link State}: a walk of the vocabulary's trie over the machine. Where plain text of any length, or of a known
 * length, may follow, the plain tokens come from a ready mask and only the others are walked; the split into tokens that do and do not
 * depend on context is XGrammar's idea (arXiv 2411.15100). Stateless but for a stack; one thread at a time.
 */
final class MaskBuilder {
    /** Units of work (steps of stacks) for one mask's walk, some milliseconds. Beyond it tokens are missing, none is wrong. */
    private static final long MAX_WORK = 150_000;
    /** For single bytes after a walk that was given up. */
    private static final long MAX_MORE_WORK = 50_000;

    private final ByteVocabulary vocabulary;
    private final State[] path = new State[129];

    MaskBuilder(ByteVocabulary vocabulary) {
        this.vocabulary = vocabulary;
    }

    /** Bit id % 64 of word id / 64. End tokens are not in it. */
    long[] build(State state) {
        long[] mask;
        int run = state.isFree() ? CharMachine.UNLIMITED : state.exactRun();
        TokenTrie trie;
        if (run > 0) {
            mask = vocabulary.plainUpTo(run).clone();
            trie = vocabulary.notPlain();
        } else {
            mask = new long[vocabulary.numWords()];
            trie = vocabulary.all();
        }
        if (state.continues() && !walk(state, trie, mask)) {
            addSingleBytes(state, mask);
        }
        return mask;
    }

    /** @return false if it was given up */
    private boolean walk(State state, TokenTrie trie, long[] mask) {
        long limit = state.work() + MAX_WORK;
        path[0] = state;
        try {
            int node = 0;
            while (node < trie.numNodes()) {
                int depth = trie.depth(node);
                State to = path[depth - 1].step(trie.label(node));
                if (state.work() > limit) {
                    return false;
                }
                if (to == State.DEAD) {
                    node = trie.end(node);
                    continue;
                }
                path[depth] = to;
                for (int t = trie.firstToken(node); t < trie.firstToken(node + 1); t++) {
                    int id = trie.id(t);
                    mask[id >>> 6] |= 1L << id;
                }
                node++;
            }
            return true;
        } finally {
            Arrays.fill(path, null);
        }
    }

    /** What can go on can go on by one byte; those that most texts are made of come first. */
    private void addSingleBytes(State state, long[] mask) {
        long limit = state.work() + MAX_MORE_WORK;
        for (int i = 0; i < 256 && state.work() <= limit; i++) {
            int b = i + ' ' & 0xFF;
            int id = vocabulary.single(b);
            if (id >= 0 && state.step(b) != State.DEAD) {
                mask[id >>> 6] |= 1L << id;
            }
        }
    }
}
