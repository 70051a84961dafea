"""What is said about the protection is what is in force."""

from eyeline.learn.sandbox import protection


def test_words():
    every = ["limits", "namespaces", "read-only", "landlock", "seccomp"]
    said = " ".join(protection(every).sentences())
    assert "changing your files, the network, starting programs" in said and "Not kept" not in said
    said = " ".join(protection(["limits"]).sentences())
    assert "Not kept, on this system, from: changing your files, the network" in said
    for layers in (every, ["limits"]):
        said = " ".join(protection(layers).sentences())
        assert "it can read your files" in said and "not against an attacker" in said
