"""An answer streamed to a browser with FastAPI: the official openai SDK, with Headway under it.

    pip install fastapi uvicorn openai
    python examples/stream_fastapi.py            # then open http://127.0.0.1:8000

It asks OPENAI_BASE_URL with OPENAI_API_KEY; or the simulator: start `headway sim` in another terminal, and set
OPENAI_BASE_URL=http://127.0.0.1:8181/v1 OPENAI_API_KEY=sim. A browser that leaves ends the provider's stream, so that
nothing more is generated and billed.
"""

import json
import os
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager

import openai
import uvicorn
from fastapi import FastAPI, Request
from fastapi.responses import HTMLResponse, StreamingResponse

import headway

PAGE = """<!doctype html><meta charset="utf-8"><title>Streaming</title>
<form><input name="prompt" size="60" value="Write 100 words about rain."> <button>Ask</button></form><p></p>
<script>
document.forms[0].onsubmit = event => {
  event.preventDefault()
  const [answer] = document.getElementsByTagName("p")
  answer.textContent = ""
  const source = new EventSource("/stream?prompt=" + encodeURIComponent(document.forms[0].prompt.value))
  source.onmessage = message => { answer.textContent += JSON.parse(message.data) }
  source.addEventListener("end", () => source.close())
  source.onerror = () => source.close()
}
</script>"""


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[dict[str, openai.AsyncOpenAI]]:
    """One client for all requests, closed with the application."""
    async with openai.AsyncOpenAI(http_client=headway.async_client()) as client:  # the one line
        yield {"client": client}


app = FastAPI(lifespan=lifespan)


@app.get("/")
async def page() -> HTMLResponse:
    """A form, and what comes back."""
    return HTMLResponse(PAGE)


@app.get("/stream")
async def stream(request: Request, prompt: str) -> StreamingResponse:
    """The answer as server-sent events: a JSON string for each piece of text, then `event: end` or `event: failed`."""
    client: openai.AsyncOpenAI = request.state.client

    async def events() -> AsyncIterator[str]:
        try:
            answer = await client.responses.create(model="gpt-5.4-mini", input=prompt, stream=True)
            async with answer, aclosing(aiter(answer)) as pieces:  # left early, it ends the provider's stream
                async for piece in pieces:
                    if piece.type == "response.output_text.delta":
                        yield f"data: {json.dumps(piece.delta)}\n\n"
            yield "event: end\ndata:\n\n"
        except openai.APIError as error:
            yield f"event: failed\ndata: {json.dumps(error.message)}\n\n"

    return StreamingResponse(events(), media_type="text/event-stream", headers={"cache-control": "no-store"})


if __name__ == "__main__":
    uvicorn.run(app, port=int(os.environ.get("PORT", "8000")))
