"""The exercises, one master file each: what the learner gets, what is compared, what goes wrong."""
