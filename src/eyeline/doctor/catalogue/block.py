"""The wiring of a block: attention and feed-forward, each with a norm and a way around it.

before:  h = x + attention(norm1(x));      output = h + feed_forward(norm2(h))
after:   h = norm1(x + attention(x));      output = norm2(h + feed_forward(h))
"""

from eyeline.doctor.recipe import Recipe, State

__all__ = ["BLOCK"]

BLOCK = Recipe(
    "block",
    "x + attention(norm(x)), then h + feed_forward(norm(h)); or norms behind the sums",
    result="output",
    signature="f(x)",
)


@BLOCK.step
def attended(s: State) -> State:
    """Attention and the way around it."""
    if s.norm_first:
        return s.x + s.attention(s.norm1(s.x))
    return s.norm1(s.x + s.attention(s.x))


@BLOCK.step
def output(s: State) -> State:
    """Feed-forward and the way around it."""
    h = s.attended
    if s.norm_first:
        return h + s.feed_forward(s.norm2(h))
    return s.norm2(h + s.feed_forward(h))


XIONG = "Xiong et al. 2020, arXiv:2002.04745"


@BLOCK.mistake(
    "attended",
    "no way around attention",
    seen="x = self.attn(self.norm1(x))",
    symptom="Deep models do not train: gradients have to pass every attention.",
    fix="How does the token itself get past attention?",
)
def _(s: State) -> State:
    return s.attention(s.norm1(s.x)) if s.norm_first else s.norm1(s.attention(s.x))


@BLOCK.mistake(
    "output",
    "no way around the feed-forward network",
    seen="return self.ffn(self.norm2(x))",
    symptom="Deep models do not train: gradients have to pass every feed-forward network.",
    fix="How does the token itself get past the feed-forward network?",
)
def _(s: State) -> State:
    h = s.attended
    return s.feed_forward(s.norm2(h)) if s.norm_first else s.norm2(s.feed_forward(h))


@BLOCK.mistake(
    "attended",
    "residual of the normed token",
    seen="x = self.norm1(x); x = x + self.attn(x)",
    symptom="The stream is normed again in each block: deep models train worse.",
    fix="What is added: what came in, or what was normed?",
    needs=("norms_first",),
)
def _(s: State) -> State:
    normed = s.norm1(s.x)
    return normed + s.attention(normed)


@BLOCK.mistake(
    "output",
    "residual of the normed state",
    seen="x = self.norm2(x); x = x + self.ffn(x)",
    symptom="The stream is normed again in each block: deep models train worse.",
    fix="What is added: what came in, or what was normed?",
    needs=("norms_first",),
)
def _(s: State) -> State:
    normed = s.norm2(s.attended)
    return normed + s.feed_forward(normed)


@BLOCK.mistake(
    "attended",
    "first norm never used",
    seen="x = x + self.attn(x)",
    symptom="Its weight gets no gradient; activations grow from block to block.",
    fix="Which of your parameters has no gradient?",
)
def _(s: State) -> State:
    return s.x + s.attention(s.x)


@BLOCK.mistake(
    "output",
    "second norm never used",
    seen="x = x + self.ffn(x)",
    symptom="Its weight gets no gradient; activations grow from block to block.",
    fix="Which of your parameters has no gradient?",
)
def _(s: State) -> State:
    return s.attended + s.feed_forward(s.attended)


@BLOCK.mistake(
    "output",
    "first norm used twice",
    seen="x = x + self.ffn(self.norm1(x))",
    symptom="norm2 gets no gradient; a checkpoint that is loaded gives nonsense.",
    fix="Which of your parameters has no gradient?",
)
def _(s: State) -> State:
    h = s.attended
    return h + s.feed_forward(s.norm1(h)) if s.norm_first else s.norm1(h + s.feed_forward(h))


@BLOCK.mistake(
    "attended",
    "norms exchanged",
    seen="x = x + self.attn(self.norm2(x)); x = x + self.ffn(self.norm1(x))",
    symptom="Trains well from nothing; a checkpoint that is loaded gives nonsense.",
    fix="Which norm belongs to which half?",
    also={
        "output": lambda s: (
            s.attended + s.feed_forward(s.norm1(s.attended))
            if s.norm_first
            else s.norm1(s.attended + s.feed_forward(s.attended))
        )
    },
)
def _(s: State) -> State:
    return s.x + s.attention(s.norm2(s.x)) if s.norm_first else s.norm2(s.x + s.attention(s.x))


@BLOCK.mistake(
    "output",
    "feed-forward reads the block's input",
    seen="return x + self.attn(self.norm1(x)) + self.ffn(self.norm2(x))",
    symptom="GPT-J and PaLM are wired so (in parallel); others are not.",
    fix="Does the feed-forward network see what attention found?",
)
def _(s: State) -> State:
    if s.norm_first:
        return s.attended + s.feed_forward(s.norm2(s.x))
    return s.norm2(s.attended + s.feed_forward(s.x))


@BLOCK.mistake(
    "output",
    "second residual of the block's input",
    seen="h = x + self.attn(self.norm1(x)); return x + self.ffn(self.norm2(h))",
    symptom="What attention found reaches the next block only through the feed-forward network.",
    fix="To what is the second result added?",
)
def _(s: State) -> State:
    h = s.attended
    return s.x + s.feed_forward(s.norm2(h)) if s.norm_first else s.norm2(s.x + s.feed_forward(h))


@BLOCK.mistake(
    "output",
    "feed-forward never used",
    seen="x = x + self.attn(self.norm1(x)); return x",
    symptom="Its weights get no gradient.",
    fix="Which of your parameters has no gradient?",
)
def _(s: State) -> State:
    return s.attended


@BLOCK.mistake(
    "attended",
    "norms behind the sums instead of before the sublayers",
    seen="x = self.norm1(x + self.attn(x)); x = self.norm2(x + self.ffn(x))",
    symptom="Needs a warm-up to train; a checkpoint of the other kind gives nonsense.",
    fix="Where do the norms of the model that you follow stand?",
    source=XIONG + "; annotated-transformer#92. Only where norm_first=True is stated",
    needs=("stated", "norms_first"),
    also={"output": lambda s: s.norm2(s.attended + s.feed_forward(s.attended))},
)
def _(s: State) -> State:
    return s.norm1(s.x + s.attention(s.x))


@BLOCK.mistake(
    "attended",
    "norms before the sublayers instead of behind the sums",
    seen="x = x + self.attn(self.norm1(x)); x = x + self.ffn(self.norm2(x))",
    symptom="A checkpoint of the other kind (BERT, the paper of 2017) gives nonsense.",
    fix="Where do the norms of the model that you follow stand?",
    source=XIONG + "; annotated-transformer#92. Only where norm_first=False is stated",
    needs=("stated", "norms_last"),
    also={"output": lambda s: s.attended + s.feed_forward(s.norm2(s.attended))},
)
def _(s: State) -> State:
    return s.x + s.attention(s.norm1(s.x))
