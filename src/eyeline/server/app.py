"""The application: what the browser may ask, each route a few lines."""

import asyncio
import json
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Route

from eyeline._errors import EyelineError
from eyeline.server._writing import write
from eyeline.server.classroom import JOIN, STUDENT_TEXT, Classroom, join, join_page
from eyeline.server.guard import ROLE
from eyeline.server.refusals import Refusal
from eyeline.server.shelf import Shelf
from eyeline.server.work import Desk, Frames, Report, explain
from eyeline.view.answers import QUESTIONS, Asked
from eyeline.view.answers.comparing import compare
from eyeline.view.answers.summary import answer as summarize
from eyeline.view.exporting import FORMATS, Shown, export
from eyeline.view.packets import pack, unpack

__all__ = ["BODY_LIMIT", "STATIC", "Desks", "make_app"]

STATIC = Path(__file__).parent / "static"

BODY_LIMIT = 64 * 1024
"""Bytes of a request; a longer text is opened on the command line."""

_BODY_SECONDS = 10.0
_TYPES = {".js": "text/javascript", ".css": "text/css", ".woff2": "font/woff2"}
_HEAVY = frozenset({"heads", "overview", "steps", "cell", "change", "effects"})


CLASS_ROUTES = [Route(JOIN, join_page), Route(JOIN, join, methods=["POST"])]


class Desks:
    """Quick answers do not wait behind slow ones."""

    def __init__(self) -> None:
        self.quick, self.slow = Desk(running=4, waiting=32), Desk(running=2, waiting=32)

    def stop(self) -> None:
        """Tell everything that runs to stop."""
        self.quick.stop()
        self.slow.stop()


def make_app(shelf: Shelf, desks: Desks, classroom: Classroom | None = None) -> Starlette:
    """The application; without a guard it serves nobody outside of tests."""
    routes = [] if classroom is None else CLASS_ROUTES
    routes = [
        *routes,
        Route("/", _page),
        Route("/static/{name:path}", _static),
        Route("/api/start", _start),
        Route("/api/read", _read, methods=["POST"]),
        Route("/api/write", _write, methods=["POST"]),
        Route("/api/compare", _compare, methods=["POST"]),
        Route("/api/readings/{name}/export/{ending}", _export),
        Route("/api/readings/{name}/{question}", _ask),
    ]
    app = Starlette(routes=routes, exception_handlers={Exception: _failed, Refusal: _refused})
    app.state.shelf, app.state.desks, app.state.classroom = shelf, desks, classroom
    return app


async def _page(_request: Request) -> Response:
    return FileResponse(STATIC / "index.html", media_type="text/html")


async def _static(request: Request) -> Response:
    """Only files that lie in the folder, named as they are."""
    name = request.path_params["name"]
    files = {p.relative_to(STATIC).as_posix(): p for p in STATIC.rglob("*") if p.is_file()}
    if name not in files:
        raise HTTPException(404)
    return FileResponse(files[name], media_type=_TYPES.get(files[name].suffix))


async def _start(request: Request) -> Response:
    shelf: Shelf = request.app.state.shelf
    opened = shelf.opened
    text = opened.text
    return JSONResponse(
        {
            "models": [m for m in shelf.offered() if _may_use(request, m["name"])],
            "model": opened.model,
            "text": text if text is None or len(text) <= 4000 else None,
            "opened": text is not None,
            "characters": 0 if text is None else len(text),
            "classroom": _is_student(request),
        }
    )


async def _read(request: Request) -> Any:
    """Let a model read a text; the answer is the reading's summary with its id."""
    shelf: Shelf = request.app.state.shelf
    asked = await _body(request)
    text, model = asked.get("text"), asked.get("model") or shelf.opened.model
    target = asked.get("target") or None
    if asked.get("opened"):
        text, target = shelf.opened.text, target or shelf.opened.target
    if not isinstance(text, str) or not isinstance(model, str):
        raise Refusal("text and model are wanted, both as text")
    if target is not None and not isinstance(target, str):
        raise Refusal("target must be text")
    _check_student(request, text if not asked.get("opened") else "", model)

    def job(report: Report) -> bytes:
        name, viewed = shelf.read(text, model, target, report)
        head, arrays = unpack(summarize(Asked(viewed)))
        return pack({**head, "id": name}, arrays)

    return Frames(request.app.state.desks.slow, job)


