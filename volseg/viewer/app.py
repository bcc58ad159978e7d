"""The server of the page: which address gives what."""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar, cast
from urllib.parse import quote

from anyio import CapacityLimiter, to_thread
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, RedirectResponse, Response, StreamingResponse
from starlette.routing import Route

from volseg.errors import OutputError, UserError
from volseg.viewer.page_files import LIST, VIEWER, kind_of, page_files
from volseg.viewer.refusal import RefusedError
from volseg.viewer.request_bodies import mask_body, parse_json, read_body, read_json_body
from volseg.viewer.saving import Place, SaveRequest
from volseg.viewer.session import Discard, Session, WriterKey

BYTES = "application/octet-stream"
PART = 1 << 20  # bytes that are sent together
TICK_SECONDS = 5.0
UNWRITTEN = "nothing was saved, and what you drew is still in this page; mend that, then save again"
Result = TypeVar("Result")
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Api:
    """The answers to requests; work is done in two threads at most, so that memory is bounded."""

    session: Session
    limiter: CapacityLimiter = field(default_factory=lambda: CapacityLimiter(2))

    async def _work(self, task: Callable[..., Result], *arguments: Any) -> Result:
        return await to_thread.run_sync(task, *arguments, limiter=self.limiter)

    async def list_page(self, _: Request) -> Response:
        """The page of all scans; of a single one that was asked for, its own."""
        only = self.session.only_scan
        if only:
            return RedirectResponse(f"scans/{quote(only, safe='')}/")
        return self._page(LIST)

    async def viewer_page(self, request: Request) -> Response:
        """The page of a scan."""
        self.session.scans.prediction(request.path_params["scan"])
        return self._page(VIEWER)

    async def static(self, request: Request) -> Response:
        """A file of the page."""
        name = request.path_params["name"]
        if name.endswith(".html"):
            raise HTTPException(404)
        return self._page(name)

    def _page(self, name: str) -> Response:
        file = page_files().get(name)
        if file is None:
            raise HTTPException(404)
        return Response(file.read_bytes(), media_type=kind_of(name))

    async def scan_list(self, _: Request) -> Response:
        """What is known of all scans."""
        return JSONResponse(await self._work(self.session.list_facts))

    async def scan_facts(self, request: Request) -> Response:
        """What is known of one scan."""
        return JSONResponse(await self._work(self.session.scan_facts, request.path_params["scan"]))

    async def image(self, request: Request) -> Response:
        """The image as NIfTI."""
        return _streamed(await self._work(self.session.image_file, request.path_params["scan"]))

    async def mask(self, request: Request) -> Response:
        """The voxels of a class as NIfTI."""
        given = request.path_params
        return _streamed(
            await self._work(self.session.mask_file, given["scan"], given["kind"], given["name"])
        )

    async def picture(self, request: Request) -> Response:
        """A slice as PNG."""
        given = request.path_params
        shown = request.query_params.get("masks", "1") != "0"
        png = await self._work(self.session.picture, given["scan"], given["index"], shown)
        return Response(png, media_type="image/png")

    async def enter(self, request: Request) -> Response:
        """Become the tab that writes a scan."""
        await read_body(request, 1 << 10)
        return JSONResponse({"writer": await self._work(self.session.enter, request.path_params["scan"])})

    async def renew(self, request: Request) -> Response:
        """Stay the tab that writes."""
        key = (await read_json_body(request, WriterKey)).writer
        await self._work(self.session.renew, request.path_params["scan"], key)
        return JSONResponse({"writer": key})

    async def leave(self, request: Request) -> Response:
        """No longer be the tab that writes."""
        key = (await read_json_body(request, WriterKey)).writer
        self.session.leave(request.path_params["scan"], key)
        return JSONResponse({})

    async def edit(self, request: Request) -> Response:
        """A mask after an operation."""
        scan = self.session.scans.scan(request.path_params["scan"])
        size = await self._work(lambda: scan.grid.voxels)
        body = await read_body(request, size)
        settings = dict(request.query_params)
        edited = await self._work(self.session.edit, scan, request.path_params["operation"], settings, body)
        return Response(edited, media_type=BYTES)

    async def save(self, request: Request) -> Response:
        """Save masks for good, or aside until they are saved."""
        place = cast("Place", request.path_params["place"])
        scan = await self._work(self.session.scan_to_write, request.path_params["scan"])
        size, masks = scan.grid.voxels, len(scan.classes)
        async with mask_body(request, scan.folder, masks=masks, size=size) as body:
            wanted = parse_json(body.line, SaveRequest)
            saved = await self._work(self.session.save, scan.name, wanted, body.bitmap, place)
        return JSONResponse(saved.model_dump())

    async def discard(self, request: Request) -> Response:
        """Throw away what lies aside."""
        wanted = await read_json_body(request, Discard)
        await self._work(self.session.discard, request.path_params["scan"], wanted)
        return JSONResponse({})


