"""A Llama model in PyTorch, with Hugging Face's names and rope layout, and its safetensors file."""
import json
import struct

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F


class RMSNorm(nn.Module):
    def __init__(self, dim, eps):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(dim))
        self.eps = eps

    def forward(self, x):
        x = x.float()
        return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + self.eps) * self.weight


def rope_table(length, head_dim, theta):
    inv = 1.0 / theta ** (torch.arange(0, head_dim, 2).float() / head_dim)
    angle = torch.outer(torch.arange(length).float(), inv)
    angle = torch.cat((angle, angle), -1)
    return angle.cos(), angle.sin()


def rotate(x, cos, sin):
    half = x.shape[-1] // 2
    return x * cos + torch.cat((-x[..., half:], x[..., :half]), -1) * sin


class Attention(nn.Module):
    def __init__(self, c):
        super().__init__()
        d, self.h, self.kv, self.hd = c["hidden_size"], c["num_attention_heads"], c["num_key_value_heads"], c["head_dim"]
        self.q_proj = nn.Linear(d, self.h * self.hd, bias=False)
        self.k_proj = nn.Linear(d, self.kv * self.hd, bias=False)
        self.v_proj = nn.Linear(d, self.kv * self.hd, bias=False)
        self.o_proj = nn.Linear(self.h * self.hd, d, bias=False)

    def forward(self, x, cos, sin, mask, cache=None):
        n, t, _ = x.shape
        q = self.q_proj(x).view(n, t, self.h, self.hd).transpose(1, 2)
        k = self.k_proj(x).view(n, t, self.kv, self.hd).transpose(1, 2)
        v = self.v_proj(x).view(n, t, self.kv, self.hd).transpose(1, 2)
        q, k = rotate(q, cos, sin), rotate(k, cos, sin)
        if cache is not None:
            if cache:
                k, v = torch.cat((cache[0], k), 2), torch.cat((cache[1], v), 2)
            cache[:] = [k, v]
        group = self.h // self.kv
        k, v = k.repeat_interleave(group, 1), v.repeat_interleave(group, 1)
        a = torch.matmul(q * self.hd ** -0.5, k.transpose(2, 3)) + mask
        a = torch.softmax(a, -1)
        y = torch.matmul(a.to(v.dtype), v)
        return self.o_proj(y.transpose(1, 2).reshape(n, t, -1))


class MLP(nn.Module):
    def __init__(self, c):
        super().__init__()
        d, f = c["hidden_size"], c["intermediate_size"]
        self.gate_proj = nn.Linear(d, f, bias=False)
        self.up_proj = nn.Linear(d, f, bias=False)
        self.down_proj = nn.Linear(f, d, bias=False)

    def forward(self, x):
        return self.down_proj(F.silu(self.gate_proj(x)) * self.up_proj(x))


class Layer(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.input_layernorm = RMSNorm(c["hidden_size"], c["rms_norm_eps"])
        self.self_attn = Attention(c)
        self.post_attention_layernorm = RMSNorm(c["hidden_size"], c["rms_norm_eps"])
        self.mlp = MLP(c)

    def forward(self, x, cos, sin, mask, drop, cache=None):
        x = x + drop(self.self_attn(self.input_layernorm(x), cos, sin, mask, cache))
        return x + drop(self.mlp(self.post_attention_layernorm(x)))


class Body(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.embed_tokens = nn.Embedding(c["vocab_size"], c["hidden_size"])
        self.layers = nn.ModuleList(Layer(c) for _ in range(c["num_hidden_layers"]))
        self.norm = RMSNorm(c["hidden_size"], c["rms_norm_eps"])


class Llama(nn.Module):
    def __init__(self, config, dropout=0.0):
        super().__init__()
        self.config = config
        self.model = Body(config)
        self.dropout = dropout
        cos, sin = rope_table(config["max_position_embeddings"], config["head_dim"], config["rope_theta"])
        self.register_buffer("cos", cos, persistent=False)
        self.register_buffer("sin", sin, persistent=False)
        for name, p in self.named_parameters():
            if p.ndim == 2:
                std = 0.02
                if name.endswith(("o_proj.weight", "down_proj.weight")):
                    std /= (2 * config["num_hidden_layers"]) ** 0.5
                nn.init.normal_(p, 0.0, std)

    def drop(self, x):
        """Dropout of whole features of a story: cheap, and the same at every position."""
        if not self.training or self.dropout == 0:
            return x
        keep = 1 - self.dropout
        return x * (torch.rand(x.shape[0], 1, x.shape[2]) < keep).to(x.dtype) / keep

    def forward(self, ids, caches=None):
        past = caches[0][0].shape[2] if caches and caches[0] else 0
        t = ids.shape[1]
        cos, sin = self.cos[past:past + t], self.sin[past:past + t]
        mask = torch.full((t, past + t), -1e9).triu(past + 1)
        if torch.is_autocast_cpu_enabled():
            cos, sin, mask = cos.bfloat16(), sin.bfloat16(), mask.bfloat16()
        x = self.drop(self.model.embed_tokens(ids))
        for i, layer in enumerate(self.model.layers):
            x = layer(x, cos, sin, mask, self.drop, caches[i] if caches is not None else None)
        return self.model.norm(x)

    def logits(self, hidden):
        return F.linear(hidden, self.model.embed_tokens.weight)


def save_bf16(state, path):
    """Writes a safetensors file with all tensors in bfloat16."""
    header, blobs, offset = {"__metadata__": {"format": "pt"}}, [], 0
    for name in sorted(state):
        t = state[name].detach().to(torch.bfloat16).contiguous()
        data = t.view(torch.int16).numpy().astype("<i2").tobytes()
        header[name] = {"dtype": "BF16", "shape": list(t.shape), "data_offsets": [offset, offset + len(data)]}
        blobs.append(data)
        offset += len(data)
    head = json.dumps(header, separators=(",", ":")).encode()
    head += b" " * (-len(head) % 8)
    with open(path, "wb") as f:
        f.write(struct.pack("<Q", len(head)) + head)
        for b in blobs:
            f.write(b)


def load_bf16(path):
    """Reads such a file; the tensors come back as float32 holding the bfloat16 values exactly."""
    with open(path, "rb") as f:
        n = struct.unpack("<Q", f.read(8))[0]
        header = json.loads(f.read(n))
        data = f.read()
    header.pop("__metadata__", None)
    state = {}
    for name, e in header.items():
        lo, hi = e["data_offsets"]
        bits = np.frombuffer(data[lo:hi], "<u2").astype(np.uint32) << 16
        state[name] = torch.from_numpy(bits.view(np.float32).reshape(e["shape"]).copy())
    return state
