"""A web service: one router per process, made at start-up; answers whole or as a stream.

uvicorn --app-dir examples fastapi_app:app
curl -d '{"question": "What is HTTP 429?"}' -H 'content-type: application/json' localhost:8000/ask
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI, HTTPException, Request
from fastapi.responses import StreamingResponse
from pydantic import BaseModel

from hybridinfer import AsyncRouter, BadRequestError, RequestError


class Question(BaseModel):
    """What a client sends."""

    question: str
    private: bool = False


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Load models before the first request, free them after the last."""
    async with AsyncRouter() as router:
        await router.warmup()
        app.state.router = router
        yield


app = FastAPI(lifespan=lifespan)


@app.post("/ask")
async def ask(body: Question, request: Request) -> dict[str, object]:
    """Answer, and say who did. A caller's own word on privacy raises the level, never lowers it."""
    try:
        answer = await request.app.state.router.complete(body.question, privacy="secret" if body.private else None)
    except RequestError as error:  # the receipt holds codes, never content: safe to hand out
        status = 400 if isinstance(error, BadRequestError) else 503
        raise HTTPException(status, detail={"code": error.receipt.code, "id": error.receipt.id}) from error
    return {"answer": answer.text, "target": answer.target, "degraded": answer.degraded, "id": answer.receipt.id}


@app.post("/stream")
async def stream(body: Question, request: Request) -> StreamingResponse:
    """The text as it comes. When the client goes away, the generator is closed and with it the call."""

    async def text() -> AsyncIterator[str]:
        async with request.app.state.router.stream(body.question) as answer:
            async for piece in answer.text_stream:
                yield piece

    return StreamingResponse(text(), media_type="text/plain")
