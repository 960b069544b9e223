import { execFileSync } from 'node:child_process';
import {
  existsSync,
  linkSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { basename, join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { openSqlite } from '#driver';
import { ATTACHMENT_LIMITS, removeStoredAttachments, safeFileName } from '../src/attachments.ts';
import { removeAttachments, type SessionFolder, spoolAttachments, storeAttachments } from '../src/index.ts';
import { isFileName, messageFiles } from '../src/protocol.ts';
import { TestSession } from './support.ts';

let session: TestSession;
let folder: SessionFolder;
let outgoing: string;

beforeEach(() => {
  session = new TestSession(openSqlite);
  folder = session.folder;
  outgoing = messageFiles(folder.outbound.files, 'r1');
  mkdirSync(outgoing, { recursive: true });
});
afterEach(() => session[Symbol.dispose]());

function spool(names: string[], limits = ATTACHMENT_LIMITS) {
  return spoolAttachments(folder, 'r1', names, limits);
}

/** A file that belongs to the host, outside of what the container may reach. */
function secret(): string {
  const path = join(folder.host, 'secret');
  writeFileSync(path, 'secret');
  return path;
}

describe('names of files (FAILURES 47)', () => {
  it('are one plain component of bounded length that does not begin with a dot', () => {
    const bad = ['', '.', '..', '.bashrc', 'a/b', '/etc/passwd', '..\\x', 'a\0', 'a\nb', '\u202egpj.exe', '\ud800'];
    for (const name of [...bad, 'x'.repeat(121), '\u{1f600}'.repeat(60)])
      expect([name, isFileName(name)]).toEqual([name, false]);
    for (const name of ['a', 'notes (2).pdf', 'Überblick.md', '写真.jpg', '-rf']) {
      expect([name, isFileName(name)]).toEqual([name, true]);
    }
  });

  it('are made of whatever a stranger calls his file, near to it, and each once', () => {
    const cases: Record<string, string> = {
      '../../etc/passwd': 'passwd',
      'C:\\Users\\me\\photo.jpg': 'photo.jpg',
      '.bashrc': 'bashrc',
      '-rf': 'rf',
      '...': 'file',
      '': 'file',
      'a\nb.txt': 'a_b.txt',
    };
    for (const [wanted, name] of Object.entries(cases)) expect(safeFileName(wanted)).toBe(name);
    expect(safeFileName('a.txt', ['A.TXT', 'a (2).txt'])).toBe('a (3).txt');
    const long = safeFileName(`${'\u{1f600}'.repeat(300)}.jpeg`, []);
    expect(isFileName(long)).toBe(true);
    expect(long.endsWith('.jpeg')).toBe(true);
  });

  it('never put the files of two messages into one place, nor outside', () => {
    const ids = [
      'm1',
      'run-1/1',
      'run-1%2f1',
      '..',
      '.',
      '../x',
      'x'.repeat(300),
      `${'x'.repeat(299)}y`,
      'ü',
      '\u202ea',
    ];
    const places = ids.map((id) => messageFiles('/files', id));
    expect(new Set(places).size).toBe(ids.length);
    for (const place of places) expect(place).toMatch(/^\/files\/[^/.][^/]{0,254}$/);
    expect(messageFiles('/files', 'm1')).toBe('/files/m1');
  });

  it('are those that a backup takes, and that stand in a prompt as they are, whatever the id', () => {
    for (const id of [
      'm1',
      'a&b',
      '"<x>"',
      'é',
      'A b',
      ...[39, 40, 41, 66, 100, 119, 120, 121, 300].map((n) => '/'.repeat(n)),
    ]) {
      const name = basename(messageFiles('/files', id));
      expect([id, name, isFileName(name), /[<>&"]/.test(name)]).toEqual([id, name, true, false]);
    }
  });
});

async function* failing() {
  yield Buffer.from('half');
  throw new Error('the connection broke');
}

describe('files for the agent', () => {
  it('are stored under safe names, and storing them again changes nothing', async () => {
    const files = [
      { name: '../a.txt', bytes: [Buffer.from('one'), Buffer.from(' two')] },
      { name: 'a.txt', bytes: [Buffer.from('three')] },
    ];
    for (let i = 0; i < 2; i++) {
      expect(await storeAttachments(folder, 'm1', files)).toMatchObject([
        { type: 'stored', name: 'a.txt', bytes: 7 },
        { type: 'stored', name: 'a (2).txt', bytes: 5 },
      ]);
    }
    const place = messageFiles(folder.inbound.files, 'm1');
    expect(readdirSync(place).toSorted()).toEqual(['a (2).txt', 'a.txt']);
    expect(readFileSync(join(place, 'a.txt'), 'utf8')).toBe('one two');
    await removeStoredAttachments(folder, 'm1');
    await removeStoredAttachments(folder, 'm1');
    expect(existsSync(place)).toBe(false);
  });

  it('are refused one by one when they are too many or too big, without reading on, and leave nothing behind', async () => {
    let read = 0;
    function* endless() {
      for (;;) {
        read += 1;
        yield Buffer.alloc(10);
      }
    }
    const limits = { countMax: 2, bytesMax: 100, bytesTotalMax: 120 };
    const files = [
      { name: 'endless', bytes: endless() },
      { name: 'a', bytes: [Buffer.alloc(90)] },
      { name: 'b', bytes: [Buffer.alloc(90)] },
      { name: 'c', bytes: [Buffer.alloc(30)] },
      { name: 'd', bytes: [Buffer.alloc(1)] },
    ];
    const results = await storeAttachments(folder, 'm1', files, limits);
    expect(results.map((result) => result.type)).toEqual(['refused', 'stored', 'refused', 'stored', 'refused']);
    expect(read).toBe(11);
    expect(readdirSync(messageFiles(folder.inbound.files, 'm1')).toSorted()).toEqual(['a', 'c']);
  });

  it('leave nothing behind when their source fails', async () => {
    await expect(storeAttachments(folder, 'm1', [{ name: 'a', bytes: failing() }])).rejects.toThrow('connection broke');
    expect(readdirSync(messageFiles(folder.inbound.files, 'm1'))).toEqual([]);
  });
});

describe('files from the agent (FAILURES 45, 47, 50)', () => {
  it('are copied into the spool, and stay as they were copied whatever the container does then', () => {
    writeFileSync(join(outgoing, 'a.txt'), 'first');
    const [first] = spool(['a.txt']);
    expect(first).toMatchObject({ type: 'stored', name: 'a.txt', bytes: 5 });
    writeFileSync(join(outgoing, 'a.txt'), 'second version');
    expect(spool(['a.txt'])).toEqual([first]);
    expect(first?.type === 'stored' && readFileSync(first.path, 'utf8')).toBe('first');
  });

  it('are the bytes of the file, big ones and empty ones too', () => {
    const big = Buffer.alloc(700_001, 'abc');
    writeFileSync(join(outgoing, 'big'), big);
    writeFileSync(join(outgoing, 'empty'), '');
    const results = spool(['big', 'empty']);
    expect(results.map((result) => result.type === 'stored' && readFileSync(result.path))).toEqual([
      big,
      Buffer.alloc(0),
    ]);
  });

  const inPlaceOfTheFile: Record<string, (path: string) => void> = {
    'a link to a host file': (path) => symlinkSync(secret(), path),
    'a relative link': (path) => symlinkSync('../../../host/secret', path),
    'a dangling link': (path) => symlinkSync('nowhere', path),
    'a link to a device': (path) => symlinkSync('/dev/zero', path),
    'a link to itself': (path) => symlinkSync('a', path),
    'a hard link to a host file': (path) => linkSync(secret(), path),
    'a directory': (path) => mkdirSync(path),
    'a pipe': (path) => execFileSync('mkfifo', [path]),
    'a sparse giant': (path) => {
      writeFileSync(path, '');
      truncateSync(path, 2 ** 42);
    },
    'a file above the limit': (path) => writeFileSync(path, Buffer.alloc(1_001)),
    nothing: () => undefined,
  };
  for (const [name, put] of Object.entries(inPlaceOfTheFile)) {
    it(`are refused alone when ${name} lies in the place of one`, () => {
      secret();
      writeFileSync(join(outgoing, 'good'), 'good');
      put(join(outgoing, 'a'));
      const results = spool(['a', 'good'], { ...ATTACHMENT_LIMITS, bytesMax: 1_000 });
      expect(results).toMatchObject([
        { type: 'refused', name: 'a' },
        { type: 'stored', bytes: 4 },
      ]);
      expect(readdirSync(messageFiles(join(folder.host, 'spool'), 'r1'))).toEqual(['good']);
    });
  }

  for (const name of ['../../../host/secret', '/etc/passwd', '..', '.', '', 'a/b', 'a\0b', '.partial']) {
    it(`are refused when one is called ${JSON.stringify(name)}`, () => {
      secret();
      expect(spool([name])).toMatchObject([{ type: 'refused', name }]);
    });
  }

  it('are refused when a directory above them is a link', () => {
    const elsewhere = join(folder.host, 'elsewhere');
    mkdirSync(join(elsewhere, 'r1'), { recursive: true });
    writeFileSync(join(elsewhere, 'r1', 'a'), 'secret');
    rmSync(outgoing, { recursive: true });
    symlinkSync(join(elsewhere, 'r1'), outgoing);
    expect(spool(['a'])).toMatchObject([{ type: 'refused' }]);
    rmSync(folder.outbound.files, { recursive: true });
    symlinkSync(elsewhere, folder.outbound.files);
    expect(spool(['a'])).toMatchObject([{ type: 'refused' }]);
  });

  it('are refused where there are too many, or where they are too much together', () => {
    for (const name of ['a', 'b', 'c']) writeFileSync(join(outgoing, name), Buffer.alloc(40));
    expect(spool(['a', 'b', 'c'], { countMax: 2, bytesMax: 100, bytesTotalMax: 100 })).toMatchObject([
      { type: 'stored' },
      { type: 'stored' },
      { type: 'refused' },
    ]);
    removeAttachments(folder, 'r2');
    rmSync(join(folder.host, 'spool'), { recursive: true });
    expect(spool(['a', 'b', 'c'], { countMax: 9, bytesMax: 100, bytesTotalMax: 100 })).toMatchObject([
      { type: 'stored' },
      { type: 'stored' },
      { type: 'refused' },
    ]);
  });
});

describe('removing the files of a delivered message (FAILURES 47, 50)', () => {
  it('removes its files and the copies in the spool, and again does nothing', () => {
    writeFileSync(join(outgoing, 'a'), 'a');
    spool(['a']);
    expect(removeAttachments(folder, 'r1')).toBe('removed');
    expect(removeAttachments(folder, 'r1')).toBe('removed');
    expect(existsSync(outgoing)).toBe(false);
    expect(readdirSync(join(folder.host, 'spool'))).toEqual([]);
  });

  it('removes links and not what they point to', () => {
    const kept = secret();
    symlinkSync(kept, join(outgoing, 'link'));
    symlinkSync(folder.host, join(outgoing, 'directory'));
    linkSync(kept, join(outgoing, 'hard'));
    execFileSync('mkfifo', [join(outgoing, 'pipe')]);
    mkdirSync(join(outgoing, 'deep', 'deeper'), { recursive: true });
    symlinkSync(folder.host, join(outgoing, 'deep', 'deeper', 'directory'));
    expect(removeAttachments(folder, 'r1')).toBe('removed');
    expect(existsSync(outgoing)).toBe(false);
    expect(readFileSync(kept, 'utf8')).toBe('secret');
  });

  it('removes nothing through a link in place of a directory above', () => {
    const elsewhere = join(folder.host, 'elsewhere');
    mkdirSync(join(elsewhere, 'r1'), { recursive: true });
    const kept = join(elsewhere, 'r1', 'kept');
    writeFileSync(kept, 'kept');

    rmSync(outgoing, { recursive: true });
    symlinkSync(join(elsewhere, 'r1'), outgoing);
    expect(removeAttachments(folder, 'r1')).toBe('removed');
    expect(existsSync(kept)).toBe(true);

    rmSync(folder.outbound.files, { recursive: true });
    symlinkSync(elsewhere, folder.outbound.files);
    expect(removeAttachments(folder, 'r1')).toBe('removed');
    expect(existsSync(kept)).toBe(true);
  });

  it('removes nothing outside for an id that is a path', () => {
    const kept = secret();
    for (const id of ['..', '../../host', '.', '/', '']) removeAttachments(folder, id);
    expect(readFileSync(kept, 'utf8')).toBe('secret');
    expect(existsSync(outgoing)).toBe(true);
  });

  it('goes on with the next call where there is more than one call removes, however deep', () => {
    mkdirSync(join(outgoing, ...Array.from({ length: 100 }, () => 'd')), { recursive: true });
    const results = Array.from({ length: 8 }, () => removeAttachments(folder, 'r1'));
    expect(results[0]).toBe('unfinished');
    expect(results.at(-1)).toBe('removed');
    expect(existsSync(outgoing)).toBe(false);
  });
});
