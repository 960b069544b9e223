/** The stop of a whole host: what a run says last still goes out, and no platform holds it up (failure 56). */
import type { Driver } from '@nanoclaw/containers';
import { HostSession } from '@nanoclaw/session-db';
import { openSqlite } from '@nanoclaw/session-db/node';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { AttackedHost, forge } from './attack-support.ts';
import { StandInDriver } from './stand-in-driver.ts';
import { echoing, until } from './whole-host.ts';

const HANGS = 'this one hangs';

let hosts: AttackedHost[];
beforeEach(() => {
  hosts = [];
});
afterEach(async () => {
  for (const host of hosts) await host.close();
});

/** A host with two chats in which somebody has been answered. A run for which `onLeave` throws does not leave. */
async function started(onLeave: () => void = () => undefined): Promise<AttackedHost> {
  const standIn = new StandInDriver(echoing('You said'), () => Date.now());
  const driver: Driver = {
    start: (spec) => standIn.start(spec),
    stop: async (id) => {
      onLeave();
      return standIn.stop(id);
    },
    list: () => standIn.list(),
    logs: () => standIn.logs(),
    close: () => standIn.close(),
  };
  const host = new AttackedHost({ settings: { drainMs: 200 }, options: { driver: () => driver } });
  hosts.push(host);
  await host.start();
  return host;
}

test('what a run says while it is stopped is delivered before the channels are', async () => {
  const lastWords = ['memory', 'chat-0', null] as const;
  const host: AttackedHost = await started(() => {
    const [session] = host.sessions();
    if (session !== undefined) forge(session, [{ address: lastWords, content: { text: 'my last words' } }]);
  });
  await host.whole.host.stop('stop-runs');
  expect(host.whole.platform.shown.map(({ message }) => 'text' in message && message.text)).toContain('my last words');
});

test('a platform that never answers does not keep the host from stopping, and the outcome is on disk as not known', async () => {
  const host = await started();
  const [session] = host.sessions();
  if (session === undefined) throw new Error('There is no session.');
  const accepted = () => {
    using view = HostSession.view(session, openSqlite);
    return view.cursor().messagesAfter;
  };
  const before = accepted();
  host.whole.platform.script({ type: 'hangs' });
  forge(session, [{ address: ['memory', 'chat-0', null], content: { text: HANGS } }]);
  const sent = () => {
    using view = HostSession.view(session, openSqlite);
    return view.deliveries.parts(view.cursor().messagesAfter)[0];
  };
  await until(() => accepted() > before && sent()?.attempts === 1);
  await host.whole.host.stop('leave-runs');
  expect(sent()).toMatchObject({ attempts: 1, platformMessageId: null });
  expect(sent()?.status).not.toBe('delivered');
});

test('a run that cannot be stopped goes on and is told; the others are stopped and the host ends', async () => {
  let stops = 0;
  const host = await started(() => {
    stops += 1;
    if (stops === 1) throw new Error('The engine is gone.');
  });
  await host.whole.host.stop('stop-runs');
  expect(stops).toBe(2);
  expect(host.log.filter((line) => line.includes('could not be stopped and goes on'))).toHaveLength(1);
});