def build_app(session: Session) -> Starlette:
    """The app below the token, which lets go of tabs that have fallen silent."""
    api = Api(session)
    scan = "/api/scans/{scan}"
    table: list[tuple[str, Callable[[Request], Awaitable[Response]], str]] = [
        ("/", api.list_page, "GET"),
        ("/scans/{scan}/", api.viewer_page, "GET"),
        ("/static/{name:path}", api.static, "GET"),
        ("/api/scans", api.scan_list, "GET"),
        (scan, api.scan_facts, "GET"),
        (f"{scan}/writer", api.enter, "POST"),
        (f"{scan}/writer", api.renew, "PUT"),
        (f"{scan}/writer/release", api.leave, "POST"),
        (f"{scan}/edit/{{operation}}", api.edit, "POST"),
        (f"{scan}/unsaved", api.discard, "DELETE"),
        ("/files/{scan}/image.nii", api.image, "GET"),
        ("/files/{scan}/{kind}/{name}.nii", api.mask, "GET"),
        ("/pictures/{scan}/{index:int}.png", api.picture, "GET"),
    ]
    routes = [Route(path, endpoint, methods=[method]) for path, endpoint, method in table]
    routes += [Route(f"{scan}/{place}", _at(api.save, place), methods=["PUT"]) for place in PLACES]
    app = Starlette(
        routes=routes,
        lifespan=_lifespan(session),
        exception_handlers={
            Exception: _answer_bug,
            HTTPException: _answer_status,
            UserError: _answer_refusal,
            OSError: _answer_drive,
            ClientDisconnect: _answer_gone,
        },
    )
    app.router.redirect_slashes = False
    return app


PLACES: tuple[Place, ...] = ("corrected", "unsaved")


def _at(
    endpoint: Callable[[Request], Awaitable[Response]], place: Literal["corrected", "unsaved"]
) -> Callable[[Request], Awaitable[Response]]:
    """The endpoint of saving at one of two places."""

    async def save(request: Request) -> Response:
        request.path_params["place"] = place
        return await endpoint(request)

    return save


def _lifespan(session: Session) -> Callable[[Starlette], Any]:
    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        async def tick() -> None:
            while True:
                await asyncio.sleep(TICK_SECONDS)
                session.writers.drop_silent()

        ticking = asyncio.create_task(tick())
        yield
        ticking.cancel()
        with suppress(asyncio.CancelledError):
            await ticking
        session.writers.close()

    return lifespan


def _streamed(content: bytes) -> Response:
    """A file in parts, of which few wait in memory for the browser to take them."""

    async def parts() -> AsyncIterator[bytes]:
        for begun in range(0, len(content), PART):
            yield content[begun : begun + PART]

    headers = {"content-length": str(len(content))}
    return StreamingResponse(parts(), media_type=BYTES, headers=headers)


async def _answer_refusal(_: Request, error: Exception) -> Response:
    """An error of the request or of files; a drive that can't be written is 507."""
    if isinstance(error, OutputError):  # behind its last sign is what to do at a command line
        return JSONResponse({"error": f"{str(error).rpartition('; ')[0] or error}; {UNWRITTEN}"}, 507)
    status = error.status if isinstance(error, RefusedError) else 400
    headers = {"connection": "close"} if status == 413 else {}  # or the rest of the body is still received
    return JSONResponse({"error": str(error)}, status, headers)


async def _answer_drive(_: Request, error: Exception) -> Response:
    """Files that can't be read, as where a drive has gone; they are not volseg's fault."""
    told = str(error)
    if isinstance(error, OSError) and error.filename:
        told = f"{error.filename}: {error.strerror}"
    log.warning("%s", told)
    return JSONResponse({"error": told}, 503)


async def _answer_status(_: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 500
    text = "nothing here" if status == 404 else getattr(error, "detail", "")
    return JSONResponse({"error": text}, status)


async def _answer_gone(_: Request, __: Exception) -> Response:
    return JSONResponse({"error": "the browser went away while it sent the masks"}, 400)


async def _answer_bug(_: Request, error: Exception) -> Response:
    log.error("an error of volseg: %s: %s", type(error).__name__, error)
    return JSONResponse({"error": "an error of volseg; its terminal says more"}, 500)
