"""Settings: precedence, and one sentence for everything that is wrong."""

from __future__ import annotations

import pytest

from headway import ConfigError
from headway.config import Secret, load_settings


def test_arguments_beat_the_environment_beats_the_file(tmp_path):
    """Keyword over HEADWAY_* over headway.toml over defaults."""
    file = tmp_path / "headway.toml"
    file.write_text("timeout_s = 1\nattempts_max = 2\nqueue_max = 3\n")
    env = {"HEADWAY_ATTEMPTS_MAX": "4", "HEADWAY_QUEUE_MAX": "5"}
    settings = load_settings({"queue_max": 6}, file=file, environ=env)
    assert (settings.timeout_s, settings.attempts_max, settings.queue_max) == (1.0, 4, 6)


def test_the_sdks_own_variables_are_understood():
    """OPENAI_API_KEY and OPENAI_BASE_URL, below Headway's own."""
    env = {"OPENAI_API_KEY": "sk-1", "OPENAI_BASE_URL": "http://localhost:1/v1/"}
    settings = load_settings(environ=env)
    assert settings.api_key == Secret("sk-1")
    assert settings.base_url == "http://localhost:1/v1"
    assert load_settings(environ=env | {"HEADWAY_BASE_URL": "http://other/v1"}).base_url == "http://other/v1"


def test_another_variable_may_hold_the_key():
    """api_key_env names it."""
    assert load_settings({"api_key_env": "GROQ_KEY"}, environ={"GROQ_KEY": "gsk"}).api_key == Secret("gsk")


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"timeout": 3}, "unknown key 'timeout'; did you mean"),
        ({"timeout_s": "3"}, "timeout_s must be a number above 0, not '3'"),
        ({"timeout_s": -1}, "timeout_s must be a number above 0"),
        ({"timeout_s": float("nan")}, "timeout_s must be a number"),
        ({"attempts_max": 1.5}, "attempts_max must be a whole number"),
        ({"attempts_max": True}, "attempts_max must be a whole number"),
        ({"attempts_max": 0}, "attempts_max must be a whole number above 0"),
        ({"cache": "postgres"}, 'cache must be "off", "memory", "disk"'),
        ({"cache": {"faq": {}}}, "named caches are tables called [caches.NAME]"),
        ({"caches": {"faq": {"ttl": 3}}}, "tables that hold ttl_s, stale_if_error_s"),
        ({"caches": {"faq": {"ttl_s": -3}}}, "caches.faq: cache_ttl_s must be a number above 0, not -3"),
        ({"caches": {"../faq": {}}}, "caches must be tables named by up to 64 letters"),
        ({"cache_replay": "slow"}, 'cache_replay must be "instant" or "paced"'),
        ({"redis_url": "http://:pw@host"}, "redis_url must be a URL such as"),
        ({"redis_url": "redis://:pw@host:99999"}, "redis_url must be a URL such as"),
        ({"base_url": "api.openai.com"}, "base_url must be a URL such as"),
        ({"base_url": "https://user:pw@host/v1"}, "without credentials"),
        ({"base_url": "https://host/v1?key=pw"}, "without credentials"),
        ({"base_url": "user:pw@host/v1"}, "base_url must be a URL such as"),
        ({"base_url": "http://[::1"}, "base_url must be a URL such as"),
        ({"base_url": "http://host:99999/v1"}, "base_url must be a URL such as"),
        ({"base_url": "http://host:0/v1"}, "base_url must be a URL such as"),
        ({"base_url": "http://ho st/v1"}, "base_url must be a URL such as"),
        ({"limits": ["openai/tier-1"]}, "limits must be one of"),
        ({"limits": "openai/tier-9"}, "limits must be one of"),
        ({"log_prompts": "yes"}, "log_prompts must be true or false"),
        ({"log_level": "loud"}, "log_level must be"),
        ({"api_key": "two words"}, "api_key must be a printable text"),
        ({"budget_usd": -1}, "budget_usd must be a number of at least 0"),
    ],
)
def test_what_is_wrong_is_named(given, says):
    """The key, what was expected, and what was found."""
    with pytest.raises(ConfigError) as caught:
        load_settings(given, environ={})
    assert says in str(caught.value)
    assert "pw" not in str(caught.value)
    assert "two words" not in str(caught.value)


def test_the_place_is_named(tmp_path):
    """File and environment variable are told apart."""
    file = tmp_path / "h.toml"
    file.write_text("qeue_max = 3")
    with pytest.raises(ConfigError, match=r"h\.toml, line 1: unknown key 'qeue_max'; did you mean 'queue_max'"):
        load_settings(file=file, environ={})
    with pytest.raises(ConfigError, match="environment variable HEADWAY_QUEUE_MAX: queue_max must be"):
        load_settings(environ={"HEADWAY_QUEUE_MAX": "many"})
    file.write_text("queue_max = ")
    with pytest.raises(ConfigError, match="not valid TOML"):
        load_settings(file=file, environ={})
    with pytest.raises(ConfigError, match="no such file"):
        load_settings(file=tmp_path / "none.toml", environ={})


