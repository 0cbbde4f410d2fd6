"""Byte-level BPE: a trainer, an encoder and a decoder, and the tokenizer.json they correspond to."""
import collections
import heapq
import json
import re
import sys
import unicodedata


def _ranges(initial):
    """The characters of one Unicode major category, as the inside of a character class."""
    out, start = [], None
    for cp in range(sys.maxunicode + 2):
        inside = cp <= sys.maxunicode and unicodedata.category(chr(cp))[0] == initial
        if inside and start is None:
            start = cp
        elif not inside and start is not None:
            out.append(f"\\U{start:08x}-\\U{cp - 1:08x}")
            start = None
    return "".join(out)


_L, _N = _ranges("L"), _ranges("N")
_S = r"\t-\r \x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000"
# GPT-2's pattern: 's|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+
PATTERN = re.compile(rf"'s|'t|'re|'ve|'m|'ll|'d| ?[{_L}]+| ?[{_N}]+| ?[^{_S}{_L}{_N}]+|[{_S}]+(?![^{_S}])|[{_S}]+")


def byte_symbols():
    """GPT-2's table: every byte as a printable character."""
    keep = [*range(ord("!"), ord("~") + 1), *range(0xA1, 0xAC + 1), *range(0xAE, 0xFF + 1)]
    table, extra = {}, 0
    for b in range(256):
        if b in keep:
            table[b] = chr(b)
        else:
            table[b] = chr(256 + extra)
            extra += 1
    return table


BYTES = byte_symbols()
UNBYTES = {c: b for b, c in BYTES.items()}


def to_symbols(word):
    return "".join(BYTES[b] for b in word.encode("utf-8"))


def train(texts, merges_wanted):
    """Returns the list of merges, most valuable first; ties go to the smaller pair."""
    counts = collections.Counter()
    for t in texts:
        counts.update(PATTERN.findall(t))
    words = [(list(to_symbols(w)), n) for w, n in sorted(counts.items())]
    pairs, where = collections.Counter(), collections.defaultdict(set)
    for i, (syms, n) in enumerate(words):
        for p in zip(syms, syms[1:]):
            pairs[p] += n
            where[p].add(i)
    heap = [(-n, p) for p, n in pairs.items()]
    heapq.heapify(heap)
    merges = []
    while len(merges) < merges_wanted and heap:
        n, pair = heapq.heappop(heap)
        if pairs[pair] != -n:
            continue  # an out-of-date entry
        if -n < 2:
            break
        merges.append(pair)
        a, b = pair
        changed = set()
        for i in sorted(where[pair]):
            syms, n = words[i]
            for p in zip(syms, syms[1:]):
                pairs[p] -= n
                changed.add(p)
            new, k = [], 0
            while k < len(syms):
                if k + 1 < len(syms) and syms[k] == a and syms[k + 1] == b:
                    new.append(a + b)
                    k += 2
                else:
                    new.append(syms[k])
                    k += 1
            words[i] = (new, n)
            for p in zip(new, new[1:]):
                pairs[p] += n
                where[p].add(i)
                changed.add(p)
        for p in changed:
            if pairs[p] > 0:
                heapq.heappush(heap, (-pairs[p], p))
    return merges


class Tokenizer:
    def __init__(self, merges, specials):
        self.merges = [tuple(m) for m in merges]
        self.rank = {m: i for i, m in enumerate(self.merges)}
        tokens = [BYTES[b] for b in range(256)] + [a + b for a, b in self.merges] + list(specials)
        self.specials = list(specials)
        self.vocab = {t: i for i, t in enumerate(tokens)}
        assert len(self.vocab) == len(tokens)
        self.tokens = tokens
        self._cache = {}
        self._split = re.compile("(" + "|".join(map(re.escape, specials)) + ")")

    def _word(self, word):
        ids = self._cache.get(word)
        if ids is None:
            syms = list(to_symbols(word))
            while len(syms) > 1:
                r, k = min((self.rank.get(p, 1 << 30), k) for k, p in enumerate(zip(syms, syms[1:])))
                if r == 1 << 30:
                    break
                syms[k:k + 2] = [syms[k] + syms[k + 1]]
            ids = self._cache[word] = [self.vocab[s] for s in syms]
        return ids

    def encode(self, text, specials=True):
        """Ids of a text; special tokens written in it are recognised. Adds no begin token."""
        out = []
        for part in self._split.split(text) if specials else [text]:
            if specials and part in self.specials:
                out.append(self.vocab[part])
            else:
                for w in PATTERN.findall(part):
                    out.extend(self._word(w))
        return out

    def decode(self, ids):
        data = b"".join(b"" if self.tokens[i] in self.specials else bytes(UNBYTES[c] for c in self.tokens[i])
                        for i in ids)
        return data.decode("utf-8", errors="replace")

    def to_json(self, bos):
        level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
        begin = {"SpecialToken": {"id": bos, "type_id": 0}}
        return {
            "version": "1.0", "truncation": None, "padding": None,
            "added_tokens": [{"id": self.vocab[s], "content": s, "single_word": False, "lstrip": False,
                              "rstrip": False, "normalized": False, "special": True} for s in self.specials],
            "normalizer": None, "pre_tokenizer": level,
            "post_processor": {
                "type": "TemplateProcessing",
                "single": [begin, {"Sequence": {"id": "A", "type_id": 0}}],
                "pair": [begin, {"Sequence": {"id": "A", "type_id": 0}},
                         {"SpecialToken": {"id": bos, "type_id": 1}}, {"Sequence": {"id": "B", "type_id": 1}}],
                "special_tokens": {bos: {"id": bos, "ids": [self.vocab[bos]], "tokens": [bos]}}},
            "decoder": level,
            "model": {"type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None,
                      "end_of_word_suffix": None, "fuse_unk": False, "byte_fallback": False,
                      "ignore_merges": False, "vocab": self.vocab,
                      "merges": [f"{a} {b}" for a, b in self.merges]}}

    def save(self, path, bos):
        with open(path, "w", encoding="utf-8") as f:
            json.dump(self.to_json(bos), f, ensure_ascii=False, indent=1)
            f.write("\n")
