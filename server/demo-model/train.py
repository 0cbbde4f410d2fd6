"""Trains and exports the Millrace demonstration model. See README.md for the exact command.

  python3 train.py --text DIR --out DIR --work DIR      prepare, train, export
  python3 train.py --text DIR --out DIR --work DIR --export-only

Needs Python 3.9+, PyTorch (1.13 or newer) and NumPy, nothing else. The work folder holds the
checkpoint; starting again with the same work folder continues from it. The learning rate is
constant until the last --decay steps, so --steps may be changed before that point is reached.
"""
import argparse
import json
import math
import os
import random
import time

import torch
import torch.nn.functional as F

import bpe
import storydata
from model import Llama, load_bf16, save_bf16
from optim import Muon
from storydata import ASSISTANT, BOS, EOS, USER

SPECIALS = [BOS, EOS, USER, ASSISTANT]
TEMPLATE = ("{{ bos_token }}{% for message in messages %}"
            "{% if message['role'] == 'user' %}{{ '<|user|>' + (message['content'] | trim) }}"
            "{% elif message['role'] == 'assistant' %}"
            "{{ '<|assistant|>' + (message['content'] | trim) + eos_token }}{% endif %}{% endfor %}"
            "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}")
TEMPERATURE, TOP_P = 0.7, 0.9

PROMPTS = ["Once upon a time", "One day, a little girl named Lily", "The dog and the cat", "Tom had a big red ball."]
QUESTIONS = ["Tell me a story about a dog.", "Tell me a story about a girl named Mia.", "Write a story about a dragon.",
             "Tell me a story.", "Hello!"]
TEXTS = ["Once upon a time", "Once upon a time, there was a little girl named Lily.", "Hello, world!", "", " ", "  two  spaces ",
         "\n", "\n\nNew paragraph.\n", "\"I don't know,\" said Tom. \"We'll see!\"", "They're here; we've won, I'd say it's HE'S.",
         "12345 and 3.14", "a\tb", "tabs\t\tand\r\nlines   \n  end", "café naïve señor", "漢字かな交じり文", "Привет, мир", "🙂🦊 emoji",
         "a\u0301 combining", "x\u00a0y\u2003z", "don't DON'T 'tis", "<|user|>Hi<|assistant|>Hello!<|endoftext|>",
         "<|begin_of_text|>twice", "snake_case + (brackets) [1,2] {x: 1}", "½ ² Ⅷ ٣", "e-mail: a.b@example.org"]


def render_chat(messages, generate=True):
    """What the chat template does."""
    out = BOS
    for m in messages:
        if m["role"] == "user":
            out += USER + m["content"].strip()
        elif m["role"] == "assistant":
            out += ASSISTANT + m["content"].strip() + EOS
    return out + (ASSISTANT if generate else "")


def make_config(tok, args):
    return {
        "architectures": ["LlamaForCausalLM"], "attention_bias": False, "attention_dropout": 0.0,
        "bos_token_id": tok.vocab[BOS], "eos_token_id": tok.vocab[EOS], "head_dim": args.head_dim, "hidden_act": "silu",
        "hidden_size": args.dim, "initializer_range": 0.02, "intermediate_size": args.ffn,
        "max_position_embeddings": args.context, "mlp_bias": False, "model_type": "llama",
        "num_attention_heads": args.heads, "num_hidden_layers": args.layers, "num_key_value_heads": args.kv_heads,
        "pretraining_tp": 1, "rms_norm_eps": 1e-5, "rope_scaling": None, "rope_theta": 10000.0,
        "tie_word_embeddings": True, "torch_dtype": "bfloat16", "use_cache": True, "vocab_size": len(tok.tokens)}


# ---------------------------------------------------------------- training

