/**
 * A stand-in for the Messages API on the loopback: it streams scripted answers and keeps what it was asked.
 *
 * It speaks as much of the API as the agent SDK's program needs: `POST /v1/messages` as server-sent events (or as
 * one JSON object when the request does not stream), the token count, and `HEAD` on anything. Node's own HTTP
 * server, so it runs under Node and Bun alike; as a program it is
 * `bun fake-messages-api.ts --port 0 --rules echo` (or `send`), which prints its URL and serves until it is stopped.
 */
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { parseArgs } from 'node:util';

/** What the fake does with one request. */
export type FakeReply =
  /** Answers with this text and ends the model's turn. */
  | { readonly type: 'text'; readonly text: string }
  /** Asks for a tool, by the name the request offers it under (`mcp__nanoclaw__…` for a tool of ours). */
  | {
      readonly type: 'tool';
      readonly name: string;
      readonly input: Readonly<Record<string, unknown>>;
      /** What the request is said to have cost, instead of 10: near the model's limit the asker compacts. */
      readonly inputTokens?: number;
    }
  /** Refuses, as with 429 or 500. */
  | { readonly type: 'status'; readonly status: number; readonly message: string; readonly retryAfterSeconds?: number }
  /** Takes the request and never answers; the connection stays open until the asker or `stop` closes it. */
  | { readonly type: 'hang' }
  /** Begins to answer with this text and closes the connection in the middle of it. */
  | { readonly type: 'cut'; readonly text: string };

/** One request to `/v1/messages`, as received. */
export interface FakeRequest {
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  readonly body: Readonly<Record<string, unknown>>;
}

/** Decides the reply to a request; `index` counts the requests from 0. A promise holds the answer back. */
export type FakeRules = (request: FakeRequest, index: number) => FakeReply | Promise<FakeReply>;

export interface FakeMessagesApi {
  /** The base URL to give to the asker, `http://127.0.0.1:<port>`. */
  readonly url: string;
  /** Every request to `/v1/messages` so far, in order. */
  readonly requests: readonly FakeRequest[];
  /** Closes every connection and stops listening. */
  stop(): Promise<void>;
}

/** Starts the fake on the loopback; port 0 takes any free one. Rejects when the port is taken. */
export async function startFakeMessagesApi(rules: FakeRules, port = 0): Promise<FakeMessagesApi> {
  const requests: FakeRequest[] = [];
  const server = createServer((request, response) => {
    answer(request, response, rules, requests).catch((error: unknown) => {
      // A rule that throws is the test's own mistake: seen by the asker as a refusal that names it.
      if (!response.headersSent) refuse(response, 500, `the fake's rules failed: ${String(error)}`);
      else response.destroy();
    });
  });
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(port, '127.0.0.1', resolve);
  });
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('the fake API has no port');
  return {
    url: `http://127.0.0.1:${address.port}`,
    requests,
    stop: () =>
      new Promise((resolve, reject) => {
        server.close((error) => (error === undefined ? resolve() : reject(error)));
        server.closeAllConnections();
      }),
  };
}

/** Replies in the order given; a request beyond the last is refused, so that a test sees it. */
export function inOrder(...replies: readonly FakeReply[]): FakeRules {
  return (_request, index) =>
    replies[index] ?? { type: 'status', status: 400, message: `no reply is scripted for request ${index + 1}` };
}

/** Answers every request with what was said last, after `echo: `. */
export const echo: FakeRules = (request) => ({ type: 'text', text: `echo: ${saidLast(request)}` });

/** Says what was said last by means of our tool `send_message`, and ends the model's turn once the tool has answered. */
export const send: FakeRules = (request, index) => {
  const isOffered = toolNamesOf(request).includes(SEND_MESSAGE);
  if (!isOffered || isAfterTool(request)) return echo(request, index);
  return { type: 'tool', name: SEND_MESSAGE, input: { text: `sent: ${saidLast(request)}` } };
};

const SEND_MESSAGE = 'mcp__nanoclaw__send_message';

/** Whether the last message is what a tool has answered. */
function isAfterTool({ body }: FakeRequest): boolean {
  const messages = body['messages'];
  const last: unknown = Array.isArray(messages) ? messages.at(-1) : undefined;
  const content = isRecord(last) ? last['content'] : undefined;
  return Array.isArray(content) && content.some((part: unknown) => isRecord(part) && part['type'] === 'tool_result');
}

/** The last text of a user, or of a tool, without the reminders that the agent program puts beside it. */
function saidLast(request: FakeRequest): string {
  const messages = request.body['messages'];
  if (!Array.isArray(messages)) return '';
  const said = messages.filter((each: unknown) => isRecord(each) && each['role'] === 'user').flatMap(textsIn);
  return said.findLast((text) => !text.startsWith('<system-reminder>')) ?? '';
}

/** Every text in the request's messages, in order: what users said, what the model said, what tools returned. */
export function textsOf(request: FakeRequest): string[] {
  return textsIn(request.body['messages']);
}

/** The names of the tools that the request offers to the model. */
export function toolNamesOf(request: FakeRequest): string[] {
  const tools = request.body['tools'];
  if (!Array.isArray(tools)) return [];
  return tools.flatMap((tool: unknown) => (isRecord(tool) && typeof tool['name'] === 'string' ? [tool['name']] : []));
}

function textsIn(value: unknown): string[] {
  if (typeof value === 'string') return [value];
  if (Array.isArray(value)) return value.flatMap(textsIn);
  if (!isRecord(value)) return [];
  return typeof value['text'] === 'string' ? [value['text']] : textsIn(value['content']);
}

