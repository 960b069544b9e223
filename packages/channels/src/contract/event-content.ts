// What came with an event, read to the end, so that two of them can be compared.
import type { ReceivedChoice, ReceivedEvent, ReceivedMessage } from '../channel.ts';

/** An event as plain data. */
export type Content =
  | ReceivedChoice
  | (Omit<ReceivedMessage, 'files'> & { files: { name: string; mediaType?: string; bytes: Buffer }[] });

/** Reads the files of an event, as a host does before its `receive` resolves. */
export async function contentOf(event: ReceivedEvent): Promise<Content> {
  if (event.kind === 'choice') return event;
  const files = [];
  for (const file of event.files) {
    const parts: Uint8Array[] = [];
    for await (const part of file.bytes()) parts.push(part);
    const { name, mediaType } = file;
    files.push({ name, ...(mediaType === undefined ? {} : { mediaType }), bytes: Buffer.concat(parts) });
  }
  return { ...event, files };
}
