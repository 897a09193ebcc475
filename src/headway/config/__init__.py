"""Settings: keyword over HEADWAY_* over OPENAI_* over `headway.toml` over default; every value checked by name.

    [headway.toml]                          [environment]                       [keyword]
    base_url = "https://api.openai.com/v1"  HEADWAY_BASE_URL, OPENAI_BASE_URL   Engine(base_url=...)
    api_key_env = "OPENAI_API_KEY"          HEADWAY_API_KEY, OPENAI_API_KEY     Engine(api_key=...)
    limits = "openai/tier-1"                HEADWAY_LIMITS                      Engine(limits=...)

Every key may be given in each of the three ways; the environment's name is HEADWAY_ and the key in capitals. Keys of
providers never stand in a file: `api_key_env` names the variable that holds one.

A `headway.toml` that was found in the working directory, not named, may have come with somebody else's repository. It
may not choose who is sent keys and prompts: its `base_url` is taken when it is the default's host or this machine, and
is an error otherwise. Nor which variables are keys (only ..._API_KEY), which files are written, or that prompts are
kept. Name the file, or give what it may not by keyword or environment.
"""

from headway.config.load import load_settings
from headway.config.settings import CacheSettings, Secret, Settings, state_dir

__all__ = ["CacheSettings", "Secret", "Settings", "load_settings", "state_dir"]
