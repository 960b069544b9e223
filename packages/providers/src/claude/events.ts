/**
 * What the agent program's messages mean for a turn. Decides only; nothing here acts.
 */
import type { SDKAssistantMessageError, SDKMessage, SDKResultMessage } from '@anthropic-ai/claude-agent-sdk';
import type { StartOptions, TurnEnd, TurnEvent, Usage } from '@nanoclaw/runner';
import type { DeferralKind } from '@nanoclaw/session-db';
import { cut } from '@nanoclaw/session-db/text';
import { TOOL_SERVER } from './tools.ts';

/** How long a shell command may take that declares nothing, and the most that it may declare. */
export const BASH_TIMEOUT_DEFAULT_MS = 120_000;
export const BASH_TIMEOUT_MAX_MS = 600_000;

/** A reason longer than this (a gateway's whole error page) is cut. */
const REASON_LENGTH_MAX = 1_000;

type Assistant = Extract<SDKMessage, { type: 'assistant' }>;

/** Reads one turn's messages, in order. */
export interface ClaudeReading {
  /** What a message tells of the work. A result tells nothing here: see `failure` and `result`. */
  events(message: SDKMessage): TurnEvent[];
  /** The turn's last event, if this result is a failure; `undefined` when it answers, which is then remembered. */
  failure(message: SDKResultMessage): TurnEnd | undefined;
  /** The turn's last event when all is answered: every answer since the start and what they cost together. */
  result(): TurnEnd;
}

/** A reading of the turn that was started with `start`. */
export function claudeReading(start: Pick<StartOptions, 'continuation' | 'tools'>): ClaudeReading {
  const answers: string[] = [];
  const usages: Usage[] = [];
  let sessionId: string | undefined;
  let lastText = '';
  let lastError: SDKAssistantMessageError | undefined;

  return {
    events: (message) => {
      if (message.type === 'assistant') lastError = message.error;
      if (message.type === 'assistant' && message.parent_tool_use_id === null) lastText = textOf(message);
      if (isCompactedByCommand(message)) lastText = COMPACTED;
      if (message.type === 'system' && message.subtype === 'init' && message.session_id !== sessionId) {
        sessionId = message.session_id;
        return [{ type: 'continuation', token: message.session_id }, { type: 'progress' }];
      }
      return [...toolEvents(message, start.tools), ...(isProgress(message) ? [{ type: 'progress' } as const] : [])];
    },
    failure: (message) => {
      usages.push(usageOf(message));
      const reason = failureReason(message);
      if (reason !== undefined) {
        const failed = { type: 'error', reason: cut(reason, REASON_LENGTH_MAX), usage: total(usages) } as const;
        const kind = deferralKind(message, lastError);
        if (kind !== undefined) return { ...failed, kind };
        const lostContinuation = start.continuation !== undefined && isConversationLost(message, sessionId, reason);
        return { ...failed, kind: 'failed', lostContinuation };
      }
      if (message.subtype === 'success') {
        // A command of the program's own (/compact) may answer by a message and leave its result empty.
        const text = message.result === '' && message.local_command !== undefined ? lastText : message.result;
        if (text.trim() !== '') answers.push(text);
      }
      lastText = '';
      return undefined;
    },
    result: () => ({
      type: 'result',
      text: answers.length === 0 ? null : answers.join('\n\n'),
      usage: total(usages),
    }),
  };
}

/** The answer to /compact, which the program gives none to when it succeeds. */
const COMPACTED =
  'The conversation is compacted: from here on I know a summary of it. Files, tasks and places are kept.';

function isCompactedByCommand(message: SDKMessage): boolean {
  if (message.type !== 'system' || message.subtype !== 'compact_boundary') return false;
  return message.compact_metadata.trigger === 'manual';
}

/**
 * The MCP servers that are not there when the model is asked; none for most messages. A server still `pending` then is one
 * that the program has waited for in vain.
 */
export function missingServers(message: SDKMessage): string[] {
  if (message.type !== 'system' || message.subtype !== 'init') return [];
  return message.mcp_servers.filter(({ status }) => status !== 'connected').map(({ name }) => name);
}

/**
 * True for what only a working model or tool causes. The program's own signs of life (retries of the API, a running
 * tool's ticking) are none: counted, they would keep a stuck run alive for ever.
 */
function isProgress(message: SDKMessage): boolean {
  switch (message.type) {
    case 'assistant':
    case 'user':
    case 'stream_event':
      return true;
    case 'system':
      return message.subtype === 'thinking_tokens' || message.subtype === 'compact_boundary';
    default:
      return false;
  }
}

function toolEvents(message: SDKMessage, tools: StartOptions['tools']): TurnEvent[] {
  if (message.type === 'assistant') {
    return message.message.content.flatMap((block): TurnEvent[] =>
      block.type === 'tool_use' ? [toolStarted(block.id, block.name, block.input, tools)] : [],
    );
  }
  if (message.type === 'user' && typeof message.message.content !== 'string') {
    return message.message.content.flatMap((block): TurnEvent[] =>
      block.type === 'tool_result' ? [{ type: 'tool-ended', toolUseId: block.tool_use_id }] : [],
    );
  }
  return [];
}

function toolStarted(toolUseId: string, fullName: string, input: unknown, tools: StartOptions['tools']): TurnEvent {
  const prefix = `mcp__${TOOL_SERVER}__`;
  const ours = tools.find((tool) => prefix + tool.name === fullName);
  const timeoutMs = fullName === 'Bash' ? bashTimeoutMs(input) : ours?.timeoutMs;
  return {
    type: 'tool-started',
    toolUseId,
    name: ours?.name ?? fullName,
    ...(timeoutMs === undefined ? {} : { timeoutMs }),
  };
}

