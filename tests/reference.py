"""A second BERT, in numpy and float64: what tests compare the Keras models with.

It is written from the paper and the published architecture alone, shares no code with the
package, and is itself held against the golden outputs of the original code.
"""

import math

import numpy as np


def gelu_tanh(x):
    return 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))


def gelu_erf(x):
    return 0.5 * x * (1 + np.vectorize(math.erf)(x / math.sqrt(2)))


def softmax(x):
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def norm(x, w, name):
    mean, var = x.mean(-1, keepdims=True), x.var(-1, keepdims=True)
    return (x - mean) / np.sqrt(var + 1e-12) * w[f"{name}/gamma"] + w[f"{name}/beta"]


def dense(x, w, name):
    return x @ w[f"{name}/kernel"] + w[f"{name}/bias"]


def encode(w, heads, ids, segments, mask, act=gelu_tanh):
    """All layers' outputs, the embedding output first; w: float64 arrays by original name."""
    e = "bert/embeddings"
    x = w[f"{e}/word_embeddings"][ids] + w[f"{e}/token_type_embeddings"][segments]
    x = norm(x + w[f"{e}/position_embeddings"][: ids.shape[1]], w, f"{e}/LayerNorm")
    found, layer = [x], 0
    batch, length, hidden = x.shape
    size = hidden // heads
    while f"bert/encoder/layer_{layer}/output/dense/kernel" in w:
        at = f"bert/encoder/layer_{layer}"

        def split(y):
            return y.reshape(batch, length, heads, size).transpose(0, 2, 1, 3)

        q, k, v = (
            split(dense(x, w, f"{at}/attention/self/{part}")) for part in ("query", "key", "value")
        )
        scores = q @ k.transpose(0, 1, 3, 2) / math.sqrt(size)
        probs = softmax(scores + (1.0 - mask[:, None, None, :]) * -10000.0)
        context = (probs @ v).transpose(0, 2, 1, 3).reshape(batch, length, hidden)
        x = norm(
            x + dense(context, w, f"{at}/attention/output/dense"),
            w,
            f"{at}/attention/output/LayerNorm",
        )
        fed = dense(act(dense(x, w, f"{at}/intermediate/dense")), w, f"{at}/output/dense")
        x = norm(x + fed, w, f"{at}/output/LayerNorm")
        found.append(x)
        layer += 1
    return found


def pool(w, sequence):
    return np.tanh(dense(sequence[:, 0], w, "bert/pooler/dense"))


def mlm_logits(w, hidden, act=gelu_tanh):
    at = "cls/predictions"
    x = norm(act(dense(hidden, w, f"{at}/transform/dense")), w, f"{at}/transform/LayerNorm")
    return x @ w["bert/embeddings/word_embeddings"].T + w[f"{at}/output_bias"]


def nsp_logits(w, pooled):
    at = "cls/seq_relationship"
    return pooled @ w[f"{at}/output_weights"].T + w[f"{at}/output_bias"]


def random_weights(rng, *, vocab, hidden, layers, intermediate, positions, types=2, scale=0.25):
    """Weights of a small BERT by original name, float32, large enough for every layer to show."""

    def matrix(*shape):
        return rng.normal(0, scale, shape).astype(np.float32)

    w = {}

    def add_dense(name, n_in, n_out):
        w[f"{name}/kernel"], w[f"{name}/bias"] = matrix(n_in, n_out), matrix(n_out)

    def add_norm(name):
        w[f"{name}/gamma"], w[f"{name}/beta"] = 1 + matrix(hidden), matrix(hidden)

    e = "bert/embeddings"
    w[f"{e}/word_embeddings"] = matrix(vocab, hidden)
    w[f"{e}/position_embeddings"] = matrix(positions, hidden)
    w[f"{e}/token_type_embeddings"] = matrix(types, hidden)
    add_norm(f"{e}/LayerNorm")
    for i in range(layers):
        at = f"bert/encoder/layer_{i}"
        for part in ("query", "key", "value"):
            add_dense(f"{at}/attention/self/{part}", hidden, hidden)
        add_dense(f"{at}/attention/output/dense", hidden, hidden)
        add_norm(f"{at}/attention/output/LayerNorm")
        add_dense(f"{at}/intermediate/dense", hidden, intermediate)
        add_dense(f"{at}/output/dense", intermediate, hidden)
        add_norm(f"{at}/output/LayerNorm")
    add_dense("bert/pooler/dense", hidden, hidden)
    add_dense("cls/predictions/transform/dense", hidden, hidden)
    add_norm("cls/predictions/transform/LayerNorm")
    w["cls/predictions/output_bias"] = matrix(vocab)
    w["cls/seq_relationship/output_weights"] = matrix(2, hidden)
    w["cls/seq_relationship/output_bias"] = matrix(2)
    return w
