/** Hears of answers that a worker has announced by NOTIFY. */
import { Client } from 'pg';

export class Answers {
  static async open(url) {
    const client = new Client(url);
    await client.connect();
    const answers = new Answers(client);
    client.on('notification', ({ payload }) => answers.heard(payload));
    await client.query('LISTEN answers');
    return answers;
  }

  constructor(client) {
    this.client = client;
    this.count = 0;
    this.waiting = new Map();
  }

  next() {
    this.count += 1;
    const id = `${this.count}`;
    return { id, answered: new Promise((resolve) => this.waiting.set(id, resolve)) };
  }

  heard(id) {
    this.waiting.get(id)?.();
    this.waiting.delete(id);
  }

  close() {
    return this.client.end();
  }
}
