"""The file of keys: what stands in it and what does not, names, rotation, children."""

from __future__ import annotations

import sqlite3
import stat
import string
from contextlib import closing

import pytest

from headway.errors import ConfigError, InputError
from headway.gateway.keys import KeyStore
from headway.gateway.keys.records import DEPTH_MAX
from headway.gateway.keys.text import digest_of, in_headers, new_secret, split
from headway.policy.keys import Key


def key(name: str = "app", **more) -> Key:
    return Key(id="", name=name, **more)


@pytest.fixture
def clock():
    return [1000.0]


@pytest.fixture
def store(tmp_path, clock):
    with KeyStore(tmp_path / "keys.sqlite", wall_s=lambda: clock[0]) as opened:
        yield opened


def test_a_text_is_a_public_id_and_256_bits():
    """No two are alike, and the digest is of the secret alone."""
    texts = [new_secret("0123456789ab") for _ in range(100)]
    assert len({text.reveal() for text, _ in texts}) == 100
    for text, digest in texts:
        id_, secret = split(text.reveal())
        assert (id_, len(secret), digest_of(secret)) == ("0123456789ab", 43, digest)  # 43 * 6 bits >= 256
        assert set(secret) <= set(string.ascii_letters + string.digits + "-_")
        assert secret not in repr(text) + str(text)


@pytest.mark.parametrize("text", ["", "hw-", "sk-abc", "hw-0123456789ab", "hw-0123456789ab-" + "a" * 42, "hw-0123456789AB-" + "a" * 43,
                                  "hw-0123456789ab-" + "a" * 43 + "\n"])  # fmt: skip
def test_what_is_no_key_is_not_split(text):
    """Exactly the form that is made, or nothing."""
    assert split(text) is None


def test_the_key_is_found_in_the_headers_that_clients_use():
    """A placeholder beside it is none; two different ones are refused."""
    one, other = "hw-" + "1" * 20, "hw-" + "2" * 20
    assert in_headers((("authorization", f"Bearer {one}"),)) == one
    assert in_headers((("x-api-key", one), ("authorization", "Bearer unused"))) == one
    assert in_headers((("api-key", one), ("authorization", f"bearer {one}"))) == one
    assert in_headers((("x-api-key", one), ("authorization", f"Bearer {other}"))) is None
    assert in_headers((("cookie", one), ("authorization", "Basic abc"))) == ""


def test_the_file_is_the_owners_and_holds_no_secret(store, tmp_path):
    """Mode 0600; the text is in no file of the directory."""
    _, text = store.create(key())
    assert stat.S_IMODE((tmp_path / "keys.sqlite").stat().st_mode) == 0o600
    secret = split(text.reveal())[1].encode()
    for file in tmp_path.iterdir():
        assert secret not in file.read_bytes()
    known = store.known()
    (row,) = known.secrets.values()
    assert row.digest == digest_of(secret.decode())
    assert row.digest.hex() not in repr(row)


def test_a_record_comes_back_as_it_was_made(store, clock):
    """Limits that are none included."""
    full = key(
        "full", expires_wall_s=9e9, models=("a*",), paths=("/v1/x",), requests_per_min=1.0, tokens_per_min=2.0,
        dollars_per_day=3.0, dollars_per_month=4.0, priority=-1, share="g", admin=True,
    )  # fmt: skip
    for asked in (full, key("plain")):
        made, _ = store.create(asked)
        assert store.known().keys[made.id] == made
        assert made.created_wall_s == clock[0]
        assert made.id
        assert Key(**{n: getattr(made, n) for n in Key.__struct_fields__} | {"id": "", "created_wall_s": 0.0}) == asked


