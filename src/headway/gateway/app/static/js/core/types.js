/**
 * The admin API's documents, as `documents.py` and `details.py` of headway/insight describe them. Seconds, dollars
 * (null: not known) and Unix seconds (`*_wall_s`) as everywhere.
 *
 * @typedef {{
 *   window_s: number, key: string, model: string, route: string, upstream: string, failed?: boolean,
 * }} Filters `failed`: only these calls are listed; it is the page's own.
 * @typedef {{id: string, name: string}} Choice
 * @typedef {{keys: Choice[], models: Choice[], routes: Choice[], upstreams: Choice[]}} Choices
 * @typedef {{p50_s: number | null, p95_s: number | null, p99_s: number | null}} Quantiles
 * @typedef {{workers: number, in_flight: number, queued: number, queued_by_priority: Record<string, number>}} Live
 * @typedef {{
 *   calls: number, requests_per_s: number, failed: number, throttled: number, input_tokens: number,
 *   output_tokens: number, dollars: number, dollars_unknown: number, saved_dollars: number, wasted_dollars: number,
 *   ttft: Quantiles, total: Quantiles,
 * }} Totals
 * @typedef {{
 *   bucket_s: number, at_wall_s: number[], calls: number[], failed: number[], throttled: number[], hits: number[],
 *   ttft_p50_s: (number | null)[], ttft_p95_s: (number | null)[], ttft_p99_s: (number | null)[],
 *   total_p50_s: (number | null)[], total_p95_s: (number | null)[], total_p99_s: (number | null)[],
 *   dollars: number[], saved_dollars: number[],
 * }} Series
 * @typedef {{tier: string, count: number, share: number, saved_dollars: number}} Tier
 * @typedef {{scope: string, kind: string, per_min: number | null, share: number | null, learned: boolean}} LimitUse
 * @typedef {{
 *   name: string, origin: string, attempts: number, failed: number, throttled: number, ttft: Quantiles,
 *   queued: number, limits: LimitUse[], breaker: string, last: number, last_failed: number,
 * }} UpstreamLine
 * @typedef {{
 *   id: string, name: string, calls: number, dollars: number, saved_dollars: number, wasted_dollars: number,
 * }} Spent
 * @typedef {{layer: string, count: number, saved_dollars: number, wasted_dollars: number}} Layer
 * @typedef {{by_key: Spent[], by_model: Spent[], by_layer: Layer[]}} Money
 * @typedef {{
 *   id: string, start_wall_s: number, key: string, key_name: string, model: string, route: string, upstream: string,
 *   status: number | null, outcome: string, error_code: string, cache: string, stream: boolean, attempts: number,
 *   wait_s: number, ttft_s: number | null, total_s: number | null, input_tokens: number | null,
 *   output_tokens: number | null, dollars: number | null, run: string, step: string,
 * }} CallLine
 * @typedef {{
 *   now_wall_s: number, version: string, filters: Filters, choices: Choices, log: string, log_note: string, live: Live,
 *   totals: Totals, series: Series, tiers: Tier[], upstreams: UpstreamLine[], money: Money, calls: CallLine[],
 * }} Overview
 * @typedef {{lane: string, kind: string, start_s: number, end_s: number, note: string}} Span
 * @typedef {{call: CallLine, fields: Record<string, unknown>, attempts: Record<string, unknown>[], spans: Span[]}}
 *   CallDetail
 * @typedef {{
 *   pipeline: string, runs: number, failed: number, total: Quantiles, dollars: number | null, last_run: string,
 *   steps: Record<string, any>[],
 * }} PipelineLine
 * @typedef {{
 *   run: string, pipeline: string, start_wall_s: number, outcome: string, total_s: number | null,
 *   dollars: number | null,
 * }} RunLine
 * @typedef {{run: RunLine, spans: Span[], critical: string[]}} RunDetail
 * @typedef {{
 *   id: string, name: string, state: string, created_wall_s: number, expires_wall_s: number | null, parent: string,
 *   models: string[], paths: string[], requests_per_min: number | null, tokens_per_min: number | null,
 *   dollars_per_day: number | null, dollars_per_month: number | null, priority: number, share: string, admin: boolean,
 *   day_dollars: number, month_dollars: number, month_requests: number, month_tokens: number,
 * }} KeyLine
 * @typedef {{needs_key: boolean, signed_in: boolean, name: string}} Session
 */

export {};
