"""What both batch formats have in common: which calls they make, and that no bytes can break them."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headway.wire import batch_format_for
from headway.wire.batch import CUSTOM_ID, compact, identifier, result_lines

OPENAI = batch_format_for("/v1/responses")
ANTHROPIC = batch_format_for("/v1/messages")
FORMATS = pytest.mark.parametrize("batches", [OPENAI, ANTHROPIC], ids=lambda f: f.name)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3),
    max_leaves=6,
)
FIELDS = st.sampled_from(
    "id status errors data error code message line custom_id response body status_code result type created_at "
    "expires_at processing_status output_file_id has_more last_id metadata request_counts succeeded errored".split()
)
SHAPES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.sampled_from(["batch_1", "ended", "failed", "x/../y", "errored", ""]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(FIELDS, inner, max_size=6),
    max_leaves=12,
)


@pytest.mark.parametrize(
    ("path", "files", "create"),
    [
        ("/v1/responses", "/v1/files", "/v1/batches"),
        ("/v1/chat/completions", "/v1/files", "/v1/batches"),
        ("/openai/v1/embeddings?api-version=1", "/openai/v1/files", "/openai/v1/batches"),
        ("/responses", "/files", "/batches"),
        ("/v1/messages", None, "/v1/messages/batches"),
        ("/proxy/v1/messages", None, "/proxy/v1/messages/batches"),
    ],
)
def test_paths_keep_what_stands_before_the_endpoint(path, files, create):
    """A proxy's prefix is a proxy's for files and batches, too."""
    batches = batch_format_for(path)
    upload = batches.upload([b"{}"])
    assert (upload and upload.path) == files
    assert batches.create(file_id="f", lines=[b"{}"]).path == create
    assert batches.status("b").path == f"{create}/b"
    assert batches.cancel("b").path == f"{create}/b/cancel"


@pytest.mark.parametrize("path", ["/v1/images", "/v1/threads/t/messages", "/v1/responses/resp_1", ""])
def test_other_paths_have_no_batches(path):
    """What no format is known for has none."""
    assert batch_format_for(path) is None


@FORMATS
def test_only_a_create_must_not_be_repeated(batches):
    """Everything else may be sent twice without being paid twice."""
    view = batches.read_batch(
        b'{"id":"b","status":"completed","processing_status":"ended","output_file_id":"f","error_file_id":"e"}'
    )
    others = [batches.status("b"), batches.cancel("b"), batches.list(), *batches.results(view)]
    if upload := batches.upload([b"{}"]):
        others += [upload, batches.delete_file("f")]
    assert all(one.repeatable for one in others)
    assert not batches.create(file_id="f", lines=[b"{}"]).repeatable


@FORMATS
@settings(max_examples=30)
@given(body=st.dictionaries(st.text(max_size=9), JSON, max_size=4), indent=st.none() | st.integers(0, 3))
def test_lines_hold_the_very_request(batches, body, indent):
    """A line is one line of JSON whose request is the one that was put in, whatever it holds and however it is laid out."""
    written = json.dumps(body, indent=indent, ensure_ascii=False).encode("utf-8", "replace")
    line = batches.line("a-1_Z", written)
    assert b"\n" not in line
    assert b"\r" not in line
    row = json.loads(line)
    assert row["custom_id"] == "a-1_Z"
    assert repr(row.get("body", row.get("params"))) == repr(json.loads(written))


@pytest.mark.parametrize("body", [b'{"a": "b"}', b'{"model":"m","input":"x\\n\\u00e9"}', '{"t":"\u2028"}'.encode()])
@FORMATS
def test_a_body_on_one_line_goes_in_byte_for_byte(batches, body):
    """Nothing is encoded anew: escapes and spaces stay as the request has them."""
    assert body in batches.line("a", body)


def test_line_breaks_between_tokens_become_spaces():
    """Those inside strings are escaped in JSON, and stay so."""
    assert compact(b'\n{"a":\r\n1,\n"b":"\\n"}\r\n') == b'{"a": 1, "b":"\\n"}'


@FORMATS
@settings(max_examples=60)
@given(data=st.binary(max_size=200) | SHAPES.map(lambda tree: json.dumps(tree).encode()))
def test_readers_survive_any_bytes(batches, data):
    """Broken bytes and strange shapes give views or nothing, never an exception; ids are fit for a path."""
    batch = batches.read_batch(data)
    if batch is not None:
        assert identifier(batch.id)
        assert all(identifier(one) for one in batch.result_ids)
        assert all(type(count) is int for count in batch.counts.values())
    views, cursor = batches.read_list(data)
    assert all(view.id for view in views)
    assert type(cursor) is str
    row = batches.read_line(data)
    if row is not None:
        assert type(row.body) is bytes
        assert row.status == 0 or 100 <= row.status <= 599
        assert type(row.error_code) is str
    assert batches.over_queue(429, data) in (True, False)
    assert type(batches.read_file_id(data)) is str


@FORMATS
@pytest.mark.parametrize("odd", ["../../files", "a b", "a?x=1", "", "x" * 300, None, 7, "a\r\nb"])
def test_an_id_that_is_none_does_not_get_into_a_path(batches, odd):
    """A provider's word becomes part of a path, so it has to look like an id."""
    assert identifier(odd) == ""
    assert batches.read_batch(json.dumps({"id": odd, "status": "x", "processing_status": "x"}).encode()) is None


@settings(max_examples=40)
@given(
    lines=st.lists(
        st.binary(min_size=1, max_size=20).map(lambda b: b.replace(b"\n", b"")).filter(bytes.strip), max_size=8
    ),
    data=st.data(),
)
def test_lines_come_out_of_any_chunks(lines, data):
    """However a file is cut into chunks, its lines come out whole and in order."""
    file, rest, found = b"\n".join(lines), b"", []
    while file:
        cut = data.draw(st.integers(1, len(file)))
        whole, rest = result_lines(rest, file[:cut])
        found += whole
        file = file[cut:]
    assert [*found, *([rest] if rest.strip() else [])] == lines


@pytest.mark.parametrize("id_", ["a", "r" * 64, "Ab-_9"])
def test_ids_of_rows(id_):
    """Letters, digits, hyphens and underscores, 64 of them."""
    assert CUSTOM_ID.fullmatch(id_)
    assert not CUSTOM_ID.fullmatch(id_ + "#")
    assert not CUSTOM_ID.fullmatch("r" * 65)
