"""A diagnosis in the terminal says what its text says."""

from eyeline.doctor import check, forge
from eyeline.view.diagnosis import render_diagnosis
from eyeline.view.terminal import to_text


def flat(text):
    return " ".join(text.split())


def test_wrong():
    diagnosis = check(forge("attention", "scaled by 1/head_dim"), mask="attend")
    shown = flat(to_text(render_diagnosis(diagnosis)))
    assert f"{diagnosis.candidate}: wrong (attention): {diagnosis.name}" in shown
    assert flat(str(diagnosis.evidence[0])) in shown
    for mistake in diagnosis.mistakes:
        assert flat(mistake.seen) in shown
    for stage in diagnosis.stages:
        assert stage.name in shown and flat(" ".join(stage.lines)) in shown


def test_right_with_its_remarks():
    diagnosis = check(forge("attention"), mask="attend")
    shown = flat(to_text(render_diagnosis(diagnosis)))
    assert "attention: right (attention)" in shown
    for remark in diagnosis.remarks:
        assert flat(remark) in shown


def test_what_fits_equally_is_numbered():
    def anti(n):
        import torch

        return torch.ones(n, n).triu().bool()

    diagnosis = check(anti, "causal mask")
    assert len(diagnosis.explanations) == 2 and " or " in diagnosis.name
    shown = flat(to_text(render_diagnosis(diagnosis)))
    assert "Explanation 1 of 2" in shown and "Explanation 2 of 2" in shown
