-- What `wrk` sends: an official SDK's request, each with a number of its own (or, for `same`, all with one).
-- Arguments after `--`: the port, the first number, "same" or "each", and more header lines joined by "|".
local prefix, suffix, number, step

function init(args)
  local port, first, kind, more = args[1], tonumber(args[2]), args[3], args[4] or ""
  local extra = ""
  for line in string.gmatch(more, "[^|]+") do
    extra = extra .. line .. "\r\n"
  end
  local body = '{"model":"gpt-5.4-mini","messages":[{"role":"user","content":"Where is my card? '
  suffix = '"}],"max_tokens":16}'
  prefix = "POST /v1/chat/completions HTTP/1.1\r\nHost: localhost:" .. port .. "\r\n"
    .. "Accept-Encoding: gzip, deflate\r\nConnection: keep-alive\r\nAccept: application/json\r\n"
    .. "Content-Type: application/json\r\nUser-Agent: AsyncOpenAI/Python 3.52.0\r\nX-Stainless-Lang: python\r\n"
    .. "X-Stainless-Package-Version: 3.52.0\r\nX-Stainless-OS: Linux\r\nX-Stainless-Arch: x64\r\n"
    .. "X-Stainless-Runtime: CPython\r\nX-Stainless-Runtime-Version: 3.11.7\r\nAuthorization: Bearer sk-bench\r\n"
    .. "X-Stainless-Async: async:asyncio\r\nx-stainless-retry-count: 0\r\nx-stainless-read-timeout: 600\r\n"
    .. extra .. "Content-Length: " .. (#body + 10 + #suffix) .. "\r\n\r\n" .. body
  number, step = first, kind == "same" and 0 or 1
end

function request()
  number = number + step
  return prefix .. string.format("%010d", number) .. suffix
end

function done(summary, latency)
  local errors = summary.errors
  io.write(string.format(
    '\n{"calls":%d,"took_s":%.6f,"failed":%d,"p50_us":%d,"p99_us":%d}\n', summary.requests, summary.duration / 1e6,
    errors.connect + errors.read + errors.write + errors.status + errors.timeout,
    latency:percentile(50), latency:percentile(99)))
end
