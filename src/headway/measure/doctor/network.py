"""Whether an address can be reached, and what each step of the way takes."""

from __future__ import annotations

import asyncio
import socket
import ssl
from typing import Any, Final
from urllib.parse import urlsplit

from headway.measure.doctor.address import Address
from headway.measure.doctor.finding import Finding, failure, ok
from headway.report import format as fmt
from headway.upstream.client import proxy_for
from headway.upstream.link import trust_store

__all__ = ["connection"]

_CHECK: Final = "connection"
STEP_S: Final = 5.0
"""What each step may take."""


async def connection(address: Address) -> Finding:
    """Look the name up, connect, and agree on a key for TLS, each timed. One TCP handshake is one way and back."""
    parts = urlsplit(address.base_url)
    host = parts.hostname or ""
    where = f"{host}:{parts.port}" if parts.port else host
    if (proxy := proxy_for(address.origin)) is not None:
        via = urlsplit(proxy)
        host, port, tls = via.hostname or "", via.port or (443 if via.scheme == "https" else 80), False
        where = f"{where} through the proxy {host}:{port}"
        remedy = f"mend HTTPS_PROXY, HTTP_PROXY or ALL_PROXY, or list {parts.hostname} in NO_PROXY"
    else:
        port, tls = parts.port or (443 if parts.scheme == "https" else 80), parts.scheme == "https"
        remedy = f"check {'base_url' if address.upstream is None else 'the base_url of ' + address.name}"
    try:
        steps = await _steps(host, port, tls=tls)
    except socket.gaierror as error:
        return failure(_CHECK, f"{where}: the name is not known ({error.strerror})", f"{remedy}, and the network's DNS")
    except ssl.SSLCertVerificationError as error:
        return failure(
            _CHECK,
            f"{where}: its certificate is not trusted ({error.verify_message})",
            "if your organisation has a proxy in between, name its certificate in SSL_CERT_FILE; check the clock, too",
        )
    except ConnectionRefusedError:
        return failure(_CHECK, f"{where}: refused; nothing listens there", f"{remedy}, and that the server is up")
    except TimeoutError:
        return failure(_CHECK, f"{where}: no answer within {STEP_S:g} s", f"{remedy}, the firewall, and the network")
    except (OSError, ssl.SSLError) as error:
        reason = error.strerror or str(error) or type(error).__name__
        return failure(_CHECK, f"{where}: {fmt.printable(reason)}", f"{remedy}, and that the server is up")
    told = ", ".join(f"{name} {fmt.seconds(took_s)}" for name, took_s in steps.items())
    figures = {f"{name.lower()}_s": took_s for name, took_s in steps.items()}
    return ok(_CHECK, f"{where}: {told}", address=address.base_url, **figures)


async def _steps(host: str, port: int, *, tls: bool) -> dict[str, float]:
    """What each step took, in seconds, in their order."""
    loop = asyncio.get_running_loop()
    took: dict[str, float] = {}
    start_s = loop.time()
    async with asyncio.timeout(STEP_S):
        found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    took["DNS"] = loop.time() - start_s
    context = trust_store() if tls else None
    start_s = loop.time()
    async with asyncio.timeout(STEP_S):
        sock = await _connected(loop, found)
    took["TCP"] = loop.time() - start_s
    start_s = loop.time()
    async with asyncio.timeout(STEP_S):
        try:
            _, writer = await asyncio.open_connection(sock=sock, ssl=context, server_hostname=host if tls else None)
        except BaseException:
            sock.close()
            raise
        if tls:
            took["TLS"] = loop.time() - start_s
        writer.close()
        try:
            await writer.wait_closed()
        except (OSError, ssl.SSLError):
            pass  # it was there: how it ends is of no interest
    return took


async def _connected(loop: asyncio.AbstractEventLoop, found: list[tuple[Any, ...]]) -> socket.socket:
    """A socket to the first address that accepts."""
    problem: OSError = OSError("the name has no address")
    for family, kind, protocol, _, place in found:
        sock = socket.socket(family, kind, protocol)
        sock.setblocking(False)  # noqa: FBT003  # positional only
        try:
            await loop.sock_connect(sock, place)
        except OSError as error:
            sock.close()
            problem = error
        except BaseException:
            sock.close()
            raise
        else:
            return sock
    raise problem
