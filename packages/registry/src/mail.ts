/**
 * What agents have written to each other: the way back to the very session that asked, and the chain of cause by which
 * a conversation between agents is bounded.
 */

import { withReadableErrors } from './constraint-errors.ts';
import type { Millis, SessionId } from './entities.ts';
import type { Store } from './store.ts';
import type { MailRow } from './tables.ts';

/** One message from a session to another. */
export interface Mail {
  /** `<from session>/<outbound message>`: one for each message that was sent. */
  readonly id: string;
  readonly fromSessionId: SessionId;
  readonly toSessionId: SessionId;
  /** The message in the receiving session. */
  readonly inboundId: string;
  /** What started the chain: the message of a person, or of a series. */
  readonly root: string;
  /** The place in the chain; the first mail is 1. */
  readonly hop: number;
  readonly at: Millis;
}

/** The operations on mail; `registry.mail`. */
export class Mails {
  readonly #store: Store;

  constructor(store: Store) {
    this.#store = store;
  }

  /**
   * Writes down a mail, once for each id. `full`: the chain has `rootMax` mails, and this is not one of them. Throws
   * `missing` when one of the sessions does not exist, `conflict` when another mail is that message of the receiver.
   */
  async record(mail: Mail, limits: { readonly rootMax: number }): Promise<'recorded' | 'full'> {
    const inserted = await withReadableErrors(
      'the mail',
      {
        missing: 'One of the two sessions does not exist.',
        conflict: `The message ${mail.inboundId} of the receiving session is another mail already.`,
      },
      () =>
        this.#store.db
          .insertInto('mail')
          .columns(['id', 'from_session_id', 'to_session_id', 'inbound_id', 'root', 'hop', 'at'])
          .expression(({ selectFrom, cast, fn, lit }) =>
            // The casts are for PostgreSQL, which takes a parameter in a SELECT for a text.
            this.#store.db
              .selectNoFrom(({ val }) => [
                val(mail.id).as('id'),
                val(mail.fromSessionId).as('from_session_id'),
                val(mail.toSessionId).as('to_session_id'),
                val(mail.inboundId).as('inbound_id'),
                val(mail.root).as('root'),
                cast<number>(val(mail.hop), 'integer').as('hop'),
                cast<Millis>(val(mail.at), 'bigint').as('at'),
              ])
              .where(({ eb }) =>
                eb(
                  selectFrom('mail').select(fn.countAll<number>().as('sent')).where('root', '=', mail.root),
                  '<',
                  lit(limits.rootMax),
                ),
              ),
          )
          .onConflict((conflict) => conflict.column('id').doNothing())
          .returning('id')
          .executeTakeFirst(),
    );
    if (inserted !== undefined) return 'recorded';
    const known = await this.#store.db.selectFrom('mail').select('id').where('id', '=', mail.id).executeTakeFirst();
    return known === undefined ? 'full' : 'recorded';
  }

  /** The mail that a message of the receiving session is; `undefined` when it is none. */
  async to(toSessionId: SessionId, inboundId: string): Promise<Mail | undefined> {
    const row = await this.#store.db
      .selectFrom('mail')
      .selectAll()
      .where('to_session_id', '=', toSessionId)
      .where('inbound_id', '=', inboundId)
      .executeTakeFirst();
    return row && mailOf(row);
  }

  /** How many mails a chain has. */
  async count(root: string): Promise<number> {
    const { sent } = await this.#store.db
      .selectFrom('mail')
      .select(({ fn }) => fn.countAll().as('sent'))
      .where('root', '=', root)
      .executeTakeFirstOrThrow();
    return Number(sent);
  }

  /** The last mail that a session got; `undefined` when it never got one. */
  async latestTo(toSessionId: SessionId): Promise<Mail | undefined> {
    const row = await this.#store.db
      .selectFrom('mail')
      .selectAll()
      .where('to_session_id', '=', toSessionId)
      .orderBy('at', 'desc')
      .orderBy('id', 'desc')
      .limit(1)
      .executeTakeFirst();
    return row && mailOf(row);
  }
}

function mailOf(row: MailRow): Mail {
  return {
    id: row.id,
    fromSessionId: row.from_session_id,
    toSessionId: row.to_session_id,
    inboundId: row.inbound_id,
    root: row.root,
    hop: row.hop,
    at: row.at,
  };
}
