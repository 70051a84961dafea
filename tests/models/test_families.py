import pytest

from eyeline.models.families import family_of, read_config


@pytest.mark.parametrize(
    ("content", "family"),
    [
        ({"model_type": "bert", "architectures": ["BertForMaskedLM"]}, "masked"),
        ({"model_type": "bert", "architectures": ["BertModel"]}, "encoder"),
        (
            {"model_type": "bert", "architectures": ["BertLMHeadModel"], "is_decoder": True},
            "causal",
        ),
        ({"model_type": "gpt2", "architectures": ["GPT2LMHeadModel"]}, "causal"),
        ({"model_type": "gpt2", "architectures": ["GPT2Model"]}, "encoder"),
        ({"model_type": "llama", "architectures": ["LlamaForCausalLM"]}, "causal"),
        ({"model_type": "t5"}, "seq2seq"),
        ({"model_type": "eyeline-transformer"}, "seq2seq"),
    ],
)
def test_what_a_model_says(content, family):
    assert family_of(read_config(content, ()), content) == family
