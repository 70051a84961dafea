"""The doctor: is this attention right, and if not, which mistake is it?"""

from eyeline.doctor.checking import check
from eyeline.doctor.diagnosis import Diagnosis, Evidence, Stage
from eyeline.doctor.forging import forge
from eyeline.doctor.kinds import KINDS, Kind
from eyeline.doctor.recipe import Mistake

__all__ = ["KINDS", "Diagnosis", "Evidence", "Kind", "Mistake", "Stage", "check", "forge"]
