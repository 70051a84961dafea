"""What is right, and what people write instead: one file per subject.

attention.py    what is scored, and how it is scaled        masking.py   masks inside attention
weighting.py    from scores to output: softmax, blocks, the weighted sum
multi_head.py   projections, cutting into heads, merging, W_O
split_heads.py merge_heads.py softmax.py causal_mask.py padding_mask.py   these by themselves
sinusoids.py rotary.py alibi.py   positions
decoding.py     a cache of keys and values
layer_norm.py block.py pooling.py next_token_loss.py   what stands around attention
equivalent.py   mistakes that give the same numbers
"""

from eyeline.doctor.catalogue import masking as masking
from eyeline.doctor.catalogue import weighting as weighting
from eyeline.doctor.catalogue.alibi import ALIBI as ALIBI
from eyeline.doctor.catalogue.attention import ATTENTION as ATTENTION
from eyeline.doctor.catalogue.block import BLOCK as BLOCK
from eyeline.doctor.catalogue.causal_mask import CAUSAL_MASK as CAUSAL_MASK
from eyeline.doctor.catalogue.decoding import DECODING as DECODING
from eyeline.doctor.catalogue.equivalent import EQUIVALENT as EQUIVALENT
from eyeline.doctor.catalogue.layer_norm import LAYER_NORM as LAYER_NORM
from eyeline.doctor.catalogue.merge_heads import MERGE_HEADS as MERGE_HEADS
from eyeline.doctor.catalogue.multi_head import MULTI_HEAD as MULTI_HEAD
from eyeline.doctor.catalogue.next_token_loss import NEXT_TOKEN_LOSS as NEXT_TOKEN_LOSS
from eyeline.doctor.catalogue.padding_mask import PADDING_MASK as PADDING_MASK
from eyeline.doctor.catalogue.pooling import POOLING as POOLING
from eyeline.doctor.catalogue.rotary import ROTARY as ROTARY
from eyeline.doctor.catalogue.sinusoids import SINUSOIDS as SINUSOIDS
from eyeline.doctor.catalogue.softmax import SOFTMAX as SOFTMAX
from eyeline.doctor.catalogue.split_heads import SPLIT_HEADS as SPLIT_HEADS