/** What the shell tool will really allow: the declared time, or its default, never more than its maximum. */
function bashTimeoutMs(input: unknown): number {
  const declared = typeof input === 'object' && input !== null && 'timeout' in input ? input.timeout : undefined;
  return typeof declared === 'number' ? Math.min(declared, BASH_TIMEOUT_MAX_MS) : BASH_TIMEOUT_DEFAULT_MS;
}

/** Why a result is no answer; `undefined` when it is one. */
function failureReason(result: SDKResultMessage): string | undefined {
  if (result.subtype !== 'success') {
    return `The model did not finish (${result.subtype}): ${result.errors.join('; ') || 'no reason was given'}`;
  }
  if (!result.is_error) return undefined;
  const status = typeof result.api_error_status === 'number' ? ` with status ${result.api_error_status}` : '';
  return `The model's API failed${status}: ${result.result}`;
}

/**
 * Whether it was the API that was in the way, and how; `undefined`: not, or the request may be at fault. The program's own word
 * comes first, because it has read what the API said; a status stands for an API, or a gateway before it, that it does not know.
 */
function deferralKind(result: SDKResultMessage, error: SDKAssistantMessageError | undefined): DeferralKind | undefined {
  if (result.subtype !== 'success' || result.terminal_reason !== 'api_error') return undefined;
  const known = error === undefined ? undefined : ERRORS[error];
  if (known !== undefined) return known;
  const status = result.api_error_status;
  // Without a status no answer has come: the connection was refused, or lost.
  if (status === undefined || status === null) return 'unavailable';
  if (REFUSALS.includes(status)) return 'refused';
  return status === 408 || status === 429 || status >= 500 ? 'unavailable' : undefined;
}

/** What the program calls the API's troubles, but for those that a request may be at fault for. */
const ERRORS: Readonly<Partial<Record<SDKAssistantMessageError, DeferralKind>>> = {
  authentication_failed: 'refused',
  oauth_org_not_allowed: 'refused',
  account_on_hold: 'refused',
  verification_required: 'refused',
  billing_error: 'refused',
  model_not_found: 'refused',
  cloud_credential_error: 'refused',
  rate_limit: 'unavailable',
  overloaded: 'unavailable',
  server_error: 'unavailable',
};

/** No key, no credit, no access, no such model or address. */
const REFUSALS: readonly number[] = [401, 402, 403, 404];

/**
 * True when trying again with the same conversation would fail the same way: it cannot be found or read (the program
 * says so before it begins), it has outgrown the model, or the API refuses it as malformed. The last may also be one
 * bad prompt, and then the conversation is given up for nothing: better than an agent that never answers again.
 */
function isConversationLost(result: SDKResultMessage, sessionId: string | undefined, reason: string): boolean {
  if (sessionId === undefined) return /conversation found|--resume/i.test(reason);
  if (result.terminal_reason === 'prompt_too_long' || result.terminal_reason === 'image_error') return true;
  return result.subtype === 'success' && result.api_error_status === 400;
}

function textOf(message: Assistant): string {
  return message.message.content.flatMap((block) => (block.type === 'text' ? [block.text] : [])).join('');
}

/** What several results cost together. */
function total(usages: readonly Usage[]): Usage {
  return {
    inputTokens: sum(usages.map((usage) => usage.inputTokens)),
    outputTokens: sum(usages.map((usage) => usage.outputTokens)),
    cacheReadTokens: sum(usages.map((usage) => usage.cacheReadTokens)),
    costUsd: sum(usages.map((usage) => usage.costUsd)),
  };
}

const unknownUsage: Usage = { inputTokens: null, outputTokens: null, cacheReadTokens: null, costUsd: null };

/**
 * What this result alone cost, of all models. `total_cost_usd` and `modelUsage` would not do: in a resumed session they
 * begin with what the conversation had cost before. The field read here is in the program's published schema of
 * results but not in the SDK's types, so it is looked at as untyped, and unknown when it is missing.
 */
function usageOf(result: SDKResultMessage): Usage {
  if (!('model_usage_since_last_result' in result)) return unknownUsage;
  const byModel = result.model_usage_since_last_result;
  if (typeof byModel !== 'object' || byModel === null) return unknownUsage;
  const models: unknown[] = Object.values(byModel);
  const ofAll = (field: string): number | null => sum(models.map((model) => figure(model, field)));
  const cacheReadTokens = ofAll('cacheReadInputTokens');
  return {
    // The program counts what came from the cache, and what went into it, apart from the rest of the input.
    inputTokens: sum([ofAll('inputTokens'), cacheReadTokens, ofAll('cacheCreationInputTokens')]),
    outputTokens: ofAll('outputTokens'),
    cacheReadTokens,
    costUsd: ofAll('costUSD'),
  };
}

function figure(model: unknown, field: string): number | null {
  if (typeof model !== 'object' || model === null) return null;
  const value: unknown = Object.entries(model).find(([name]) => name === field)?.[1];
  return typeof value === 'number' ? value : null;
}

/** The sum, unknown as soon as one part is. */
function sum(parts: readonly (number | null)[]): number | null {
  return parts.reduce<number | null>((all, part) => (all === null || part === null ? null : all + part), 0);
}