def test_a_key_in_a_file_is_refused(tmp_path):
    """Secrets do not belong into files that are committed."""
    file = tmp_path / "headway.toml"
    file.write_text('api_key = "sk-1"')
    with pytest.raises(ConfigError, match=r"headway\.toml, line 1: api_key must not stand in a file") as caught:
        load_settings(file=file, environ={})
    assert "sk-1" not in str(caught.value)


def test_a_secret_never_shows():
    """Neither its repr, nor its str, nor that of the settings that hold it."""
    settings = load_settings({"api_key": "sk-very-secret"}, environ={})
    assert "sk-very-secret" not in repr(settings) + str(settings) + f"{settings.api_key}"
    assert settings.api_key is not None
    assert settings.api_key.reveal() == "sk-very-secret"


def test_presets_are_a_start_that_numbers_override():
    """Limits = "openai/tier-1" gives both numbers; one of them may be set apart."""
    limits = load_settings({"limits": "openai/tier-1", "requests_per_min": 100}, environ={}).limit_settings()
    assert (limits.requests_per_min, limits.tokens_per_min) == (100, 200_000)


def test_the_sdks_address_beats_the_file(tmp_path):
    """Keyword over HEADWAY_* over OPENAI_* over the file over the default."""
    file = tmp_path / "h.toml"
    file.write_text('base_url = "https://file.example/v1"')
    env = {}
    assert load_settings(file=file, environ=env).base_url == "https://file.example/v1"
    env["OPENAI_BASE_URL"] = "https://sdk.example/v1"
    assert load_settings(file=file, environ=env).base_url == "https://sdk.example/v1"
    env["HEADWAY_BASE_URL"] = "https://own.example/v1"
    assert load_settings(file=file, environ=env).base_url == "https://own.example/v1"
    given = {"base_url": "https://given.example/v1"}
    assert load_settings(given, file=file, environ=env).base_url == "https://given.example/v1"


@pytest.mark.parametrize(("text", "cache", "log"), [("true", "disk", "on"), ("False", "off", "off")])
def test_booleans_of_the_environment_are_booleans(text, cache, log):
    """As in Python and TOML: never a log file named "false"."""
    settings = load_settings(environ={"HEADWAY_CACHE": text, "HEADWAY_LOG": text})
    assert (settings.cache, settings.log) == (cache, log)


@pytest.mark.parametrize("key", ["sk-t\u00e9st\u2019", "sk-a\nb", "sk a"])
@pytest.mark.parametrize("name", ["OPENAI_API_KEY", "HEADWAY_API_KEY", "TRIAGE_KEY"])
def test_a_key_that_no_header_can_carry_is_refused_by_its_variable(name, key):
    """Said at the start, naming the variable; not by the client library in the middle of a job."""
    env = {name: key} | ({"HEADWAY_API_KEY_ENV": name} if name == "TRIAGE_KEY" else {})
    with pytest.raises(ConfigError, match=f"environment variable {name}: api_key must be a printable text") as caught:
        load_settings(environ=env)
    assert "sk" not in str(caught.value)


def test_an_empty_key_is_no_key():
    """A variable that is set to nothing is not set."""
    assert load_settings(environ={"OPENAI_API_KEY": " "}).api_key is None


@pytest.mark.parametrize(
    "url",
    ["https://evil.example/v1", "http://api.openai.com/v1", "https://api.openai.com.evil.example", "http://10.0.0.1"],
)
def test_a_file_that_was_only_found_may_not_choose_who_gets_the_key(tmp_path, monkeypatch, url):
    """A cloned repository's headway.toml sends no key and no prompt to a host of its own, until it is named."""
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "headway.toml"
    file.write_text(f'base_url = "{url}"\napi_key_env = "MY_API_KEY"\ntimeout_s = 3\n')
    for env in ({}, {"OPENAI_API_KEY": "sk"}, {"HEADWAY_API_KEY": "sk"}, {"MY_API_KEY": "x"}):
        with pytest.raises(ConfigError, match=r"headway\.toml: .* name it with config="):
            load_settings(environ=env)
    assert load_settings(file="headway.toml", environ={}).base_url == url
    # Another address was chosen by who may choose: the rest of the file holds.
    for given, env in (({"base_url": "https://a.example"}, {}), ({}, {"OPENAI_BASE_URL": "https://a.example"})):
        settings = load_settings(given, environ=env)
        assert (settings.base_url, settings.timeout_s) == ("https://a.example", 3.0)


