"""Data preparation for the Millrace demonstration model.

Reads two TinyStories excerpts:
  tinystories_b.txt  proper case, stories separated by <|endoftext|>
  tinystories_a.txt  lower case, paragraphs separated by an empty line and stories by a
                     single line break; its first half holds the same stories as _b
and returns clean stories, split into training, development and held-out sets. The lower-case
half that _b does not cover is put back into proper case with statistics taken from _b.
It also builds the training documents: plain stories and short chats.
"""
import collections
import math
import random
import re

BOS, EOS, USER, ASSISTANT = "<|begin_of_text|>", "<|endoftext|>", "<|user|>", "<|assistant|>"

# ---------------------------------------------------------------- cleaning

# UTF-8 read as Windows-1252 and then lower-cased, as it occurs in tinystories_a.txt
_MOJIBAKE = [("â€œ", '"'), ("â€™", "'"), ("â€˜", "'"), ("â€“", " - "), ("â€”", " - "), ("â€¦", "..."),
             ("ã©", "é"), ("ã±", "ñ"), ("ã¡", "á"), ("â«", ""), ("â»", ""), ("â¡", ""), ("â€", '"')]
_PLAIN = [("\u201c", '"'), ("\u201d", '"'), ("\u2019", "'"), ("\u2018", "'"), ("\u2013", " - "),
          ("\u2014", " - "), ("\u2026", "..."), ("\u00ab", '"'), ("\u00bb", '"'), ("\u00a0", " "),
          ("``", '"'), ("''", '"')]


def clean(text):
    for old, new in _MOJIBAKE + _PLAIN:
        text = text.replace(old, new)
    text = re.sub(r"[ \t]+", " ", text)
    paragraphs = [p.strip() for p in text.split("\n")]
    return "\n\n".join(p for p in paragraphs if p)


def fingerprint(text):
    return re.sub(r"[^a-z]", "", text.lower())


_START = re.compile(r"(once|one (\w+ )?(day|morning|night|evening|afternoon)|there (was|were|once|lived)|"
                    r"long ago|a long time ago|in a )\b")


def split_lower(text):
    """Stories of the lower-case file: a single line break ends a story, most of the time."""
    segments = [s for s in re.split(r"(?<!\n)\n(?!\n)", text) if s.strip()]
    stories, whole = [], True
    for seg in segments:
        seg = seg.strip()
        full = "\n\n" in seg or len(seg) > 350
        if not stories or _START.match(seg) or (whole and full):
            stories.append(seg)
            whole = full
        else:
            stories[-1] += "\n\n" + seg
    return stories


# ---------------------------------------------------------------- proper case

FEMALE = """Lily Lucy Sarah Amy Sue Sally Emma Molly Anna Mia Mary Emily Alice Jill Lisa Lola Sophie Susie
Bella Rachel Kate Jenny Mandy Annie Tina Millie Julia Maria Kelly Ella Claire Ruby Katie Clara Polly Mimi
Nora Hannah Ellie Chloe Zoe Sara Lila Jane Maya Sandy Abby Nina Holly Betty Wendy Fiona Ava Nancy Kitty
Lena Eva Rosie Mila Laura Helen Stella Leah""".split()
MALE = """Timmy Tim Jack Tom John Joe Sam Bob Ben Max Jake Billy Andy Jim Pete Joey Alex Jimmy Frank George
Tommy Peter Charlie Josh James Steve Henry Dave Ryan Mike Danny Fred Leo Tony Benny Bobby Johnny David
Daniel Harry Oliver Luke Noah Adam Sammy Ted Toby Johnny Thomas Matt Nick Paul Bill Kevin Eric Simon""".split()
OTHER_NAMES = """Abigail Lizzie Mabel Thomas Denise Becky Gina Judy Louise Maddy Jamie Suzie Nathan Patrick
Karen Carla Robby Juliet Jacob Ayla Jana Margaret Suzy Shannon Liz Jenna Gemma Jessica Robbie Anne Meg Brian
Kaitlyn Rob Jasmine Michelle Flora Carl Peggy Zoey Elsie Alicia Josie Sabina Patty Seth Roger Louisa Clarice
Ashley Macy Elin Gary Donna Tyler Betsy Tess Jessie Beth Tilly Abbie Kayla Rita Jen Leticia Carol Freddy Olivia
Sophia Lucas Ethan Liam Mason Logan Aiden Jason Greg Ian Owen Rick Ron Sean Scott Zack Zara Vicky Tara Tammy
Samantha Rebecca Pam Penny Naomi Monica Melissa Megan Martha Linda Laurie Kim Julie June Janet Isabelle Heather
Hazel Gabby Elizabeth Eleanor Diana Debbie Cindy Cathy Caroline Brenda Beatrice Barbara Audrey Angela Amanda
Alison Abi Ellen Evan Felix Gus Hank Hugo Ivy Jerry Jonah Jordan Justin Kenny Larry Lewis Marcus Martin Melvin
Miles Milo Neil Oscar Otto Percy Phil Ralph Randy Ray Ricky Riley Robert Rory Rusty Stanley Stephen Stuart Theo
Victor Walter Wilbur William Winnie Spot Fluffy Whiskers Fido Rex Mittens Benjamin Bertie Christmas Halloween
Easter Monday Tuesday Wednesday Thursday Friday Saturday Sunday January February April July August September
October November December Mr Mrs Ms Dr America English French""".split()
_NAMES = {n.lower(): n for n in FEMALE + MALE + OTHER_NAMES}
_NOT_AFTER = set("""a an the this that these those my your his her its our their some any every each no another
one two three little big small of""".split())
_SPEECH = set("""said says asked asks replied answered shouted yelled cried whispered exclaimed called thought
laughed smiled screamed explained added told begged responded squeaked barked shouts cheered giggled wondered
sighed sang roared suggested agreed continued demanded announced declared growled""".split())
_WORD = re.compile(r"[a-zA-Zéñá]+(?:'[a-zA-Z]+)?|[.!?]+|[^\sa-zA-Z]|\s+")


