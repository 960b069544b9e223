/** Line protocols: a line ends at `\n`, and at nothing else, because JSON writes every other end of a line as it is. */
import { TextDecoder } from 'node:util';

/** The other end sent more than a line may hold, or bytes that are not UTF-8. */
export class BrokenLine extends Error {
  override readonly name = 'BrokenLine';
}

/**
 * The lines of a stream, each of at most `bytesMax` bytes of UTF-8. Reads on only when the next line is asked for, so a slow
 * reader slows the writer down, and never holds more than one line and one chunk. Throws `BrokenLine`, and what the
 * stream throws. An unfinished last line is dropped: its writer died in the middle of it.
 */
export async function* lines(stream: AsyncIterable<Uint8Array>, bytesMax: number): AsyncGenerator<string, void> {
  const decoder = new TextDecoder('utf-8', { fatal: true });
  let parts: Uint8Array[] = [];
  let length = 0;
  for await (const chunk of stream) {
    let start = 0;
    for (let end = chunk.indexOf(0x0a); end !== -1; end = chunk.indexOf(0x0a, start)) {
      const line = Buffer.concat([...parts, chunk.subarray(start, end)]);
      if (line.length > bytesMax) throw tooLong(bytesMax);
      parts = [];
      length = 0;
      start = end + 1;
      yield decoded(decoder, line);
    }
    const rest = chunk.subarray(start);
    length += rest.length;
    if (length > bytesMax) throw tooLong(bytesMax);
    if (rest.length > 0) parts.push(rest);
  }
}

function decoded(decoder: TextDecoder, line: Buffer): string {
  try {
    return decoder.decode(line);
  } catch (error) {
    throw new BrokenLine('A line is not UTF-8.', { cause: error });
  }
}

function tooLong(bytesMax: number): BrokenLine {
  return new BrokenLine(`A line is longer than ${bytesMax} bytes.`);
}
