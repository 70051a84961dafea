"""What each parameter of a candidate means, by the names that people use."""

import inspect
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from torch import nn

from eyeline._errors import EyelineError

__all__ = ["Signature", "read_signature", "role_of"]

_ROLES = {
    "query": "q query queries xq query_states query_layer q_states que qs",
    "key": "k key keys xk key_states key_layer k_states ks",
    "value": "v value values xv value_states value_layer v_states val vals vs",
    "mask": "mask attn_mask attention_mask m allowed src_mask tgt_mask att_mask bool_mask "
    "combined_mask self_attn_mask",
    "padding": "padding key_padding_mask padding_mask pad_mask src_key_padding_mask",
    "is_causal": "is_causal causal use_causal",
    "enable_gqa": "enable_gqa",
    "x": "x input inputs hidden_states hidden src embeddings embedding emb tokens in_features inp "
    "input_tensor tensor h residual xs sequence data logits scores vector vectors",
    "memory": "memory context encoder_hidden_states key_value_states enc_out encoder_output "
    "encoder_outputs enc source y kv cross",
    "cache": "cache kv_cache past past_key_value past_key_values layer_past past_kv state "
    "key_value_cache",
    "positions": "positions position pos position_ids token_positions input_pos",
    "offset": "offset start_pos start position_offset start_position cache_position pos_offset",
    "dim": "dim axis",
    "num_heads": "num_heads n_heads n_head heads nhead num_attention_heads n_h nheads",
    "num_kv_heads": "num_kv_heads n_kv_heads n_local_heads num_key_value_heads kv_heads",
    "head_dim": "head_dim d_k dk d_head head_size dim_head hd",
    "embed_dim": "embed_dim d_model n_embd hidden_size emb_dim embed_size d_in d_out model_dim "
    "embedding_dim d_emb dim_model d features normalized_shape dim_in dim_out d_embed width c_dim "
    "hidden_dim",
    "length": "length n seq_len seq_length size max_len max_length context_length block_size "
    "max_seq_len num_positions t l sz num_tokens context_size max_position_embeddings ctx_len",
    "q_len": "q_len tgt_len query_len len_q l_q q_length target_len lq tq n_q nq num_queries",
    "kv_len": "kv_len src_len key_len len_k l_k k_len s_len kv_length source_len lk tk n_k nk "
    "num_keys",
    "lengths": "lengths lens seq_lens valid_lens sequence_lengths valid_len",
    "ids": "ids input_ids token_ids idx seq",
    "pad_id": "pad_id pad_idx pad pad_token_id padding_idx pad_token",
    "weight": "weight gamma g w scale_param",
    "bias": "bias beta b shift",
    "eps": "eps epsilon",
    "labels": "labels targets target",
    "cos": "cos cosine freqs_cos cos_cached",
    "sin": "sin sine freqs_sin sin_cached",
    "base": "base theta rope_theta rope_base",
    "w_query": "w_q wq q_proj_weight q_weight w_query query_weight wq_weight q_proj weight_q wqs",
    "w_key": "w_k wk k_proj_weight k_weight w_key key_weight k_proj weight_k wks",
    "w_value": "w_v wv v_proj_weight v_weight w_value value_weight v_proj weight_v wvs",
    "w_output": "w_o wo o_proj_weight out_weight w_out output_weight out_proj_weight o_proj "
    "output_proj_weight weight_o o_weight",
}
_ROLE_BY_NAME = {name: role for role, names in _ROLES.items() for name in names.split()}


def role_of(name: str) -> str | None:
    """What a parameter of this name is for; None if the name is not known."""
    return _ROLE_BY_NAME.get(name.lower().strip("_"))


@dataclass(frozen=True)
class Signature:
    """The parameters of a candidate by role.

    Attributes:
        parameters: Role → the parameter's own name, or its index where only places count.
        required: Roles without a default.
        strangers: Parameters without a default whose role is not known.
        names: All parameters as they are written.
    """

    parameters: dict[str, str | int]
    required: frozenset[str]
    strangers: tuple[str, ...]
    names: tuple[str, ...]

    def __contains__(self, role: str) -> bool:
        return role in self.parameters

    def arguments(self, given: dict[str, Any]) -> tuple[list[Any], dict[str, Any]]:
        """Positional and named arguments of a call with these roles."""
        places: dict[int, Any] = {}
        named: dict[str, Any] = {}
        for role, thing in given.items():
            where = self.parameters[role]
            if isinstance(where, int):
                places[where] = thing
            else:
                named[where] = thing
        return [places[i] for i in sorted(places)], named

    def without(self, *roles: str) -> "Signature":
        """The same as if there were no such parameters."""
        kept = {role: name for role, name in self.parameters.items() if role not in roles}
        return replace(self, parameters=kept)

    def __str__(self) -> str:
        return f"({', '.join(self.names)})"


