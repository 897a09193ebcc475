"""The gateway: the engine for programs in any language, behind an address that speaks OpenAI's and Anthropic's APIs.

    connection (gateway.protocol) --+--> door (gateway.data) --> engine
    ASGI application (gateway.app) -+

Nothing here is imported before it is used: `headway serve`, or `gateway.server.serve`.
"""