def test_names_are_unique_among_those_that_stand(store, clock):
    """A revoked key's name may be had again, and then means the new one."""
    old, _ = store.create(key())
    with pytest.raises(InputError, match="called 'app' already"):
        store.create(key())
    store.revoke("app")
    new, _ = store.create(key())
    known = store.known()
    assert known.find("app") == known.keys[new.id] != known.keys[old.id]
    assert known.find(old.id).revoked_wall_s == clock[0]
    with pytest.raises(InputError, match="no key called 'nobody'"):
        known.find("nobody")


def test_a_revoked_key_stays_revoked(store, clock):
    """A second time changes nothing, and nothing brings it back."""
    store.create(key())
    store.revoke("app")
    clock[0] += 50.0
    assert store.revoke("app").revoked_wall_s == 1000.0
    with pytest.raises(InputError, match="has ended"):
        store.rotate("app", grace_s=1.0)


def test_rotation_leaves_the_old_text_its_grace_and_the_key_its_id(store, clock):
    """A second rotation never prolongs the first one's grace; ended texts are thrown away."""
    made, first = store.create(key(dollars_per_day=1.0))
    same, second = store.rotate("app", grace_s=100.0)
    assert same == made
    assert first != second
    clock[0] += 10.0
    _, third = store.rotate("app", grace_s=500.0)
    rows = store.known().secrets
    ids = [split(text.reveal())[0] for text in (first, second, third)]
    assert [rows[id_].until_wall_s for id_ in ids] == [1100.0, 1510.0, float("inf")]
    assert [rows[id_].replaces for id_ in ids] == ["", ids[0], ids[1]]
    clock[0] += 1000.0
    store.rotate("app", grace_s=0.0)
    assert set(ids[:2]).isdisjoint(store.known().secrets)


def test_children_stand_below_keys_that_stand(store):
    """Named or by id, not below an ended one, not too deep, and no operator below a key that is none."""
    parent, _ = store.create(key("parent"))
    child, _ = store.create(key("child", parent="parent"))
    assert [one.name for one in store.known().chain(child.id)] == ["child", "parent"]
    assert child.parent == parent.id
    with pytest.raises(InputError, match="none below it can be"):
        store.create(key("boss", parent="parent", admin=True))
    store.revoke("parent")
    with pytest.raises(InputError, match="revoked or expired"):
        store.create(key("late", parent=parent.id))
    above = ""
    for depth in range(DEPTH_MAX):
        store.create(key(f"d{depth}", parent=above))
        above = f"d{depth}"
    with pytest.raises(InputError, match="deep"):
        store.create(key("deeper", parent=above))


def test_a_failed_edit_leaves_nothing_and_every_edit_is_seen(store):
    """Others find out by one number."""
    before = store.known().edits
    with pytest.raises(InputError):
        store.create(key("x", parent="nobody"))
    assert (store.known().edits, store.known().keys) == (before, {})
    store.create(key())
    store.revoke("app")
    assert store.known().edits == before + 2


def test_another_programs_database_is_refused(tmp_path):
    """And a broken one is set aside: then there are no keys, and nobody comes in."""
    with closing(sqlite3.connect(tmp_path / "other")) as connection:
        connection.execute("CREATE TABLE t (x)")
    with pytest.raises(ConfigError, match="another program's"):
        KeyStore(tmp_path / "other")
    with pytest.raises(ConfigError, match="cannot be opened"):
        KeyStore(tmp_path / "other" / "below")


def test_who_only_reads_waits_for_nobody_who_writes(tmp_path):
    """The operator's page holds no thread while a file is locked; and it changes nothing."""
    with KeyStore(tmp_path / "k") as store:
        store.create(key())
    with closing(sqlite3.connect(tmp_path / "k", isolation_level=None)) as locker:
        locker.execute("BEGIN IMMEDIATE")
        with KeyStore(tmp_path / "k", only_reads=True) as store:
            assert store.known().find("app").name == "app"
            with pytest.raises(ConfigError):
                store.revoke("app")
    with pytest.raises(ConfigError):
        KeyStore(tmp_path / "none", only_reads=True)