def read_signature(candidate: Callable[..., Any], by_place: tuple[str, ...]) -> Signature:
    """The roles of a candidate's parameters.

    Args:
        candidate: A function, or a module (its `forward` is read).
        by_place: Roles of parameters whose names say nothing, in order; those that are needed at
            least stand first.

    Raises:
        EyelineError: There is a parameter that must be given and nobody knows what it is.
    """
    function = candidate.forward if isinstance(candidate, nn.Module) else candidate
    if getattr(function, "__name__", "") == "scaled_dot_product_attention":
        return _torch_sdpa()
    try:
        parameters = list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError):  # written in C: only the places are known
        return Signature(
            {role: i for i, role in enumerate(by_place[:3])}, frozenset(by_place[:3]), (), ("…",)
        )
    return _by_name(parameters, by_place)


def _by_name(parameters: list[inspect.Parameter], by_place: tuple[str, ...]) -> Signature:
    plain = [p for p in parameters if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]
    names = tuple(str(p.name) for p in parameters)
    if not plain and any(p.kind is p.VAR_POSITIONAL for p in parameters):
        return Signature(dict(_numbered(by_place[:3])), frozenset(by_place[:3]), (), names)
    known: dict[str, inspect.Parameter] = {}
    unknown: list[inspect.Parameter] = []
    for parameter in plain:
        role = role_of(parameter.name)
        if role is None or role in known:
            unknown.append(parameter)
        else:
            known[role] = parameter
    sides = ("query", "key", "value")
    if by_place[:3] == sides and not set(known) & {*sides, "x"}:
        # f(a, b, c): that b may be a bias elsewhere means nothing here
        unknown = [p for p in plain if p.default is p.empty]
        known = {role: p for role, p in known.items() if p not in unknown}
    needed = [p for p in unknown if p.default is p.empty]
    if needed and by_place and not set(known) & set(by_place):  # names that say nothing: by place
        known |= dict(zip(by_place, needed, strict=False))
        needed = needed[len(by_place) :]
    for parameter in [p for p in needed if "mask" in p.name.lower() and "mask" not in known]:
        known["mask"] = parameter
        needed.remove(parameter)
    found: dict[str, str | int] = {}
    for role, parameter in known.items():
        only_place = parameter.kind is parameter.POSITIONAL_ONLY
        found[role] = plain.index(parameter) if only_place else parameter.name
    required = frozenset(r for r, p in known.items() if p.default is p.empty)
    return Signature(found, required, tuple(p.name for p in needed), names)


def _numbered(roles: tuple[str, ...]) -> list[tuple[str, int]]:
    return [(role, i) for i, role in enumerate(roles)]


def _torch_sdpa() -> Signature:
    """What is written in C tells nobody its parameters: those of torch's own."""
    names = ("query", "key", "value", "attn_mask", "is_causal", "enable_gqa", "scale")
    roles = {"query": "query", "key": "key", "value": "value", "mask": "attn_mask"}
    return Signature(
        {**roles, "is_causal": "is_causal", "enable_gqa": "enable_gqa"},
        frozenset(("query", "key", "value")),
        (),
        names,
    )


def cannot_map(
    candidate_name: str,
    signature: Signature,
    wanted: str,
    adapter: str,
    missing: list[str] | None = None,
) -> EyelineError:
    """The error for parameters that must be given and mean nothing to us."""
    names = [*signature.strangers, *(str(signature.parameters[role]) for role in missing or [])]
    strange = ", ".join(names) or "its parameters"
    return EyelineError(
        f"{candidate_name}{signature}: I do not know what to give for {strange}. "
        f"Expected something like {wanted}. Rename it, give it a default, or say how to call it: "
        f"check(candidate, adapter={adapter})"
    )
