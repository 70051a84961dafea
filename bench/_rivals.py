"""Other attentions, made ready to be timed: onnxruntime's, if it is installed."""

from collections.abc import Callable

import numpy
import torch
from torch import Tensor


def onnxruntime_attention(query: Tensor, key: Tensor, value: Tensor) -> Callable | None:
    """`com.microsoft.MultiHeadAttention` on the same numbers; None without onnx and onnxruntime."""
    try:
        import onnx
        import onnxruntime
    except ImportError:
        return None
    batch, heads, length, width = query.shape

    def flat(tensor: Tensor) -> numpy.ndarray:  # its layout is [batch, length, heads * width]
        return tensor.transpose(1, 2).reshape(batch, tensor.shape[2], heads * width).numpy()

    feeds = {name: flat(t) for name, t in zip("qkv", (query, key, value), strict=True)}
    float32 = onnx.TensorProto.FLOAT
    info = onnx.helper.make_tensor_value_info
    node = onnx.helper.make_node(
        "MultiHeadAttention", list(feeds), ["out"], domain="com.microsoft", num_heads=heads
    )
    graph = onnx.helper.make_graph(
        [node],
        "attention",
        [info(name, float32, feed.shape) for name, feed in feeds.items()],
        [info("out", float32, (batch, length, heads * width))],
    )
    opsets = [onnx.helper.make_opsetid("", 17), onnx.helper.make_opsetid("com.microsoft", 1)]
    model = onnx.helper.make_model(graph, opset_imports=opsets, ir_version=8)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    # threads that wait by spinning would take the CPU from whoever is timed next
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    return lambda: session.run(None, feeds)
