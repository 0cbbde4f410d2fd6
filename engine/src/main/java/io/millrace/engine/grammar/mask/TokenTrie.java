package io.millrace.engine.grammar.mask;

import java.util.Arrays;

/**
 * Tokens by their bytes as a trie in depth-first order: a node's subtree is the range of nodes up to its {@link #end}, so a walk that turns
 * away from a subtree jumps, and one that goes in just goes on. Immutable.
 */
final class TokenTrie {
    private byte[] label = new byte[1024];
    private byte[] depth = new byte[1024];
    private int[] end = new int[1024];
    /** Into {@link #ids}: tokens that end at the node. */
    private int[] firstToken = new int[1025];
    private final int[] ids;
    private int numNodes;

    /** @param sorted ids in the order of their bytes; tokens of more than 127 bytes are left out */
    TokenTrie(byte[][] bytes, int[] sorted) {
        ids = new int[sorted.length];
        int numIds = 0;
        int[] path = new int[128];
        byte[] before = new byte[0];
        for (int id : sorted) {
            byte[] token = bytes[id];
            if (token.length > Byte.MAX_VALUE) {
                continue;
            }
            int mismatch = Arrays.mismatch(before, token);
            int common = mismatch < 0 ? token.length : mismatch;
            for (int d = before.length; d > common; d--) {
                end[path[d]] = numNodes;
            }
            for (int d = common; d < token.length; d++) {
                path[d + 1] = add(token[d], d + 1, numIds);
            }
            ids[numIds++] = id;
            firstToken[path[token.length] + 1] = numIds;
            before = token;
        }
        for (int d = before.length; d > 0; d--) {
            end[path[d]] = numNodes;
        }
        label = Arrays.copyOf(label, numNodes);
        depth = Arrays.copyOf(depth, numNodes);
        end = Arrays.copyOf(end, numNodes);
        firstToken = Arrays.copyOf(firstToken, numNodes + 1);
    }

    private int add(byte b, int nodeDepth, int numIds) {
        if (numNodes == label.length) {
            label = Arrays.copyOf(label, 2 * numNodes);
            depth = Arrays.copyOf(depth, 2 * numNodes);
            end = Arrays.copyOf(end, 2 * numNodes);
            firstToken = Arrays.copyOf(firstToken, 2 * numNodes + 1);
        }
        label[numNodes] = b;
        depth[numNodes] = (byte) nodeDepth;
        firstToken[numNodes] = numIds;
        firstToken[numNodes + 1] = numIds;
        return numNodes++;
    }

    int numNodes() {
        return numNodes;
    }

    int label(int node) {
        return label[node] & 0xFF;
    }

    /** 1 for the first byte of a token. */
    int depth(int node) {
        return depth[node];
    }

    int end(int node) {
        return end[node];
    }

    int firstToken(int node) {
        return firstToken[node];
    }

    int id(int token) {
        return ids[token];
    }
}
