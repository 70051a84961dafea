"""Questions 60 to 71: serving."""

import math

import torch

from eyeline.functional import attention
from eyeline.learn.drill.question import Question, Values
from eyeline.learn.drill.questions._tools import no, normal, yes
from eyeline.nn import KVCache, MultiHeadAttention

__all__ = ["QUESTIONS"]

_GIB = 1 << 30


def _kv_bytes(layers: int, kv_heads: int, head_dim: int, tokens: int, sequences: int = 1) -> int:
    """Bytes of a KV cache in float16: keys and values, of every layer, head and token."""
    return 2 * layers * kv_heads * head_dim * tokens * sequences * 2


def _cached() -> Values:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        attend = MultiHeadAttention(32, 4)
    x, cache = normal(1, 6, 32).float(), KVCache(1)
    with torch.no_grad():
        whole = attend(x, is_causal=True)
        steps = [attend(x[:, i : i + 1], is_causal=True, cache=cache[0]) for i in range(6)]
    key, value = cache[0].contents
    return {
        "difference": float((torch.cat(steps, 1) - whole).abs().max()),
        "kept": (key.numel() + value.numel()) / x.shape[1] / 32,
    }


def _intensity() -> Values:
    """Operations per byte of weights, float16, for one matrix of 4096 × 4096."""

    def of(tokens: int) -> float:
        return 2 * tokens * 4096**2 / (2 * 4096**2)

    return {"decode": of(1), "prefill": of(512)}


def _flash() -> Values:
    query, key, value = (normal(1, 1, 256, 32, seed=s) for s in range(3))
    plain = attention(query, key, value, impl="reference")
    tiled = attention(query, key, value, impl="tiled")
    return {
        "difference": float((plain - tiled).abs().max()),
        "table_mb": 4096 * 4096 * 4 / 1e6,
        "row_kb": 4096 * 2 * 4 / 1e3,
    }


def _linear() -> Values:
    query, key = (normal(64, 16, seed=s).exp() for s in range(2))
    value = normal(64, 16, seed=2)
    table, state = (query @ key.T) @ value, query @ (key.T @ value)
    return {
        "difference": float((table - state).abs().max() / table.abs().max()),
        "table": 2 * 64 * 64 * 16 * 2,
        "state": 2 * 64 * 16 * 16 * 2,
    }


