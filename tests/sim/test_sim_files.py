"""OpenAI's Files as the simulator plays them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headway.sim import BatchSettings, SimSettings, Simulator, run_virtual
from headway.sim.files import read_form
from headway.sim.refusals import Refused
from tests.sim.helpers import FORM, api, form, json, lines, ticket, upload


def test_a_file_is_kept_shown_and_deleted():
    """Upload, look-up, list, content, deletion; another key has none of it."""

    async def main():
        sim = Simulator()
        raw = lines([ticket(1)])
        name = await upload(sim, raw)
        seen = json(await api(sim, "GET", f"/v1/files/{name}"))
        held = (await api(sim, "GET", f"/v1/files/{name}/content")).body
        listed = [json(await api(sim, "GET", f"/v1/files?purpose={purpose}")) for purpose in ("batch", "vision")]
        alien = [await api(sim, "GET", f"/v1/files/{name}{rest}", key="sk-other") for rest in ("", "/content")]
        deleted = json(await api(sim, "DELETE", f"/v1/files/{name}"))
        gone = (await api(sim, "GET", f"/v1/files/{name}")).status
        return raw, name, seen, held, listed, [reply.status for reply in alien], deleted, gone

    raw, name, seen, held, listed, alien, deleted, gone = run_virtual(main)
    assert (seen["id"], seen["bytes"], seen["purpose"], seen["filename"]) == (name, len(raw), "batch", "in.jsonl")
    assert held == raw
    assert [[file["id"] for file in found["data"]] for found in listed] == [[name], []]
    assert (alien, deleted["deleted"], gone) == ([404, 404], True, 404)


@pytest.mark.parametrize(
    ("body", "kind", "said"),
    [
        (b"{}", "application/json", "multipart/form-data"),
        (b"--other\r\n", FORM, "'file'"),
        (form(b"x", purpose="fun"), FORM, "'purpose'"),
        (form(b"x" * 200), FORM, "storage quota"),
        (form(b"x")[:-20], FORM, "does not end"),
    ],
)
def test_a_wrong_upload_is_a_400(body, kind, said):
    """What is wrong with the form."""

    async def main():
        sim = Simulator(SimSettings(batches=BatchSettings(files_bytes_max=100)))
        return await api(sim, "POST", "/v1/files", body, kind=kind)

    reply = run_virtual(main)
    assert reply.status == 400
    assert said in json(reply)["error"]["message"]


def test_deleting_makes_room():
    """All files together are bounded."""

    async def main():
        sim = Simulator(SimSettings(batches=BatchSettings(files_bytes_max=100)))
        name = await upload(sim, b"x" * 80)
        full = (await api(sim, "POST", "/v1/files", form(b"y" * 80), kind=FORM)).status
        await api(sim, "DELETE", f"/v1/files/{name}")
        return full, (await api(sim, "POST", "/v1/files", form(b"y" * 80), kind=FORM)).status

    assert run_virtual(main) == (400, 200)


def test_an_upload_over_its_limit_is_a_413():
    """Uploads have a limit of their own, apart from that of other bodies."""

    async def main():
        sim = Simulator(SimSettings(body_bytes_max=100, batches=BatchSettings(upload_bytes_max=1_000)))
        sizes = (500, 2_000)
        return [(await api(sim, "POST", "/v1/files", form(b"x" * size), kind=FORM)).status for size in sizes]

    assert run_virtual(main) == [200, 413]


def test_a_path_that_is_none_is_a_404():
    """Methods and paths that the API does not have."""

    async def main():
        sim = Simulator()
        asked = (
            ("PUT", "/v1/files"),
            ("GET", "/v1/files/a/b"),
            ("DELETE", "/v1/batches/a"),
            ("GET", "/v1/batches/a/b"),
        )
        return [(await api(sim, method, path)).status for method, path in asked]

    assert run_virtual(main) == [404] * 4


def test_a_call_without_a_key_is_a_401():
    """As everywhere."""

    async def main():
        sim = Simulator(SimSettings(api_keys=("sk-right",)))
        return [(await api(sim, "GET", path)).status for path in ("/v1/files", "/v1/batches", "/v1/messages/batches")]

    assert run_virtual(main) == [401] * 3


@given(st.binary(max_size=300))
def test_any_content_comes_out_as_it_went_in(content):
    """Boundaries, line ends and zeros included."""
    if b"\r\n--edge" in content:
        return
    fields, name, found = read_form(FORM, form(content))
    assert (fields, name, found) == ({"purpose": "batch"}, "in.jsonl", content)


@given(st.binary(max_size=200), st.text(max_size=60))
def test_no_form_is_a_crash(body, kind):
    """Whatever comes is a form or a 400."""
    for given_kind, raw in ((kind, body), (FORM, b"--edge\r\n" + body + b"\r\n--edge--")):
        try:
            read_form(given_kind, raw)
        except Refused as refused:
            assert refused.status == 400  # noqa: PT017  # either is right
