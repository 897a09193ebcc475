# ruff: noqa: A005 - tests.typing is nobody else
