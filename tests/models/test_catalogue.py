import re
from pathlib import PurePosixPath

from eyeline.models import CATALOGUE


def test_every_entry_is_pinned_in_full():
    for name, entry in CATALOGUE.items():
        assert entry.name == name
        assert re.fullmatch(r"[0-9a-f]{40}", entry.revision)
        assert re.fullmatch(r"[0-9a-f]{64}", entry.sha256)
        assert re.fullmatch(r"[0-9a-f]{64}", entry.hub_sha256)
        assert entry.requirement == f"{entry.package}=={entry.version}"
        assert entry.licence == "Apache-2.0"
        assert entry.format == ("gguf" if entry.member.endswith(".gguf") else "folder")
        assert ".." not in PurePosixPath(entry.member).parts


def test_the_documented_names_exist():
    assert list(CATALOGUE) == ["minilm", "smollm2"]