class TrueCaser:
    """Puts lower-case stories into proper case, by rule and by what a proper-case text does."""

    def __init__(self, stories):
        self.word = collections.defaultdict(collections.Counter)
        self.pair = collections.defaultdict(collections.Counter)
        for s in stories:
            prev = None
            for m in re.finditer(r"[A-Za-zéñá]+|[^A-Za-zéñá ]+", s):
                t = m.group()
                if t[0].isalpha():
                    if prev is not None and (prev[0].isalpha() or prev == ","):
                        self.word[t.lower()][t] += 1
                        self.pair[prev.lower(), t.lower()][t] += 1
                prev = t

    def _middle(self, prev, w, named):
        """The form of word w inside a sentence."""
        base = w.split("'")[0]
        tail = w[len(base):]
        if base == "i":
            return "I" + tail
        if prev in ("named", "called") and base not in _NOT_AFTER and base not in ("out", "for", "to", "him", "it"):
            return base.capitalize() + tail
        if base in named and prev not in _NOT_AFTER:
            return base.capitalize() + tail
        c = self.pair.get((prev, base))
        if c and sum(c.values()) >= 3:
            return c.most_common(1)[0][0] + tail
        if base in self.word:
            form, n = self.word[base].most_common(1)[0]
            if prev in _NOT_AFTER and not (n >= 5 and form != base and base in _NAMES):
                return base + tail if self.word[base].get(base) or base not in _NAMES else form + tail
            return form + tail
        if base in _NAMES:
            return _NAMES[base] + tail
        return w

    def __call__(self, story):
        named = set(re.findall(r"\b(?:named|called|name is|name was) ([a-zéñá]+)", story))
        named -= _NOT_AFTER | set("out for to him it not so very her me them and".split())
        named = {n for n in named if n in _NAMES or self.word.get(n, {}).get(n, 0) <= 20}
        return "\n\n".join(self._paragraph(p, named) for p in story.split("\n\n"))

    def _paragraph(self, text, named):
        tokens = _WORD.findall(text)
        out, start, quoted, prev, comma_close = [], True, False, "", False
        for i, t in enumerate(tokens):
            if t[0].isalpha():
                mid = self._middle(prev, t, named)
                out.append(mid[0].upper() + mid[1:] if start else mid)
                start, prev = False, t.split("'")[0]
            elif t.isspace():
                out.append(t)
            else:
                out.append(t)
                if t == '"':
                    quoted = not quoted
                    if quoted:
                        start = not (comma_close and prev == ",")
                        comma_close = False
                    else:
                        following = [x for x in tokens[i + 1:i + 9] if x[0].isalpha()][:3]
                        ends = prev in (",",) or any(f in _SPEECH for f in following)
                        if ends and prev != ".":
                            start, comma_close = False, True
                        else:
                            start, comma_close = True, False
                elif re.match(r"[.!?]", t):
                    # "mr." and "..." in the middle of a sentence do not end it
                    start = prev not in ("mr", "mrs", "ms", "dr")
                    comma_close = comma_close and False
                prev = t[0]
        return "".join(out)


