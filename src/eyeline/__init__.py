"""What every token looks at: in any Transformer, at any length, exactly."""

from eyeline import biases as biases
from eyeline import masks as masks
from eyeline.functional import attention as attention
from eyeline.functional import observe as observe
from eyeline.maps import AttentionMap as AttentionMap
from eyeline.maps import Measure as Measure
