"""The formulas of the exercises in the lecture's order, as a line of text and in LaTeX.

Gradients are left to the reader. Nothing here imports torch.
"""

import re

FORMULAS: dict[str, tuple[str, str]] = {
    "linear": ("s = x Wᵀ + b", r"s = x W^\top + b"),
    "softmax": ("p_k = exp(s_k) / Σⱼ exp(s_j)", r"p_k = \frac{e^{s_k}}{\sum_j e^{s_j}}"),
    "log_softmax": ("log p_k = s_k − log Σⱼ exp(s_j)", r"\log p_k = s_k - \log \sum_j e^{s_j}"),
    "entropy": ("H(P) = −Σₖ pₖ log pₖ", r"H(P) = -\sum_k p_k \log p_k"),
    "cross_entropy_of": ("H(P, Q) = −Σₖ pₖ log qₖ", r"H(P, Q) = -\sum_k p_k \log q_k"),
    "kl_divergence": (
        "D_KL(P ‖ Q) = Σₖ pₖ log(pₖ/qₖ)",
        r"D_\mathrm{KL}(P \,\|\, Q) = \sum_k p_k \log \frac{p_k}{q_k}",
    ),
    "cross_entropy": (
        "L = −(1/N) Σₙ log softmax(sₙ)[yₙ]",
        r"L = -\frac1N \sum_n \log \frac{e^{s_{n y_n}}}{\sum_j e^{s_{nj}}}",
    ),
    "nll_loss": ("L = −(1/N) Σₙ log pₙ[yₙ]", r"L = -\frac1N \sum_n \log p_{n y_n}"),
    "gradient": (
        "∂f/∂xᵢ ≈ (f(x + h eᵢ) − f(x − h eᵢ)) / 2h",
        r"\frac{\partial f}{\partial x_i} \approx \frac{f(x + h e_i) - f(x - h e_i)}{2h}",
    ),
    "l1_penalty": ("R(W) = Σ |w|", r"R(W) = \sum |w|"),
    "l2_penalty": ("R(W) = Σ w²", r"R(W) = \sum w^2"),
    "relu": ("f(x) = max(0, x)", r"f(x) = \max(0, x)"),
    "leaky_relu": (
        "f(x) = x where x > 0, else α x",
        r"f(x) = x \text{ where } x > 0, \text{ else } \alpha x",
    ),
    "sigmoid": ("σ(x) = 1 / (1 + e⁻ˣ)", r"\sigma(x) = \frac1{1 + e^{-x}}"),
    "tanh": (
        "tanh(x) = (eˣ − e⁻ˣ) / (eˣ + e⁻ˣ)",
        r"\tanh(x) = \frac{e^x - e^{-x}}{e^x + e^{-x}}",
    ),
    "gelu": (
        "f(x) = x Φ(x), Φ(x) = P(Z ≤ x) of a normal Z",
        r"f(x) = x \, \Phi(x), \quad \Phi(x) = P(Z \le x), \; Z \sim \mathcal{N}(0, 1)",
    ),
    "silu": ("f(x) = x σ(x)", r"f(x) = x \, \sigma(x)"),
    "output_size": (
        "⌊(N + 2P − F)/S⌋ + 1",
        r"\left\lfloor \frac{N + 2P - F}{S} \right\rfloor + 1",
    ),
    "conv2d": (
        "z_noij = b_o + Σ_cae w_ocae x_nc,Si+a,Sj+e, x padded",
        r"z_{noij} = b_o + \sum_{c,a,e} w_{ocae} \, x_{n,c,\,Si+a,\,Sj+e}, \; x \text{ padded}",
    ),
    "max_pool2d": (
        "y_ncij = max_ae x_nc,Si+a,Sj+e",
        r"y_{ncij} = \max_{a,e} \; x_{n,c,\,Si+a,\,Sj+e}",
    ),
    "avg_pool2d": (
        "y_ncij = (1/F²) Σ_ae x_nc,Si+a,Sj+e",
        r"y_{ncij} = \frac1{F^2} \sum_{a,e} x_{n,c,\,Si+a,\,Sj+e}",
    ),
    "flatten": ("(N, C, H, W) -> (N, C·H·W)", r"(N, C, H, W) \to (N, \; C \cdot H \cdot W)"),
    "xavier": (
        "Var[w] = gain² · 2 / (fan_in + fan_out)",
        r"\mathrm{Var}[w] = "
        r"\text{gain}^2 \, \frac{2}{\text{fan}_\text{in} + \text{fan}_\text{out}}",
    ),
    "he": (
        "Var[w] = gain² / fan_in",
        r"\mathrm{Var}[w] = \frac{\text{gain}^2}{\text{fan}_\text{in}}",
    ),
    "batch_norm": (
        "y = γ (x − μ) / √(σ² + ε) + β",
        r"y = \gamma \, \frac{x - \mu}{\sqrt{\sigma^2 + \varepsilon}} + \beta",
    ),
    "dropout": (
        "y = m ⊙ x, m ~ Bernoulli(1 − p) / (1 − p)",
        r"y = m \odot x, \quad m \sim \frac{\mathrm{Bernoulli}(1 - p)}{1 - p}",
    ),
    "SGD": (
        "v ← μ v + g, w ← w − η v",
        r"v \leftarrow \mu v + g, \quad w \leftarrow w - \eta \, v",
    ),
    "RMSprop": (
        "v ← α v + (1 − α) g², w ← w − η g / (√v + ε)",
        r"v \leftarrow \alpha v + (1 - \alpha) g^2, "
        r"\quad w \leftarrow w - \eta \, \frac{g}{\sqrt{v} + \varepsilon}",
    ),
    "Adam": (
        "w ← w − η m̂ / (√v̂ + ε), means m of g and v of g²",
        r"m \leftarrow \beta_1 m + (1 - \beta_1) g, "
        r"\quad v \leftarrow \beta_2 v + (1 - \beta_2) g^2, "
        r"\quad w \leftarrow w - \eta \, \frac{\hat m}{\sqrt{\hat v} + \varepsilon}",
    ),
    "AdamW": (
        "w ← w − η λ w, then Adam's step",
        r"w \leftarrow w - \eta \lambda w, \quad \text{then Adam's step}",
    ),
}

# functions of well-known assignments, without _forward, _backward and _naive
COURSE = {
    "affine": "linear",
    "softmax_loss": "cross_entropy",
    "conv": "conv2d",
    "max_pool": "max_pool2d",
    "batchnorm": "batch_norm",
    "spatial_batchnorm": "batch_norm",
    "sgd": "SGD",
    "sgd_momentum": "SGD",
    "rmsprop": "RMSprop",
    "adam": "Adam",
}


def formula_of(name: str) -> str | None:
    """The formula that a function or class of a file computes, by its name; None for others."""
    stem = re.sub(r"(_forward|_backward)?(_naive)?$", "", name)
    formula = COURSE.get(stem, stem)
    return formula if formula in FORMULAS else None