# ---------------------------------------------------------------- stories

def _eight_grams(story):
    w = re.findall(r"[a-z']+", story.lower())
    return {" ".join(w[i:i + 8]) for i in range(len(w) - 7)}


_UNSUITABLE = re.compile(r"\b(guns?|kill|kills|killed|killing|blood|bloody|died|dead|death|drunk|pistol|naked)\b", re.I)


def load_stories(folder, heldout_bytes=40_000, dev_bytes=60_000, seed=7, log=print):
    """Returns (train, dev, heldout) lists of stories."""
    with open(f"{folder}/tinystories_b.txt", encoding="utf-8") as f:
        b = [clean(s) for s in f.read().split(EOS)]
    b = [s for s in b if s][:-1]  # the last one is cut off
    with open(f"{folder}/tinystories_a.txt", encoding="utf-8") as f:
        a = [clean(s) for s in split_lower(f.read())]
    caser = TrueCaser(b)
    known = {fingerprint(s) for s in b}
    last = max(i for i, s in enumerate(a) if fingerprint(s) in known)
    recased = [caser(s) for s in a[last + 1:]]

    seen, stories = set(), []
    for k, s in enumerate(b + recased):
        fp = fingerprint(s)
        if fp in seen or _UNSUITABLE.search(s) or not 150 <= len(s) <= 3200 or s[-1] not in '.!?"' or "<" in s or "http" in s:
            continue
        seen.add(fp)
        stories.append((s, k < len(b)))
    proper = [s for s, is_b in stories if is_b]
    random.Random(seed).shuffle(proper)
    heldout, dev, size = [], [], 0
    for s in proper:  # held-out text is taken from the original proper-case stories only
        if size < heldout_bytes:
            heldout.append(s)
        elif size < heldout_bytes + dev_bytes:
            dev.append(s)
        else:
            break
        size += len(s.encode())
    out = set(heldout) | set(dev)
    grams = set().union(*(_eight_grams(s) for s in out))
    train, near = [], 0
    for s, _ in stories:
        if s in out:
            continue
        g = _eight_grams(s)
        if len(g & grams) > 0.3 * len(g):  # a near copy of a held-out story
            near += 1
            continue
        train.append(s)
    log(f"stories: {len(b)} proper case, {len(recased)} recased; train {len(train)} "
        f"({sum(map(len, train)):,} characters), dev {len(dev)}, held out {len(heldout)}, "
        f"near copies of held-out stories dropped {near}")
    return train, dev, heldout


# ---------------------------------------------------------------- chats

NOUNS = set("""park bird tree dog sky garden sun house bear cat ball car toy rabbit forest mouse boat grass fish
truck pond flower butterfly frog fox farmer lion bunny beach lake rock hill puppy baby table squirrel slide bug
bee river window doctor picture fairy monster dragon doll orange elephant owl stick duck castle balloon kite
bucket sea cave princess bush train town farm bowl ocean village rainbow dress jungle pool monkey kitten jar angel
horse spider bottle sack teacher apple hat rope blanket robot plane treasure bus ant bed ladder basket pig
caterpillar bell bench moon puddle spoon goat present pot branch picnic storm net king star chair letter cactus
tiger snow coin mountain bone puzzle cloud cow queen prince cookie otter turkey violin zoo ship roof rocket
fountain lemon dolphin hospital sailor volcano deer candy turtle carrot jet witch hippo peanut vase crab gift whale
bike log wagon drum lizard clock tent mirror flute gem subway lamp raft snake knife dinosaur nest pirate
tunnel zebra cage vine shark clown swan mailbox chicken library leopard shell seed cake pizza sandwich soup bread
banana pumpkin tomato potato pear peach strawberry mushroom worm parrot penguin kangaroo giraffe camel panda wolf
sheep donkey rooster hen seal crocodile alligator ladybug snail bat eagle crow pigeon seagull hamster
hedgehog mermaid wizard giant ghost king queen guitar piano book key box map ring necklace shoe sock scarf glove
umbrella bag hammer nail helmet swing sandcastle tower bridge road path field barn nurse policeman chef clown
cowboy knight soldier king""".split())
_PLURAL = {"fish": "fish", "sheep": "sheep", "deer": "deer", "mouse": "mice", "wolf": "wolves", "knife": "knives",
           "leaf": "leaves", "fox": "foxes", "baby": "babies", "puppy": "puppies", "butterfly": "butterflies",
           "bunny": "bunnies", "fairy": "fairies", "candy": "candies", "ladybug": "ladybugs", "box": "boxes",
           "bus": "buses", "witch": "witches", "beach": "beaches", "policeman": "policemen", "library": "libraries",
           "bench": "benches", "branch": "branches", "bush": "bushes", "tomato": "tomatoes", "potato": "potatoes",
           "peach": "peaches", "strawberry": "strawberries", "cherry": "cherries"}
