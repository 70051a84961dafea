"""The stages of `steps`: projections, norms, rotary positions, scores, softmax, W_O."""

from eyeline._stages.combining import combine as combine
from eyeline._stages.projecting import Vectors as Vectors
from eyeline._stages.projecting import project as project
from eyeline._stages.stage import Arithmetic as Arithmetic
from eyeline._stages.stage import Builder as Builder
from eyeline._stages.stage import Stage as Stage
from eyeline._stages.weighing import weigh as weigh