def epoch_batches(stories, tok, args, epoch):
    """Batches of documents of about the same length: (ids, weights), padded with the end token."""
    rng = random.Random(args.seed * 1000 + epoch)
    pad = tok.vocab[EOS]
    docs = []
    for parts in storydata.documents(stories, rng, swap=args.swap):
        ids, weight = [], []
        for text, counted in parts:
            e = tok.encode(text)
            ids += e
            weight += [counted] * len(e)
        docs.append((ids[:args.context + 1], weight[:args.context + 1]))
    docs.sort(key=lambda d: len(d[0]) + 24 * rng.random())
    def rounded(length):  # few different shapes: the CPU kernels are generated per shape
        grain = 32 if length <= 512 else 64
        return -(-length // grain) * grain

    batches, i = [], 0
    while i < len(docs):
        n, longest = 0, 0
        while i + n < len(docs):
            size = max(longest, rounded(len(docs[i + n][0]) - 1))
            if n and size * (n + 1) > args.batch_tokens:
                break
            longest, n = size, n + 1
        rows = max(1, args.batch_tokens // longest)
        ids = torch.full((rows, longest + 1), pad)
        weight = torch.zeros((rows, longest + 1))
        for r, (d, w) in enumerate(docs[i:i + n]):
            ids[r, :len(d)] = torch.tensor(d)
            weight[r, :len(d)] = torch.tensor(w, dtype=torch.float32)
        batches.append((ids, weight))
        i += n
    rng.shuffle(batches)
    return batches


def story_loss(net, tok, stories, autocast=False):
    """Sum of the negative log probabilities (nats) of every story's tokens and its end, and their number."""
    total, count = 0.0, 0
    net.eval()
    for s in stories:
        ids = torch.tensor([[tok.vocab[BOS]] + tok.encode(s, specials=False) + [tok.vocab[EOS]]])
        ids = ids[:, :net.config["max_position_embeddings"] + 1]
        n = ids.shape[1] - 1
        x = F.pad(ids[:, :-1], (0, -n % 64))  # padding at the end changes nothing before it
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            logits = net.logits(net(x))
        total += F.cross_entropy(logits[0, :n].float(), ids[0, 1:], reduction="sum").item()
        count += n
    return total, count


def train(net, tok, sets, args):
    stories, dev, _ = sets
    passes = args.passes.split(",")
    chosen = {n: stories if n == "all" else storydata.typical(stories, int(n)) for n in set(passes)}
    matrices = [p for n, p in net.named_parameters() if p.ndim == 2 and "layers" in n]
    rest = [p for n, p in net.named_parameters() if p.ndim != 2 or "layers" not in n]
    opts = [Muon(matrices, args.lr, weight_decay=args.weight_decay),
            torch.optim.AdamW(rest, lr=args.lr, betas=(0.9, 0.98), weight_decay=0.0)]
    ema = {k: v.detach().clone() for k, v in net.state_dict().items()}
    state = {"step": 0, "epoch": 0, "position": 0, "tokens": 0, "seconds": 0.0, "log": [], "ema": ema}
    path = os.path.join(args.work, "checkpoint.pt")
    if os.path.exists(path):
        saved = torch.load(path)
        net.load_state_dict(saved["net"])
        for opt, o in zip(opts, saved["opts"]):
            opt.load_state_dict(o)
        torch.set_rng_state(saved["rng"])
        state, ema = saved["state"], saved["state"]["ema"]
        print(f"continuing at step {state['step']}", flush=True)
    elif args.start:
        net.load_state_dict(load_bf16(os.path.join(args.start, "model.safetensors")))
        state["ema"] = ema = {k: v.detach().clone() for k, v in net.state_dict().items()}
        with open(os.path.join(args.start, "metrics.json"), encoding="utf-8") as f:
            before_it = json.load(f)
        state["stages"] = before_it["stages"]

    def save():
        torch.save({"net": net.state_dict(), "opts": [o.state_dict() for o in opts], "rng": torch.get_rng_state(), "state": state},
                   path + ".tmp")
        os.replace(path + ".tmp", path)

    began = last_save = time.time()
    before = state["seconds"]
    recent = []
    while state["step"] < args.steps:
        kind = passes[min(state["epoch"], len(passes) - 1)]
        batches = epoch_batches(chosen[kind], tok, args, state["epoch"])
        while state["position"] < len(batches) and state["step"] < args.steps:
            ids, weight = batches[state["position"]]
            step = state["step"]
            left = args.steps - step
            rate = args.lr * min(1.0, (step + 1) / args.warmup, left / args.decay)
            for opt in opts:
                for g in opt.param_groups:
                    g["lr"] = rate
            net.train()
            x, y, w = ids[:, :-1], ids[:, 1:], weight[:, 1:]
            target = torch.where(w > 0, y, torch.tensor(-100))
            with torch.autocast("cpu", torch.bfloat16):
                logits = net.logits(net(x))
            loss = F.cross_entropy(logits.reshape(-1, logits.shape[-1]).float(), target.reshape(-1), ignore_index=-100)
            net.zero_grad(set_to_none=True)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
            for opt in opts:
                opt.step()
            mix = min(args.ema, (step + 1) / (step + 10))
            with torch.no_grad():
                for k, v in net.state_dict().items():
                    ema[k].lerp_(v, 1 - mix)
            state["step"] += 1
            state["position"] += 1
            state["tokens"] += int((w > 0).sum())
            state["seconds"] = before + time.time() - began
            recent.append(loss.item())
            if state["step"] % 25 == 0:
                if args.threads == 0:  # a busy machine: one thread waits for nobody
                    torch.set_num_threads(1 if os.getloadavg()[0] > 3 else 2)
                if os.path.exists(os.path.join(args.work, "steps")):  # a later decision about --steps
                    with open(os.path.join(args.work, "steps")) as f:
                        args.steps = int(f.read())
                print(f"step {state['step']} epoch {state['epoch']} loss {sum(recent) / len(recent):.4f} "
                      f"lr {rate:.2e} tokens {state['tokens']:,} {state['seconds']:.0f} s", flush=True)
                recent = []
            if state["step"] % args.eval_every == 0 or state["step"] == args.steps:
                live = {k: v.clone() for k, v in net.state_dict().items()}
                net.load_state_dict(ema)
                nats, n = story_loss(net, tok, dev, autocast=True)
                net.load_state_dict(live)
                state["log"].append({"step": state["step"], "tokens": state["tokens"], "dev_nats_per_token": nats / n})
                print(f"== step {state['step']} dev loss {nats / n:.4f}", flush=True)
            if time.time() - last_save > 180:
                save()
                last_save = time.time()
        if state["position"] >= len(batches):
            state["epoch"] += 1
            state["position"] = 0
    save()


# ---------------------------------------------------------------- use of the model

@torch.no_grad()
def generate(net, ids, limit, stop, temperature=0.0, top_p=1.0, rng=None):
    """Returns the new ids (the stop token included) and the margin of the best logit at each step."""
    net.eval()
    caches = [[] for _ in net.model.layers]
    logits = net.logits(net(torch.tensor([ids]), caches))[0, -1]
    out, margins = [], []
    while len(out) < limit:
        top = torch.topk(logits, 2)
        if temperature == 0:
            nxt = int(top.indices[0])
        else:
            p, order = torch.softmax(logits.double() / temperature, 0).sort(descending=True)
            p = p[:int((p.cumsum(0) - p < top_p).sum())]
            nxt = int(order[rng.choices(range(len(p)), p.tolist())[0]])
        out.append(nxt)
        margins.append(round(float(top.values[0] - top.values[1]), 6))
        if nxt == stop:
            break
        logits = net.logits(net(torch.tensor([[nxt]]), caches))[0, -1]
    return out, margins


def expected(net, tok, heldout):
    stop = tok.vocab[EOS]
    cases = []
    for kind, items in (("completion", PROMPTS), ("chat", QUESTIONS)):
        for item in items:
            case = {"kind": kind}
            if kind == "completion":
                case["prompt"] = item
                ids = [tok.vocab[BOS]] + tok.encode(item)
            else:
                case["messages"] = [{"role": "user", "content": item}]
                case["rendered"] = render_chat(case["messages"])
                ids = tok.encode(case["rendered"])
            out, margins = generate(net, ids, 64, stop)
            low = [i for i, m in enumerate(margins) if m < 0.02]
            case.update(input_ids=ids, output_ids=out, output_text=tok.decode(out), margins=margins,
                        first_margin_below_0_02=low[0] if low else None,
                        finish="stop" if out[-1] == stop else "length")
            cases.append(case)
    scores = []
    for s in heldout[:3]:
        ids = [tok.vocab[BOS]] + tok.encode(s, specials=False) + [stop]
        with torch.no_grad():
            logp = torch.log_softmax(net.logits(net(torch.tensor([ids[:-1]])))[0].double(), -1)
        picked = [round(float(logp[i, t]), 5) for i, t in enumerate(ids[1:])]
        scores.append({"text": s, "ids": ids, "logprobs": picked, "sum": round(sum(picked), 4)})
    templates = [[{"role": "user", "content": " Tell me a story about a dog. "}],
                 [{"role": "system", "content": "You are a helpful assistant."}, {"role": "user", "content": "Hi"}],
                 [{"role": "developer", "content": "Be brief."}, {"role": "user", "content": "Tell me a story."},
                  {"role": "assistant", "content": "Once upon a time, there was a cat."},
                  {"role": "user", "content": "Another one, please."}]]
    return {
        "about": "Computed in float32 from the exported bfloat16 weights. Greedy outputs may differ in another "
                 "arithmetic after a step with a small margin: compare up to first_margin_below_0_02. Prompts get "
                 "the begin token; a case ends after 64 tokens or with the end token, which is included.",
        "greedy": cases,
        "scores": scores,
        "chat_template": [{"messages": m, "rendered": render_chat(m), "ids": tok.encode(render_chat(m))} for m in templates],
        "tokenizer": [{"text": t, "ids": tok.encode(t), "note": "without the begin token"} for t in TEXTS]}


def write_json(folder, name, value, **kw):
    with open(os.path.join(folder, name), "w", encoding="utf-8") as f:
        json.dump(value, f, ensure_ascii=False, **({"indent": 2} | kw))
        f.write("\n")


def export(tok, config, sets, args):
    stories, dev, heldout = sets
    state = torch.load(os.path.join(args.work, "checkpoint.pt"))["state"]
    os.makedirs(args.out, exist_ok=True)
    out = args.out
    weights = os.path.join(out, "model.safetensors")
    save_bf16(state["ema"], weights + ".tmp")
    os.replace(weights + ".tmp", weights)
    write_json(out, "config.json", config)
    write_json(out, "generation_config.json", {
        "bos_token_id": config["bos_token_id"], "eos_token_id": config["eos_token_id"], "pad_token_id": config["eos_token_id"],
        "do_sample": True, "temperature": TEMPERATURE, "top_p": TOP_P})
    tok.save(os.path.join(out, "tokenizer.json"), BOS)
    added = {str(tok.vocab[s]): {"content": s, "lstrip": False, "normalized": False, "rstrip": False,
                                 "single_word": False, "special": True} for s in SPECIALS}
    write_json(out, "tokenizer_config.json", {
        "add_bos_token": True, "add_eos_token": False, "added_tokens_decoder": added, "bos_token": BOS, "chat_template": TEMPLATE,
        "clean_up_tokenization_spaces": False, "eos_token": EOS, "model_max_length": args.context, "pad_token": EOS,
        "tokenizer_class": "PreTrainedTokenizerFast"})
    write_json(out, "special_tokens_map.json", {"bos_token": BOS, "eos_token": EOS, "pad_token": EOS})
    with open(os.path.join(out, "heldout.txt"), "w", encoding="utf-8") as f:
        f.write(f"\n{EOS}\n".join(heldout) + "\n")

    # everything below is computed from the exported file, in float32
    net = Llama(config)
    net.load_state_dict(load_bf16(weights))
    result = {}
    for name, group in (("heldout", heldout), ("development", dev)):
        nats, n = story_loss(net, tok, group)
        size = sum(len(s.encode()) for s in group)
        result[name] = {"stories": len(group), "bytes": size, "tokens": n, "nats_per_token": round(nats / n, 4),
                        "perplexity_per_token": round(math.exp(nats / n), 3),
                        "bits_per_byte": round(nats / math.log(2) / size, 4)}
    sample = stories[::20]
    nats, n = story_loss(net, tok, sample)
    result["train_sample"] = {"stories": len(sample), "nats_per_token": round(nats / n, 4)}
    params = sum(p.numel() for p in net.parameters())
    write_json(out, "metrics.json", {
        "about": "Loss of each story on its own: begin token, then the story and the end token are predicted. "
                 "Float32 arithmetic on the exported bfloat16 weights. Decisions about the training were made with the "
                 "development stories; the held-out stories decided nothing.",
        "parameters": params, "vocabulary": len(tok.tokens), "training_stories": len(stories),
        "training_characters": sum(map(len, stories)), **result,
        "stages": state.get("stages", []) + [{
            "steps": state["step"], "tokens_learned_from": state["tokens"], "seconds": round(state["seconds"]),
            "development_log": [{**e, "dev_nats_per_token": round(e["dev_nats_per_token"], 4)} for e in state["log"]]}]})
    write_json(out, "expected.json", expected(net, tok, heldout), indent=None, separators=(",", ":"))

    lines = []
    for k, item in enumerate(PROMPTS + QUESTIONS):
        rng = random.Random(100 + k)
        chat = k >= len(PROMPTS)
        text = render_chat([{"role": "user", "content": item}]) if chat else BOS + item
        new, _ = generate(net, tok.encode(text), 400, tok.vocab[EOS], TEMPERATURE, TOP_P, rng)
        lines += [f"--- {'chat' if chat else 'completion'}: {item}", ("" if chat else item) + tok.decode(new),
                  "" if new[-1] == tok.vocab[EOS] else "(cut off)"]
    with open(os.path.join(args.work, "samples.txt"), "w", encoding="utf-8") as f:
        f.write("\n".join(lines) + "\n")
    print("\n".join(lines))
    print(json.dumps(result))


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--text", required=True, help="folder with tinystories_a.txt and tinystories_b.txt")
    p.add_argument("--out", required=True, help="folder for the model's files")
    p.add_argument("--work", required=True, help="folder for the checkpoint")
    p.add_argument("--start", help="folder of an exported model whose weights a new run starts from")
    p.add_argument("--export-only", action="store_true")
    p.add_argument("--seed", type=int, default=11)
    p.add_argument("--threads", type=int, default=2, help="0: one or two, by the load")
    p.add_argument("--vocab", type=int, default=2048)
    p.add_argument("--dim", type=int, default=256)
    p.add_argument("--layers", type=int, default=4)
    p.add_argument("--heads", type=int, default=4)
    p.add_argument("--kv-heads", type=int, default=2)
    p.add_argument("--head-dim", type=int, default=64)
    p.add_argument("--ffn", type=int, default=704)
    p.add_argument("--context", type=int, default=1024)
    p.add_argument("--dropout", type=float, default=0.0)
    p.add_argument("--swap", type=float, default=0.25, help="share of stories with other names")
    p.add_argument("--weight-decay", type=float, default=0.1)
    p.add_argument("--lr", type=float, default=3e-3)
    p.add_argument("--warmup", type=int, default=60)
    p.add_argument("--decay", type=int, default=600)
    p.add_argument("--steps", type=int, default=1800)
    p.add_argument("--batch-tokens", type=int, default=3072)
    p.add_argument("--passes", default="all,1500,1500,1500,2600,all",
                   help="the stories of each pass: all, or so many short ones in the most usual words; the last repeats")
    p.add_argument("--ema", type=float, default=0.98)
    p.add_argument("--eval-every", type=int, default=150)
    args = p.parse_args()
    os.makedirs(args.work, exist_ok=True)
    torch.set_num_threads(args.threads or 1)
    torch.manual_seed(args.seed)
    sets = storydata.load_stories(args.text)
    merges = bpe.train(sets[0], args.vocab - 256 - len(SPECIALS))
    tok = bpe.Tokenizer(merges, SPECIALS)
    config = make_config(tok, args)
    if not args.export_only:
        net = Llama(config, args.dropout)
        print(f"{sum(q.numel() for q in net.parameters()):,} parameters, {len(tok.tokens)} tokens", flush=True)
        train(net, tok, sets, args)
    export(tok, config, sets, args)


if __name__ == "__main__":
    main()
