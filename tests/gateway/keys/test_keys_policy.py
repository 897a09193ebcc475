"""What keys may do, by their records alone."""

from __future__ import annotations

from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headway.policy.key_spend import LeasedCap, part
from headway.policy.keys import Key, allows, bounded_priority, ends_wall_s

CHAT = "/v1/chat/completions"


def key(**more) -> Key:
    return Key(**{"id": "0" * 12, "name": "app"} | more)


def code(chain, path=CHAT, model="gpt-5", now_wall_s=0.0, **more) -> str:
    denied = allows(chain, path, model, now_wall_s=now_wall_s, **more)
    return "" if denied is None else denied.code


def test_a_plain_key_asks_models_and_nothing_else():
    """Files and batches show what other keys left there, so they have to be named."""
    assert code([key()]) == code([key()], "/v1/models/gpt-5") == ""
    for path in ("/v1/files", "/v1/batches", "/v1/responses/resp_1", "/v1/fine_tuning/jobs", "/metrics", "/"):
        assert code([key()], path) == "path_not_allowed"
    assert code([key(paths=("/v1/*",))], "/v1/batches") == ""


def test_nobody_may_do_nothing():
    """Without a key all is denied."""
    assert code([]) == "invalid_key"


@pytest.mark.parametrize(
    "path",
    ["/v1//chat/completions", "/v1/./chat", "/v1/../admin", "/v1/%2e%2e/admin", "/v1/chat%2fcompletions", "/v1/a;b",
     "/v1/a\\b", "/v1/a\n", "v1/chat", "", "/v1/", "/v1/models/..", "/v1/ä"],
)  # fmt: skip
def test_tricks_with_paths_are_denied_whatever_the_rights(path):
    """Even a key for everything: a path that means another one is never judged by its looks."""
    assert code([key(paths=("*",))], path) == "path_not_allowed"


def test_models_are_globs_and_case_matters():
    """A request that names no model needs the right to all."""
    one = [key(models=("gpt-5*", "claude-haiku-4-5"))]
    assert code(one, model="gpt-5.4-mini") == code(one, model="claude-haiku-4-5") == ""
    assert code(one, model="GPT-5") == code(one, model="gpt-4o") == code(one, model="") == "model_not_allowed"


def test_what_cannot_be_read_is_denied_to_keys_with_bounds():
    """A batch names models and spends money that nobody here sees."""
    for bounded in (key(dollars_per_day=1.0), key(dollars_per_month=1.0), key(models=("gpt-5",))):
        wide = Key(**{n: getattr(bounded, n) for n in Key.__struct_fields__} | {"paths": ("/v1/*",)})
        assert code([wide], "/v1/batches", model="gpt-5", readable=False) == "cost_unknown"
        assert code([key(paths=("/v1/*",)), wide], "/v1/batches", model="gpt-5", readable=False) == "cost_unknown"
        assert code([wide], "/v1/files", model="gpt-5", readable=False) == ""


def test_ends_are_the_earliest_of_the_chain():
    """A key ends with the key above it."""
    chain = [key(expires_wall_s=50.0), key(revoked_wall_s=20.0)]
    assert ends_wall_s(chain) == 20.0
    assert code(chain, now_wall_s=19.9) == ""
    assert code(chain, now_wall_s=20.0) == "key_revoked"
    assert code(chain[:1], now_wall_s=50.0) == "key_expired"
    assert ends_wall_s([key()]) == inf


RIGHTS = st.builds(
    key,
    models=st.sampled_from([("*",), ("a*",), ("ab", "b"), ("b",)]),
    paths=st.sampled_from([("*",), ("/v1/*",), (CHAT,), ("/v1/files",)]),
    expires_wall_s=st.sampled_from([inf, 5.0]),
    priority=st.integers(-2, 2),
)


@given(
    st.lists(RIGHTS, min_size=2, max_size=4), st.sampled_from([CHAT, "/v1/files", "/x"]), st.sampled_from(["a", "ab", "b", ""]),
    st.sampled_from([0.0, 9.0]), st.integers(-3, 3),
)  # fmt: skip
def test_a_child_never_has_more_than_its_parent(chain, path, model, now_wall_s, asked):
    """What the chain allows, each of its keys allows by itself."""
    if not code(chain, path, model, now_wall_s):
        assert not any(code([one], path, model, now_wall_s) for one in chain)
    else:
        assert any(code([one], path, model, now_wall_s) for one in chain)
    assert bounded_priority(chain, asked) <= min(one.priority for one in chain)


def test_a_request_may_ask_for_less_priority():
    """0 stands for: it does not say."""
    assert [bounded_priority([key(priority=1)], asked) for asked in (0, 1, 5, -2)] == [1, 1, 1, -2]


def test_a_process_is_handed_what_it_needs_and_a_little_more():
    """Never more than is there, and never less than it has to keep."""
    assert part(room=10.0, keep=0.0, needed=1.0, welcome=5.0) == pytest.approx(1.2)
    assert part(room=10.0, keep=0.0, needed=1.0, welcome=0.05) == pytest.approx(1.05)
    assert part(room=1.0, keep=0.0, needed=1.0, welcome=5.0) == pytest.approx(1.0)
    assert part(room=1.0, keep=0.5, needed=1.1, welcome=5.0) == 0.5
    assert part(room=-1.0, keep=0.5, needed=0.5, welcome=0.0) == 0.5


def test_a_new_day_begins_with_nothing_spent():
    """A month that goes on does not."""
    cap = LeasedCap(1.0, 2.0)
    cap.on("2026-11-29")
    cap.exchanged("2026-11-29", 0.0, (1.0, 1.5), 0.0, 0)
    assert not cap.possible(0.1, 0)
    cap.on("2026-11-30")
    assert cap.possible(0.5, 0)
    assert not cap.possible(0.6, 0)
    cap.exchanged("2026-11-29", 0.0, (1.0, 1.5), 0.0, 0)
    assert cap.possible(0.5, 0), "what was told of yesterday says nothing of today"
    cap.on("2026-12-01")
    assert cap.possible(1.0, 0)


def test_what_is_given_back_is_not_reserved_while_the_exchange_is_under_way():
    """An exchange takes a moment, in which calls go on: with what is kept, not with what goes back."""
    cap = LeasedCap(10.0)
    cap.on("2026-11-21")
    assert cap.possible(1.0, 0)
    assert not cap.reserve(1.0, 0)
    assert cap.wants() == (0.0, 1.0, 0.0)
    cap.exchanged("2026-11-21", 1.2, (0.0, 0.0), 0.0, 0)
    assert cap.reserve(1.0, 0)
    assert cap.wants()[:2] == (1.2, 1.0), "in use: what is held stays"
    assert cap.reserve(0.1, 0)
    cap.wants()
    assert cap.wants()[0] == pytest.approx(1.1), "idle: the rest goes back"
    assert not cap.reserve(0.1, 0)
    cap.settle(1.0, 0, dollars_actual=0.4, tokens_actual=5)
    assert not cap.reserve(0.7, 0), "what was spent is not written down yet"
    assert cap.reserve(0.6, 0)
