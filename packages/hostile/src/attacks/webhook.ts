/** What a stranger on the network tries at the webhook channel. It knows the name of an endpoint and no secret. */
import { connect, type Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { gzipSync } from 'node:zlib';

/** Where a stranger knocks, and until when. */
export interface Door {
  readonly port: number;
  /** Epoch milliseconds. */
  readonly until: number;
}

/** One attack of a stranger. */
export interface StrangersAttack {
  /** What the stranger does, in a few words; unique. */
  readonly name: string;
  readonly act: (door: Door) => Promise<void>;
}

const PATH = '/hooks/honest';

/** Opens so many connections, writes something on each, and keeps them open until the end. */
async function kept(
  door: Door,
  count: number,
  begin: (socket: Socket) => void,
  every?: (socket: Socket) => void,
): Promise<void> {
  const sockets = new Set<Socket>();
  const open = () => {
    const socket = connect(door.port, '127.0.0.1');
    socket.on('error', () => undefined);
    // Whoever is shown out comes again.
    socket.on('close', () => {
      sockets.delete(socket);
      if (Date.now() < door.until) setTimeout(open, 20);
    });
    socket.on('connect', () => begin(socket));
    socket.resume();
    sockets.add(socket);
  };
  for (let n = 0; n < count; n += 1) open();
  while (Date.now() < door.until) {
    await sleep(100);
    if (every !== undefined) for (const socket of sockets) if (socket.writable) every(socket);
  }
  for (const socket of sockets) socket.destroy();
}

/** Writes the same bytes on connection after connection. */
async function poured(door: Door, bytes: string | Buffer, atOnce = 8): Promise<void> {
  const one = async () => {
    while (Date.now() < door.until) {
      await new Promise<void>((resolve) => {
        const socket = connect(door.port, '127.0.0.1');
        socket.setTimeout(2_000, () => socket.destroy());
        socket.on('error', () => undefined).on('close', () => resolve());
        socket.on('data', () => socket.destroy());
        socket.end(bytes);
      });
    }
  };
  await Promise.all(Array.from({ length: atOnce }, one));
}

const post = (headers: readonly string[], body: string | Buffer = ''): Buffer =>
  Buffer.concat([
    Buffer.from([`POST ${PATH} HTTP/1.1`, 'host: localhost', 'connection: close', ...headers, '', ''].join('\r\n')),
    Buffer.from(body),
  ]);
const signature = (at = Math.floor(Date.now() / 1_000)) => [
  `x-nanoclaw-timestamp: ${at}`,
  `x-nanoclaw-signature: v1=${'0'.repeat(64)}`,
];
const whole = (body: string | Buffer, headers: readonly string[] = []) =>
  post([...signature(), `content-length: ${Buffer.byteLength(body)}`, ...headers], body);

/** The attacks of strangers. */
export const STRANGERS: readonly StrangersAttack[] = [
  { name: 'opens 256 connections and says nothing', act: (door) => kept(door, 256, () => undefined) },
  {
    name: 'opens 256 connections and sends only headers',
    act: (door) => kept(door, 256, (socket) => socket.write(post([...signature(), 'content-length: 1000']))),
  },
  {
    name: 'opens 1 000 connections and sends a header now and then',
    act: (door) =>
      kept(
        door,
        1_000,
        (socket) => socket.write(`POST ${PATH} HTTP/1.1\r\nhost: localhost\r\n`),
        (socket) => socket.write('x-more: y\r\n'),
      ),
  },
  {
    name: 'opens 256 connections and sends a body byte by byte',
    act: (door) =>
      kept(
        door,
        256,
        (socket) => socket.write(post([...signature(), 'content-length: 100000'])),
        (socket) => socket.write('x'),
      ),
  },
  {
    name: 'sends a body in chunks without end',
    act: (door) =>
      kept(
        door,
        16,
        (socket) => socket.write(post([...signature(), 'transfer-encoding: chunked'])),
        (socket) => socket.write(`ffff\r\n${'x'.repeat(0xffff)}\r\n`),
      ),
  },
  {
    name: 'asks to wait for messages 256 times',
    act: (door) =>
      kept(door, 256, (socket) =>
        socket.write(
          `GET ${PATH}/messages?after=0&wait=60 HTTP/1.1\r\nhost: localhost\r\n${signature().join('\r\n')}\r\n\r\n`,
        ),
      ),
  },
  { name: 'sends a body of 100 megabytes', act: (door) => poured(door, whole('x'.repeat(100_000_000)), 1) },
  {
    name: 'announces a body of an exabyte',
    act: (door) => poured(door, post([...signature(), `content-length: ${2 ** 60}`])),
  },
  { name: 'sends JSON of 100 000 levels', act: (door) => poured(door, whole(`{"id":${'['.repeat(100_000)}`)) },
  {
    name: 'sends JSON with 200 000 keys',
    act: (door) => poured(door, whole(`{${Array.from({ length: 200_000 }, (_, n) => `"k${n}":0`).join()}}`)),
  },
  { name: 'sends wrong signatures as fast as it can', act: (door) => poured(door, whole('{"id":"m","text":"x"}')) },
  {
    name: 'sends a time of last year',
    act: (door) => poured(door, post([...signature(1_700_000_000), 'content-length: 2'], '{}')),
  },
  {
    name: 'asks for paths that lead out',
    act: (door) => poured(door, 'GET /hooks/../../../etc/passwd HTTP/1.1\r\nhost: x\r\n\r\n'),
  },
  { name: 'sends headers of 100 kilobytes', act: (door) => poured(door, post([`x-long: ${'x'.repeat(100_000)}`])) },
  {
    name: 'sends 10 000 headers',
    act: (door) => poured(door, post(Array.from({ length: 10_000 }, (_, n) => `x-${n}: y`))),
  },
  {
    name: 'says two lengths at once',
    act: (door) =>
      poured(
        door,
        post([...signature(), 'content-length: 5', 'transfer-encoding: chunked'], '0\r\n\r\nGET / HTTP/1.1\r\n\r\n'),
      ),
  },
  {
    name: 'sends a hundred requests in one go',
    act: (door) => poured(door, whole('{}').toString().replace('connection: close\r\n', '').repeat(100)),
  },
  {
    name: 'sends what is not HTTP',
    act: (door) => poured(door, Buffer.from(Array.from({ length: 10_000 }, (_, n) => n % 256))),
  },
  {
    name: 'sends a body that unpacks to a gigabyte',
    act: (door) => poured(door, whole(gzipSync(Buffer.alloc(100_000_000)), ['content-encoding: gzip'])),
  },
];