QUESTIONS = [
    Question(
        60,
        "What does a KV cache hold?",
        "For each token of each layer {kept:.0f} × the width: keys and values. Token by "
        "token with it "
        "equals all at once to {difference:.1g}.",
        "practice 23",
        _cached,
        (
            yes(
                "Keys and values of every layer, as attention reads them",
                "Projected, and with rotary positions turned already.",
            ),
            no("The attention weights", "They are of a query that will not come again."),
            no("The token vectors", "Then keys and values would be projected again each time."),
            no("Queries, keys and values", "Old queries are never asked again."),
        ),
        lambda v: v["kept"] == 2 and v["difference"] < 1e-5,
    ),
    Question(
        61,
        "LLaMA-7B: 32 layers, 32 heads of width 128, float16. How many GiB is the KV cache of ONE "
        "sequence of 4,096 tokens?",
        "2 · 32 · 32 · 128 · 4096 · 2 bytes = {answer:.1f} GiB. A batch of 32 takes {batch:.0f}.",
        "practice 23",
        lambda: {
            "answer": _kv_bytes(32, 32, 128, 4096) / _GIB,
            "batch": _kv_bytes(32, 32, 128, 4096, sequences=32) / _GIB,
        },
        unit="GiB",
    ),
    Question(
        62,
        "Why is there no cache of queries?",
        "The query of a token is used once, when it is read; its key and value by all that follow.",
        "practice 23",
        options=(
            yes(
                "A query is asked once; later tokens bring their own",
                "Output t needs query t only, but keys and values 0 … t.",
            ),
            no("Queries are too large", "They are as large as keys."),
            no("Queries change with every token", "They do not: they are simply not needed again."),
            no("There is: it is called the Q cache", "No."),
        ),
    ),
    Question(
        63,
        "Why does writing use a GPU so much worse than reading the prompt?",
        "Operations for each byte of weights that is loaded: {decode:.0f} when one token "
        "is written, "
        "{prefill:.0f} when 512 are read.",
        "practice 23",
        _intensity,
        (
            yes(
                "All weights are loaded for a single token: memory bandwidth is the limit",
                "A prompt's tokens share each load. Batching several texts helps for the "
                "same reason.",
            ),
            no("Writing needs more operations per token", "It needs as many."),
            no("The cache is copied at every step", "It is appended to."),
            no("Sampling is slow", "It is a small part."),
        ),
        lambda v: v["prefill"] == 512 * v["decode"],
    ),
    Question(
        64,
        "64 query heads, 8 heads of keys and values (Llama 2 70B). By what factor is the KV cache "
        "smaller than with multi-head attention?",
        "{answer:.0f}: only the heads of keys and values are kept. MQA (one head) would "
        "give {mqa:.0f}; MLA "
        "keeps one narrow vector instead.",
        "practice 22",
        lambda: {
            "answer": _kv_bytes(80, 64, 128, 4096) / _kv_bytes(80, 8, 128, 4096),
            "mqa": _kv_bytes(80, 64, 128, 4096) / _kv_bytes(80, 1, 128, 4096),
        },
        within=0.01,
    ),
    Question(
        65,
        "Llama 2 70B (80 layers, head width 128, float16) with 64 heads of keys and values "
        "instead of 8: "
        "how many GiB would the cache of 4,096 tokens take?",
        "{answer:.0f} GiB instead of {with_gqa:.2f}: why it has grouped queries.",
        "practice 22",
        lambda: {
            "answer": _kv_bytes(80, 64, 128, 4096) / _GIB,
            "with_gqa": _kv_bytes(80, 8, 128, 4096) / _GIB,
        },
        unit="GiB",
    ),
    Question(
        66,
        "Why is FlashAttention faster?",
        "Walking in tiles gives the same output to {difference:.1g}. For 4,096 tokens a "
        "head's float32 "
        "table is {table_mb:.0f} MB; a running maximum and sum for every query are "
        "{row_kb:.0f} kB.",
        "practice 24",
        _flash,
        (
            yes(
                "It never writes the table of scores to slow memory",
                "It does as many operations, and a few more; it moves far fewer bytes.",
            ),
            no("It needs fewer operations", "It needs slightly more: sums are mended."),
            no("It approximates", "It is exact up to rounding."),
            no("It skips small weights", "It skips none."),
        ),
        lambda v: v["difference"] < 1e-9,
    ),
    Question(
        67,
        "Online softmax: the largest score so far was 2, a block brings 5. By which factor "
        "is what was "
        "summed so far multiplied?",
        "exp(2 - 5) = {answer:.4f}.",
        "practice 24",
        lambda: {"answer": math.exp(2.0 - 5.0)},
    ),
    Question(
        68,
        "How does linear attention avoid the quadratic table?",
        "(φ(Q) φ(K)ᵀ) V and φ(Q) (φ(K)ᵀ V) differ by {difference:.1g}; for 64 tokens of "
        "width 16 they "
        "take {table:,.0f} and {state:,.0f} operations.",
        "practice 24",
        _linear,
        (
            yes(
                "Without softmax the product may be bracketed the other way round",
                "φ(K)ᵀ V is a state of fixed size: fast, and with an RNN's limits.",
            ),
            no("It leaves far tokens out", "That is sliding-window or sparse attention."),
            no("It computes softmax in blocks", "That is FlashAttention, still quadratic."),
            no("It uses fewer heads", "The number of heads changes nothing in the length."),
        ),
        lambda v: v["difference"] < 1e-9 and v["state"] < v["table"],
    ),
    Question(
        69,
        "What does paged attention (vLLM) solve?",
        "Caches grow unforeseeably; pages of a few tokens leave no large gaps.",
        "practice 23",
        options=(
            yes(
                "Memory lost to reserving the longest possible cache for every request",
                "Pages are given out as texts grow, and texts with the same beginning can "
                "share them.",
            ),
            no("The quadratic cost", "It computes the same attention."),
            no("Loading weights from disk", "It is about the cache, not the weights."),
            no("Reading texts longer than memory", "All pages still have to be somewhere."),
        ),
    ),
    Question(
        70,
        "24 GiB are left for caches, and LLaMA-7B's takes as in question 61. How many "
        "sequences of 4,096 "
        "tokens fit?",
        "{answer:.0f}. At half the length, twice as many.",
        "practice 23",
        lambda: {"answer": 24 * _GIB // _kv_bytes(32, 32, 128, 4096)},
        unit="sequences",
        within=0.01,
    ),
    Question(
        71,
        "How can speculative decoding be faster and still give the large model's own distribution?",
        "A small model proposes several tokens; the large one checks them all in one pass.",
        "practice 23",
        options=(
            yes(
                "The large model checks several proposed tokens in one pass, and rejects "
                "by a rule that "
                "keeps its distribution",
                "Checking k tokens costs about as much as writing one: the weights are "
                "loaded once.",
            ),
            no(
                "The small model's tokens are simply taken",
                "Then it would be the small model's text.",
            ),
            no("It skips layers of the large model", "That would change its distribution."),
            no("It writes several texts and takes the best", "That is a beam search, and slower."),
        ),
    ),
]