async function answer(
  request: IncomingMessage,
  response: ServerResponse,
  rules: FakeRules,
  requests: FakeRequest[],
): Promise<void> {
  const path = new URL(request.url ?? '/', 'http://fake').pathname;
  if (request.method === 'HEAD') {
    response.writeHead(200).end();
    return;
  }
  const body = await jsonBody(request);
  if (path === '/v1/messages/count_tokens') {
    json(response, 200, { input_tokens: 10 });
    return;
  }
  if (path !== '/v1/messages') {
    refuse(response, 404, `the fake API does not know ${path}`);
    return;
  }
  const received: FakeRequest = { headers: request.headers, body };
  requests.push(received);
  const index = requests.length - 1;
  const reply = await rules(received, index);
  switch (reply.type) {
    case 'hang':
      return;
    case 'status':
      refuse(response, reply.status, reply.message, reply.retryAfterSeconds);
      return;
    case 'cut':
      response.writeHead(200, { 'content-type': 'text/event-stream' });
      for (const event of events(body, index, textBlock(reply.text)).slice(0, 3)) response.write(event);
      // Only once the bytes are out: a connection destroyed earlier would look like one that never answered.
      response.write(': cut\n\n', () => response.destroy());
      return;
    case 'text':
      respond(response, body, index, textBlock(reply.text));
      return;
    case 'tool':
      respond(
        response,
        body,
        index,
        {
          type: 'tool_use',
          id: `toolu_fake_${index}`,
          name: reply.name,
          input: reply.input,
        },
        reply.inputTokens,
      );
      return;
  }
}

type Block =
  | { readonly type: 'text'; readonly text: string }
  | {
      readonly type: 'tool_use';
      readonly id: string;
      readonly name: string;
      readonly input: Readonly<Record<string, unknown>>;
    };

function textBlock(text: string): Block {
  return { type: 'text', text };
}

/** One complete answer: a stream of events, or one message when the request did not ask for a stream. */
function respond(
  response: ServerResponse,
  body: FakeRequest['body'],
  index: number,
  block: Block,
  inputTokens?: number,
): void {
  if (body['stream'] !== true) {
    json(response, 200, { ...message(body, index, inputTokens), content: [block], stop_reason: stopReason(block) });
    return;
  }
  response.writeHead(200, { 'content-type': 'text/event-stream', 'cache-control': 'no-cache' });
  response.end(events(body, index, block, inputTokens).join(''));
}

/** The events of a whole answer; the first three begin it, so a stream cut after those is cut in the middle. */
function events(body: FakeRequest['body'], index: number, block: Block, inputTokens?: number): string[] {
  const [start, delta] =
    block.type === 'text'
      ? [
          { type: 'text', text: '' },
          { type: 'text_delta', text: block.text },
        ]
      : [
          { ...block, input: {} },
          { type: 'input_json_delta', partial_json: JSON.stringify(block.input) },
        ];
  return [
    { type: 'message_start', message: { ...message(body, index, inputTokens), content: [], stop_reason: null } },
    { type: 'content_block_start', index: 0, content_block: start },
    { type: 'content_block_delta', index: 0, delta },
    { type: 'content_block_stop', index: 0 },
    {
      type: 'message_delta',
      delta: { stop_reason: stopReason(block), stop_sequence: null },
      usage: usage(inputTokens),
    },
    { type: 'message_stop' },
  ].map((event) => `event: ${event.type}\ndata: ${JSON.stringify(event)}\n\n`);
}

/** What an answer of the fake is said to have cost. */
function usage(inputTokens = 10): Record<string, number> {
  return { input_tokens: inputTokens, output_tokens: 5, cache_creation_input_tokens: 0, cache_read_input_tokens: 2 };
}

function message(body: FakeRequest['body'], index: number, inputTokens?: number): Record<string, unknown> {
  return {
    id: `msg_fake_${index}`,
    type: 'message',
    role: 'assistant',
    model: body['model'],
    stop_sequence: null,
    usage: usage(inputTokens),
  };
}

function stopReason(block: Block): string {
  return block.type === 'text' ? 'end_turn' : 'tool_use';
}

function refuse(response: ServerResponse, status: number, text: string, retryAfterSeconds?: number): void {
  const headers = retryAfterSeconds === undefined ? {} : { 'retry-after': String(retryAfterSeconds) };
  json(response, status, { type: 'error', error: { type: errorType(status), message: text } }, headers);
}

function errorType(status: number): string {
  if (status === 429) return 'rate_limit_error';
  if (status === 529) return 'overloaded_error';
  return status >= 500 ? 'api_error' : 'invalid_request_error';
}

function json(response: ServerResponse, status: number, value: unknown, headers: Record<string, string> = {}): void {
  response.writeHead(status, { 'content-type': 'application/json', ...headers }).end(JSON.stringify(value));
}

async function jsonBody(request: IncomingMessage): Promise<Record<string, unknown>> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(Buffer.from(chunk));
  const text = Buffer.concat(chunks).toString('utf8');
  const value: unknown = text === '' ? {} : JSON.parse(text);
  return isRecord(value) ? value : {};
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

if (import.meta.main) {
  const { values } = parseArgs({
    options: { port: { type: 'string', default: '0' }, rules: { type: 'string', default: 'echo' } },
  });
  const rules = { echo, send }[values.rules];
  if (rules === undefined) throw new Error(`There are no rules named ${values.rules}; there are: echo, send`);
  const api = await startFakeMessagesApi(rules, Number(values.port));
  console.log(api.url);
  const stop = (): void => void api.stop();
  process.once('SIGTERM', stop);
  process.once('SIGINT', stop);
}
