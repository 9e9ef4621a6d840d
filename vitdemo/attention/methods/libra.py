"""Libra's backward rules (after LibraGrad, arXiv:2411.16760): a gradient whose shares add up to the logit.

The forward pass stays as it is. Wherever a layer multiplies two factors that both depend on the input, one of them counts as a constant in
the backward pass: the deviation in a norm, the gate of an activation, the attention beside the values. Of two factors of the same kind,
as in a gated MLP, each gets half of the gradient. The network is then affine in its tokens, so tokens and biases times their gradients add
up to the logit.
"""

from collections.abc import Callable
from typing import Any, Literal, get_args

import torch
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from vitdemo.core.errors import UserError
from vitdemo.core.inference.attention_calls import AttentionCall

Gradient = Literal["libra", "plain"]
GRADIENTS: tuple[Gradient, ...] = get_args(Gradient)
AddedConstant = Callable[[torch.Tensor, torch.Tensor], None]
"""Called with a constant that a layer adds, such as a bias, and with the sum, which is part of the graph."""


def check_gradient(gradient: str) -> None:
    """Raises: UserError for a gradient that is not in GRADIENTS."""
    if gradient not in GRADIENTS:
        raise UserError(f"There is no gradient “{gradient}”: choose {' or '.join(GRADIENTS)}.")


def keep_attention(call: AttentionCall) -> torch.Tensor:
    """An answer for `AttentionCalls` that takes the attention as a constant: queries and keys get no gradient."""
    return call.detached().run(call.value)


class Libra(TorchFunctionMode):
    """While the context is open, this thread's norms, activations and products have Libra's gradients.

    Attention has its rule in `keep_attention`. Open this context first and `AttentionCalls` inside it. Weights must be frozen: a tensor
    that requires a gradient is one that depends on the input.

    Args:
        added: called for every constant that is added to a tensor of the graph.
    """

    def __init__(self, added: AddedConstant | None = None):
        super().__init__()
        self._added = added

    def __torch_function__(self, func, types, args=(), kwargs=None):
        out = RULES.get(func, func)(*args, **(kwargs or {}))
        if self._added and func in CONSTANT_OF and out.requires_grad:
            constant = CONSTANT_OF[func](*args, **(kwargs or {}))
            if isinstance(constant, torch.Tensor) and not constant.requires_grad:
                self._added(constant, out)
        return out


class _Norm(torch.autograd.Function):
    """Layer norm, whose deviation is a constant for the gradient; the mean is not."""

    @staticmethod
    def forward(ctx: Any, x, shape, weight, bias, eps):
        out, _, scale = torch.native_layer_norm(x, shape, weight, bias, eps)
        ctx.save_for_backward(scale, weight)
        ctx.dims = tuple(range(-len(shape), 0))
        return out

    @staticmethod
    def backward(ctx: Any, *gradients):
        scale, weight = ctx.saved_tensors
        (gradient,) = gradients
        inner = gradient * scale if weight is None else gradient * weight * scale
        return inner - inner.mean(ctx.dims, keepdim=True), None, None, None, None


class _Gated(torch.autograd.Function):
    """x · gate(x), computed by the activation itself; the gate is a constant for the gradient."""

    @staticmethod
    def forward(ctx: Any, x, activation, gate):
        ctx.save_for_backward(x)
        ctx.gate = gate
        return activation(x)

    @staticmethod
    def backward(ctx: Any, *gradients):
        (x,) = ctx.saved_tensors
        return gradients[0] * ctx.gate(x), None, None


class _Product(torch.autograd.Function):
    """The product of two tensors that depend on the input; each gets half of its gradient."""

    @staticmethod
    def forward(ctx: Any, one, other):
        ctx.save_for_backward(one, other)
        return one * other

    @staticmethod
    def backward(ctx: Any, *gradients):
        half, (one, other) = gradients[0] / 2, ctx.saved_tensors
        return (half * other).sum_to_size(one.shape), (half * one).sum_to_size(other.shape)


def _layer_norm(x, shape, weight=None, bias=None, eps=1e-5):
    return _Norm.apply(x, shape, weight, bias, eps)


def _rms_norm(x, shape, weight=None, eps=None):
    eps = torch.finfo(x.dtype).eps if eps is None else eps
    out = x * torch.rsqrt(x.pow(2).mean(tuple(range(-len(shape), 0)), keepdim=True) + eps).detach()
    return out if weight is None else out * weight


def _gelu(x, approximate="none"):
    gate = _tanh_gate if approximate == "tanh" else _normal_gate
    return _Gated.apply(x, lambda x: functional.gelu(x, approximate=approximate), gate)


def _normal_gate(x):
    return torch.special.ndtr(x)  # Φ


def _tanh_gate(x):
    return (1 + torch.tanh((2 / torch.pi) ** 0.5 * (x + 0.044715 * x**3))) / 2


def _silu(x, inplace=False):
    return _Gated.apply(x, functional.silu, torch.sigmoid)


def _constant(func):
    return lambda *args, **options: func(*args, **options).detach()


def _product(one, other):
    both = isinstance(other, torch.Tensor) and other.requires_grad and one.requires_grad
    return _Product.apply(one, other) if both else torch.mul(one, other)


RULES: dict[Callable, Callable] = {
    functional.layer_norm: _layer_norm,
    functional.rms_norm: _rms_norm,
    torch.rsqrt: _constant(torch.rsqrt),  # of timm's SimpleNorm
    functional.gelu: _gelu,
    functional.silu: _silu,
    torch.sigmoid: _constant(torch.sigmoid),  # the gate of x · sigmoid(1.702 x), and of gated attention
    torch.Tensor.sigmoid: _constant(torch.sigmoid),
    torch.Tensor.mul: _product,
}
CONSTANT_OF: dict[Callable, Callable] = {
    functional.linear: lambda input, weight, bias=None: bias,
    functional.layer_norm: lambda input, normalized_shape, weight=None, bias=None, eps=1e-5: bias,
    torch.Tensor.add: lambda self, other, **options: other,
    torch.Tensor.add_: lambda self, other, **options: other,
}
"""Functions that add a constant → where it stands among their arguments."""