async def _write(request: Request) -> Any:
    """Let a model write on."""
    shelf: Shelf = request.app.state.shelf
    asked = await _body(request)
    text = asked.get("text")
    model = str(asked.get("model") or shelf.opened.model)
    _check_student(request, text if isinstance(text, str) else "", model)
    return Frames(request.app.state.desks.slow, lambda report: write(shelf, asked, report))


async def _compare(request: Request) -> Any:
    """Two readings beside each other."""
    shelf: Shelf = request.app.state.shelf
    asked = await _body(request)
    one, other = (shelf.reading(str(asked.get(side))) for side in ("one", "other"))
    kinds = tuple(
        str(asked.get(name) or viewed.reading.default_kind)
        for name, viewed in (("kind", one), ("other_kind", other))
    )
    for viewed, kind in ((one, kinds[0]), (other, kinds[1])):
        viewed.reading.maps(kind)  # an unknown kind is an error before any work

    def job(_report: Report) -> bytes:
        return compare(one, other, (kinds[0], kinds[1]))

    return Frames(request.app.state.desks.slow, job)


async def _export(request: Request) -> Any:
    """What is shown, as a file; the file is the packet of the answer."""
    shelf: Shelf = request.app.state.shelf
    ending = request.path_params["ending"]
    if ending not in FORMATS:
        raise HTTPException(404)
    viewed = shelf.reading(request.path_params["name"])
    asked = Asked(viewed, dict(request.query_params))

    def job(_report: Report) -> bytes:
        token = asked.optional("token")
        shown = Shown(
            token,
            asked.optional("layer"),
            asked.optional("head"),
            asked.kind,
            asked.flag("hide"),
            asked.direction,
        )
        return export(viewed.reading, ending, shown)

    return Frames(request.app.state.desks.slow, job)


async def _ask(request: Request) -> Any:
    """One of the questions of `eyeline.view.answers`."""
    shelf: Shelf = request.app.state.shelf
    question = request.path_params["question"]
    if question not in QUESTIONS:
        raise HTTPException(404)
    viewed = shelf.reading(request.path_params["name"])
    given = dict(request.query_params)

    def job(report: Report) -> bytes:
        def tick(done: int, total: int) -> None:
            report(question, done, total)

        return QUESTIONS[question](Asked(viewed, given, tick))

    desks: Desks = request.app.state.desks
    return Frames(desks.slow if question in _HEAVY else desks.quick, job)


def _is_student(request: Request) -> bool:
    return request.scope.get(ROLE) == "student"


def _may_use(request: Request, model: str) -> bool:
    """Students use what the teacher has loaded: opening a model takes memory and time."""
    return not _is_student(request) or model in request.app.state.shelf.models


def _check_student(request: Request, text: str, model: str) -> None:
    if not _may_use(request, model):
        raise Refusal(f"{model!r} is not open in this class: ask your teacher to open it")
    if _is_student(request) and len(text) > STUDENT_TEXT:
        raise Refusal(f"in a class a text has at most {STUDENT_TEXT} characters: shorten it")


async def _body(request: Request) -> dict[str, Any]:
    """The request's JSON object, within the limits of size and time."""
    received = bytearray()

    async def take() -> None:
        async for chunk in request.stream():
            received.extend(chunk)
            if len(received) > BODY_LIMIT:
                raise Refusal(
                    f"a request holds at most {BODY_LIMIT // 1024} KiB: "
                    "open longer texts with: eyeline open FILE"
                )

    try:
        await asyncio.wait_for(take(), _BODY_SECONDS)
        found = json.loads(bytes(received))
    except TimeoutError:
        raise Refusal(f"the request took longer than {_BODY_SECONDS:.0f} s to arrive") from None
    except (ValueError, RecursionError):
        raise Refusal("the request is no JSON object") from None
    if not isinstance(found, dict):
        raise Refusal("the request is no JSON object")
    return found


async def _refused(_request: Request, error: Exception) -> Response:
    assert isinstance(error, Refusal)
    after = error.details.get("retry_after")
    headers = {"retry-after": str(after)} if after else None
    return JSONResponse(explain(error), error.status, headers)


async def _failed(_request: Request, error: Exception) -> Response:
    return JSONResponse(explain(error), 400 if isinstance(error, EyelineError) else 500)