@pytest.mark.parametrize(
    "url", ["https://api.openai.com/v1", "http://localhost:8181/v1", "http://127.0.0.1:1/v1", "http://[::1]:1/v1"]
)
def test_a_file_that_was_found_may_name_the_default_and_this_machine(tmp_path, monkeypatch, url):
    """A simulator or a model of one's own needs no ceremony."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "headway.toml").write_text(f'base_url = "{url}"')
    assert load_settings(environ={}).base_url == url


def test_named_caches_are_tables_of_their_own(tmp_path):
    """What a table does not say is as in the default cache; settings stay hashable, for engines are shared by them."""
    file = tmp_path / "headway.toml"
    file.write_text(
        'cache = "disk"\ncache_ttl_s = 9\n[caches.faq]\nttl_s = 60\n[caches.drafts]\ndisk_bytes_max = 1000\n'
    )
    settings = load_settings(file=file, environ={})
    faq, drafts = settings.cache_named("faq"), settings.cache_named("drafts")
    assert (faq.ttl_s, faq.disk_bytes_max) == (60.0, settings.cache_disk_bytes_max)
    assert (drafts.ttl_s, drafts.disk_bytes_max) == (9.0, 1000)
    assert settings.cache_named("").ttl_s == 9.0
    assert settings.cache_named("nonsense") is None
    assert hash(settings) == hash(load_settings(file=file, environ={}))


def test_a_stranger_file_does_not_choose_who_keeps_answers(tmp_path, monkeypatch):
    """A found file may name the Redis of this machine only, and no file may hold its password."""
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "headway.toml"
    file.write_text('redis_url = "redis://evil.example:6379"\n')
    with pytest.raises(ConfigError, match="found here, not named"):
        load_settings(environ={})
    assert load_settings(file=file, environ={}).redis_url.reveal() == "redis://evil.example:6379"
    for url in ("redis://:secret@localhost", "redis://localhost/?password=secret", "unix:///s?%70assword=secret"):
        file.write_text(f'redis_url = "{url}"\n')
        with pytest.raises(ConfigError, match=r"a password must not stand in a file.*HEADWAY_REDIS") as caught:
            load_settings(file=file, environ={})
        assert "secret" not in str(caught.value)


UPSTREAM = '[[upstream]]\nname = "x"\nbase_url = "https://api.openai.com/v1"\n'


@pytest.mark.parametrize(
    ("text", "says", "over"),
    [
        ('log = "~/.bashrc"', "choose the call log's file", {"HEADWAY_LOG": "on"}),
        ('log = "notes.sqlite"', "choose the call log's file", {"HEADWAY_LOG": "on"}),
        ('cache_path = "/home/me/.ssh/id_rsa"', "choose the cache's file", {"HEADWAY_CACHE_PATH": "c.sqlite"}),
        ("log_prompts = true", "have prompts kept", {"HEADWAY_LOG_PROMPTS": "false"}),
        ('api_key_env = "AWS_SECRET_ACCESS_KEY"', "only variables called ..._API_KEY", {"HEADWAY_API_KEY_ENV": "A"}),
        (UPSTREAM + 'key_env = "AWS_SECRET_ACCESS_KEY"', "only variables called", {"HEADWAY_UPSTREAMS": "[]"}),
    ],
)
def test_a_file_that_was_only_found_chooses_no_files_and_no_secrets(tmp_path, monkeypatch, text, says, over):
    """A cloned repository's headway.toml neither moves the user's files away, nor has a secret sent as a key."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "headway.toml").write_text(f"timeout_s = 3\n{text}\n")
    env = {"AWS_SECRET_ACCESS_KEY": "aws"}
    with pytest.raises(ConfigError, match=r"found here, not named, may not .*config=") as caught:
        load_settings(environ=env)
    assert says in str(caught.value)
    assert load_settings(environ=env | over).timeout_s == 3.0
    assert load_settings(file="headway.toml", environ=env).timeout_s == 3.0


def test_a_file_that_was_found_may_say_the_harmless(tmp_path, monkeypatch):
    """The log on or off, no prompts in it, and variables that are called as keys are."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "headway.toml").write_text(
        f'log = false\nlog_prompts = false\napi_key_env = "MY_API_KEY"\n{UPSTREAM}key_env = "GROQ_API_KEY"\n'
    )
    settings = load_settings(environ={"MY_API_KEY": "mine", "GROQ_API_KEY": "gsk"})
    assert (settings.log, settings.api_key) == ("off", Secret("mine"))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("timeout_s = " + "9" * 5_000, "not valid TOML"),
        ("timeout_s = 0x" + "f" * 5_000, "timeout_s is too large"),
        ("timeout_s = 1" + "0" * 400, "timeout_s is too large"),
        ("a = " + "[" * 5_000 + "]" * 5_000, "nests too deeply"),
        ('log = "a\\u0000b"', "line 1: log must be text without NUL"),
        ('cache_path = "a\\u0000b"', "line 1: cache_path must be text without NUL"),
    ],
)
def test_a_file_that_the_reader_chokes_on_is_told_in_a_sentence(tmp_path, text, said):
    """Numbers without end, thousands of brackets, characters that no path can hold."""
    path = tmp_path / "headway.toml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=said) as caught:
        load_settings(file=path, environ={})
    assert str(path) in str(caught.value)
    assert len(str(caught.value)) < 1_000