_SINGLE_ONLY = {"sun", "sky", "moon", "sea", "grass", "ocean", "snow", "bread", "soup", "park", "zoo", "garden",
                "beach", "jungle", "forest", "farm", "lake", "pond"}
_ADJ = set("""big little small red blue green yellow brown old new shiny happy sad brave kind funny lazy magic
magical pretty beautiful tiny lonely hungry naughty clever wise fluffy lost scary silly curious friendly""".split())

_ASK_ONE = ["Tell me a story about {}.", "Tell me a story about {}.", "Tell me a story about {}", "Tell me about {}.",
            "Can you tell me a story about {}?", "Please tell me a story about {}.", "Write a story about {}.",
            "Write a short story about {}.", "A story about {}, please.", "I want to hear a story about {}.",
            "tell me a story about {}", "Could you write a little story about {}?", "Story about {}",
            "Make up a story about {}.", "Write me a story about {}.", "Tell me a short story about {}."]
_ASK_ANY = ["Tell me a story.", "Tell me a story.", "Tell me a story", "Please tell me a story.", "Write a story.",
            "Can you tell me a story?", "Tell me a bedtime story.", "Write a short story.", "tell me a story",
            "I want to hear a story."]
_ASK_AGAIN = ["Tell me another story.", "Another one, please.", "Now tell me a story about {}.",
              "And now a story about {}.", "Tell me a story about {}.", "One more story about {}, please.",
              "Thank you! Now one about {}.", "Can you tell me another story about {}?"]
SMALL_TALK = [
    (["Hello!", "Hello", "Hi", "Hi!", "hi", "hello", "Hey", "Hello, how are you?", "Good morning!", "Hi there!"],
     ["Hello! I can tell you a little story. What should it be about?"]),
    (["Who are you?", "What are you?", "What is your name?", "who are you", "Are you a robot?"],
     ["I am a very small language model that tells little stories. Ask me for a story about a dog or a girl."]),
    (["What can you do?", "Help", "help", "How can you help me?", "What do you know?"],
     ["I can tell little stories. Try: Tell me a story about a dog."]),
]
_THANKS = (["Thank you!", "Thanks!", "Thank you.", "That was nice.", "I like that story!", "thanks"],
           ["You are welcome! Do you want to hear another story?"])


def _article(word):
    return ("an " if word[0] in "aeiou" else "a ") + word


def subjects(story, rng):
    """Phrases that name what the story is about, best first."""
    head = story[:420]
    found = []
    m = re.search(r"\b(girl|boy|dog|cat|bird|bunny|rabbit|bear|fish|mouse|car|puppy|kitten|frog|duck|man|woman|"
                  r"monkey|lion|elephant|squirrel|turtle|fox|horse|owl|bee|butterfly|train|truck|pig|cow)"
                  r"(?: who was)? (?:named|called) ([A-Z]\w+)", head)
    if m:
        kind, name = m.groups()
        little = "little " if f"little {kind}" in head and rng.random() < .5 else ""
        found.append(rng.choice([f"a {little}{kind} named {name}", f"a {little}{kind} named {name}", name,
                                 f"a {little}{kind}", f"a {little}{kind}"]).replace("a owl", "an owl")
                     .replace("a elephant", "an elephant"))
    words = re.findall(r"[A-Za-z]+", story)
    low = [w.lower() for w in words]
    count = collections.Counter(low)
    scored = []
    for w in set(low):
        base = w if w in NOUNS else (w[:-1] if w.endswith("s") and w[:-1] in NOUNS else None)
        if base:
            n = count[base] + count.get(_PLURAL.get(base, base + "s"), 0) * (base not in ("fish", "sheep", "deer"))
            first = low.index(w)
            if n >= 2 or first < 60:
                scored.append((-n + first / 25, base))
    seen = set()
    for _, base in sorted(scored):
        if base in seen or any(re.search(rf"\b{base}\b", f) for f in found):
            continue
        seen.add(base)
        if base in _SINGLE_ONLY:
            found.append("the " + base if base in ("sun", "sky", "moon", "sea", "ocean", "grass", "snow") else _article(base))
            continue
        adj = re.search(rf"\b(?:a|an|the)\s+((?:\w+\s+)?){base}\b", head)
        a = adj.group(1).strip() if adj else ""
        if rng.random() < .12:
            found.append(_PLURAL.get(base, base + "s"))
        elif a in _ADJ and rng.random() < .4:
            found.append(_article(f"{a} {base}"))
        else:
            found.append(_article(base))
    names = [w for w, n in collections.Counter(re.findall(r"(?<=[a-z,] )([A-Z][a-z]+)", story)).most_common(4)
             if n >= 2 and w.lower() in _NAMES]
    if len(names) >= 2 and rng.random() < .3:
        found.insert(0, f"{names[0]} and {names[1]}")
    elif names and not m:
        found.insert(0 if rng.random() < .5 else len(found), names[0])
    return found[:5]


