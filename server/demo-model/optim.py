"""Muon for the weight matrices of the layers: momentum whose update is made nearly orthogonal."""
import collections

import torch


def orthogonal(x, steps=5):
    """Newton-Schulz iteration on a stack of matrices that are at least as wide as high."""
    a, b, c = 3.4445, -4.7750, 2.0315
    x = x / (x.norm(dim=(1, 2), keepdim=True) + 1e-7)
    x = x.bfloat16()
    for _ in range(steps):
        g = torch.bmm(x, x.transpose(1, 2))
        x = a * x + torch.bmm(b * g + c * torch.bmm(g, g), x)
    return x.float()


class Muon(torch.optim.Optimizer):
    def __init__(self, params, lr, momentum=0.95, weight_decay=0.0):
        super().__init__(params, dict(lr=lr, momentum=momentum, weight_decay=weight_decay))

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            lr, mu = group["lr"], group["momentum"]
            shapes = collections.defaultdict(list)
            for p in group["params"]:
                shapes[tuple(p.shape)].append(p)
            for (rows, cols), params in shapes.items():
                updates = []
                for p in params:
                    s = self.state[p]
                    if "m" not in s:
                        s["m"] = torch.zeros_like(p)
                    s["m"].lerp_(p.grad, 1 - mu)
                    updates.append(p.grad.lerp(s["m"], mu))
                u = torch.stack(updates)
                u = orthogonal(u.transpose(1, 2)).transpose(1, 2) if rows > cols else orthogonal(u)
                scale = 0.2 * max(rows, cols) ** 0.5  # the size of an AdamW update
                for p, v in zip(params, u):
                    p.mul_(1 - lr * group["weight_decay"]).add_(v, alpha=-lr * scale)
