"""What is right, and what people write instead: one file per subject.

attention.py   scores, scale, softmax, weighted sum       masking.py   masks inside attention
"""

from eyeline.doctor.catalogue import masking as masking
from eyeline.doctor.catalogue.attention import ATTENTION as ATTENTION
from eyeline.doctor.catalogue.equivalent import EQUIVALENT as EQUIVALENT
from eyeline.doctor.catalogue.multi_head import MULTI_HEAD as MULTI_HEAD
