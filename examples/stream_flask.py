"""An answer streamed to a browser with Flask: the official openai SDK, with Headway under it.

    pip install flask openai
    python examples/stream_flask.py              # then open http://127.0.0.1:8000

It asks OPENAI_BASE_URL with OPENAI_API_KEY; or the simulator: start `headway sim` in another terminal, and set
OPENAI_BASE_URL=http://127.0.0.1:8181/v1 OPENAI_API_KEY=sim. A browser that leaves ends the provider's stream, so that
nothing more is generated and billed.
"""

import json
import os
from collections.abc import Iterator

import openai
from flask import Flask, Response, request

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

app = Flask(__name__)
client = openai.OpenAI(http_client=headway.client())  # the one line; one client serves all threads


@app.get("/")
def page() -> str:
    """A form, and what comes back."""
    return PAGE


@app.get("/stream")
def stream() -> Response:
    """The answer as server-sent events: a JSON string for each piece of text, then `event: end` or `event: failed`."""
    prompt = request.args.get("prompt", "")

    def events() -> Iterator[str]:
        try:
            with client.responses.create(model="gpt-5.4-mini", input=prompt, stream=True) as answer:
                for piece in answer:  # left early, the block ends the provider's stream
                    if piece.type == "response.output_text.delta":
                        yield f"data: {json.dumps(piece.delta)}\n\n"
            yield "event: end\ndata:\n\n"
        except openai.APIError as error:
            yield f"event: failed\ndata: {json.dumps(error.message)}\n\n"

    return Response(events(), mimetype="text/event-stream", headers={"cache-control": "no-store"})


if __name__ == "__main__":
    app.run(port=int(os.environ.get("PORT", "8000")), threaded=True)