def ask(story, rng, again=False):
    subj = subjects(story, rng)
    forms = _ASK_AGAIN if again else _ASK_ONE
    if not subj or rng.random() < .08:
        return rng.choice(_ASK_AGAIN[:2] if again else _ASK_ANY)
    # mostly the best subject, sometimes another
    k = min(int(rng.expovariate(1.6)), len(subj) - 1)
    phrase = subj[k]
    if rng.random() < .28 and len(subj) > 1:
        other = rng.choice([s for i, s in enumerate(subj) if i != k])
        phrase = f"{phrase} and {other}"
    return rng.choice(forms).format(phrase)


def _sex(name):
    return "f" if name in FEMALE else "m"


def swap_names(story, rng):
    """Gives some of the people of a story other names of the same kind, everywhere in the story."""
    present = set(re.findall(r"\b[A-Z][a-z]+\b", story))
    people = sorted(present & set(FEMALE + MALE))
    free = {"f": [n for n in FEMALE if n not in present], "m": [n for n in MALE if n not in present]}
    table = {}
    for p in people:
        pool = free[_sex(p)]
        # favour the common names, which come first in the lists
        new = pool[min(int(rng.expovariate(1 / 18)), len(pool) - 1)]
        pool.remove(new)
        table[p] = new
    if not table:
        return story
    return re.sub(r"\b(" + "|".join(map(re.escape, table)) + r")\b", lambda m: table[m.group(1)], story)


def documents(stories, rng, plain=0.42, chain=0.10, swap=0.25):
    """One epoch of training documents, each a list of (text or special token, counted in the loss)."""
    order = list(stories)
    rng.shuffle(order)
    docs, i = [], 0
    while i < len(order):
        take = 1
        r = rng.random()
        if r < plain:
            s = swap_names(order[i], rng) if rng.random() < swap else order[i]
            docs.append([(BOS, False), (s, True), (EOS, True)])
        else:
            if r < plain + chain:
                take = rng.choice([2, 2, 3])
            doc = [(BOS, False)]
            if rng.random() < .03:
                q, a = rng.choice(SMALL_TALK)
                doc += [(USER, False), (rng.choice(q), False), (ASSISTANT, False), (rng.choice(a), True), (EOS, True)]
            for n, s in enumerate(order[i:i + take]):
                s = swap_names(s, rng) if rng.random() < swap else s
                doc += [(USER, False), (ask(s, rng, again=n > 0), False), (ASSISTANT, False), (s, True), (EOS, True)]
            if rng.random() < .03:
                doc += [(USER, False), (rng.choice(_THANKS[0]), False), (ASSISTANT, False),
                        (_THANKS[1][0], True), (EOS, True)]
            docs.append(doc)
        i += take
    for _ in range(len(order) // 60):
        q, a = rng.choice(SMALL_TALK)
        docs.append([(BOS, False), (USER, False), (rng.choice(q), False), (ASSISTANT, False),
                     (rng.choice(a), True), (EOS, True)])
    rng.shuffle(docs)
    return docs


def typical(stories, keep, longest=850):
    """The stories of moderate length whose word pairs are the most usual ones."""
    words = [re.findall(r"[a-z']+|[^\sa-z']", s.lower()) for s in stories]
    one, two = collections.Counter(), collections.Counter()
    for w in words:
        one.update(w)
        two.update(zip(w, w[1:]))
    total = sum(one.values())

    def surprise(w):
        bits = 0.0
        for a, b in zip(w, w[1:]):
            p = 0.7 * (two[a, b] - 0.9) / one[a] + 0.3 * (one[b] - 0.9) / total  # without this story's own count
            bits -= math.log2(max(p, 1e-7))
        return bits / len(w)

    short = [i for i, s in enumerate(stories) if len(s) <= longest]
    short.sort(key=lambda i: surprise(words[i]))
    return [stories[i] for i in sorted(short[:keep])]
