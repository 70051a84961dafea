"""Downloads from the Hugging Face Hub, or says quickly and quietly that it cannot."""

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from eyeline._errors import one_line
from eyeline.models._layout import UNWANTED, WANTED

_SECONDS_TO_ANSWER = 4.0


class HubUnavailable(Exception):
    """The Hub cannot be used; the message says why, as part of a sentence."""


class HubHasNot(Exception):
    """The Hub answers and has no such model, or does not give it to us."""


def require_hub() -> None:
    """Return when the Hub answers.

    Raises:
        HubUnavailable: If it does not within a few seconds, is switched off, or its package is
            not installed.
    """
    try:
        from huggingface_hub import constants
        from huggingface_hub.utils import get_session
    except ImportError as error:
        raise HubUnavailable('huggingface_hub is not installed (pip install "eyeline[hf]")') from (
            error
        )
    if constants.is_offline_mode():
        raise HubUnavailable("HF_HUB_OFFLINE is set")
    failures: list[str] = []

    def ask() -> None:
        try:
            get_session().head(constants.ENDPOINT, timeout=_SECONDS_TO_ANSWER)
        except Exception as error:
            failures.append(one_line(error) or type(error).__name__)

    # In a thread: no timeout of a client covers a name server that does not answer.
    thread = threading.Thread(target=ask, name="eyeline-hub", daemon=True)
    thread.start()
    thread.join(_SECONDS_TO_ANSWER)
    if thread.is_alive():
        raise HubUnavailable(f"no answer within {_SECONDS_TO_ANSWER:g} s")
    if failures:
        raise HubUnavailable(failures[0])


def download(hub_id: str, *, revision: str | None = None, into: Path | None = None) -> Path:
    """Download the safetensors, configuration and tokenizer of a model.

    Args:
        hub_id: `organisation/name`, or a bare name of the early models.
        revision: The commit; None is the newest.
        into: A folder to download into, or None for the Hub's own cache.

    Returns:
        The folder with the files.

    Raises:
        HubUnavailable: If the connection fails.
        HubHasNot: If there is no such model, or it is not given to us.
    """
    return _snapshot(hub_id, revision=revision, into=into, local_only=False)


def blobs_folder(hub_id: str) -> Path:
    """Where the Hub's own cache puts the files of a model while and after it downloads them.

    Args:
        hub_id: `organisation/name`, or a bare name of the early models.

    Returns:
        The folder; it need not exist. Nothing in it is a link to something else in it.
    """
    from huggingface_hub import constants
    from huggingface_hub.file_download import repo_folder_name

    name = repo_folder_name(repo_id=hub_id, repo_type="model")
    return Path(constants.HF_HUB_CACHE) / name / "blobs"


def from_local_cache(hub_id: str) -> Path:
    """The folder of a model that the Hub's own cache holds already.

    Args:
        hub_id: `organisation/name`, or a bare name of the early models.

    Returns:
        The folder.

    Raises:
        HubUnavailable: If the cache has no such model.
        HubHasNot: If this cannot be a name on the Hub.
    """
    return _snapshot(hub_id, revision=None, into=None, local_only=True)


def _snapshot(hub_id: str, *, revision: str | None, into: Path | None, local_only: bool) -> Path:
    try:
        from huggingface_hub import snapshot_download
        from huggingface_hub.errors import (
            GatedRepoError,
            HFValidationError,
            RepositoryNotFoundError,
            RevisionNotFoundError,
        )
    except ImportError as error:
        raise HubUnavailable('huggingface_hub is not installed (pip install "eyeline[hf]")') from (
            error
        )
    try:
        with _quiet():
            folder = snapshot_download(
                hub_id,
                revision=revision,
                local_dir=into,
                local_files_only=local_only,
                allow_patterns=list(WANTED),
                ignore_patterns=list(UNWANTED),
                etag_timeout=_SECONDS_TO_ANSWER,
            )
    except GatedRepoError as error:
        raise HubHasNot(
            f"{hub_id} is gated: accept its terms on its page, then run hf auth login"
        ) from error
    except (RepositoryNotFoundError, RevisionNotFoundError, HFValidationError) as error:
        raise HubHasNot(f"the Hub has no {hub_id}{f'@{revision}' if revision else ''}") from error
    except Exception as error:
        # Whatever else goes wrong on the way, the caller has another way to try.
        raise HubUnavailable(one_line(error).split(". ")[0] or type(error).__name__) from error
    return Path(folder)


@contextmanager
def _quiet() -> Iterator[None]:
    """No bars and no log lines of the library: the caller reports progress in its own way."""
    from huggingface_hub.utils import (
        are_progress_bars_disabled,
        disable_progress_bars,
        enable_progress_bars,
    )

    logger = logging.getLogger("huggingface_hub")
    level, shown = logger.level, not are_progress_bars_disabled()
    logger.setLevel(logging.CRITICAL)
    if shown:
        disable_progress_bars()
    try:
        yield
    finally:
        logger.setLevel(level)
        if shown:
            enable_progress_bars()
