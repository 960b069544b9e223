/**
 * What the host counts and shows to whoever watches it: counters that the host raises as things happen, and gauges that
 * it is asked for when somebody looks. Never a text of a message, and no label that a stranger could add values to.
 *
 * Each host has its own provider, so that two in one process do not count into one another.
 */
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Attributes, Counter } from '@opentelemetry/api';
import { PrometheusExporter } from '@opentelemetry/exporter-prometheus';
import { MeterProvider } from '@opentelemetry/sdk-metrics';

/** The counters: what each counts, and what it is told apart by. */
const COUNTERS = {
  messages_accepted: { help: 'Messages of people written down for an agent.', label: 'channel' },
  messages_dropped: { help: 'Messages of people that concern no agent.', label: 'reason' },
  runs_started: { help: 'Runs that the runtime has started.', label: undefined },
  wake_failures: { help: 'Runs that could not be started.', label: undefined },
  kills: { help: 'Runs that were stopped, by why.', label: 'reason' },
  attempts_failed: { help: 'Attempts at a message that failed, by what became of it.', label: 'to' },
  deliveries: { help: 'Attempts to deliver, by outcome.', label: 'outcome' },
  quarantines: { help: "Looks at a container's file that found it unreadable, by finding.", label: 'finding' },
  rows_refused: { help: 'Rows of a container that no honest runner writes.', label: 'table' },
  findings: { help: 'What of an agent was stopped, by its name.', label: 'finding' },
  uncaught_errors: { help: 'Errors that nothing caught, by whose they are.', label: 'origin' },
  notices: { help: 'Notices of the host to a chat, by outcome.', label: 'outcome' },
} as const satisfies Record<string, { readonly help: string; readonly label: string | undefined }>;

/** The name of a counter, without `nanoclaw_`. */
export type CounterName = keyof typeof COUNTERS;

/** Raises counters. What the parts of the host are given; counting must never throw. */
export interface Counting {
  /** Raises a counter by one. `label` is the value of the counter's label, where it has one. */
  count(name: CounterName, label?: string): void;
}

/** What is so at the moment somebody looks. */
export interface Gauges {
  /** Sessions that the host looks after. */
  readonly sessions: number;
  /** Runs that are alive. */
  readonly runs: number;
  /** Sessions that wait for a place for their run. */
  readonly runsWaiting: number;
  /** Messages that are due, over all sessions. */
  readonly dueMessages: number;
  /** How long the oldest of them has been due, in milliseconds; 0 when none is. */
  readonly oldestDueMs: number;
  /** Models that are in the way, by provider and kind. */
  readonly modelTroubles: readonly {
    /** As the configuration names it. */
    readonly provider: string;
    /** `refused`, `unavailable` or `silent`. */
    readonly kind: string;
    /** How many messages wait for it. */
    readonly messages: number;
  }[];
  /** By instance name. */
  readonly channels: readonly {
    /** The instance's name. */
    readonly instance: string;
    /** Whether its last word was that it is online. */
    readonly isOnline: boolean;
  }[];
}

/** How late the event loop was, in milliseconds, since the last look. */
export interface LoopDelay {
  /** The median. */
  readonly p50: number;
  /** What 99 of 100 were below. */
  readonly p99: number;
  /** The worst. */
  readonly max: number;
}

/** How many files a process has open, sockets and pipes among them, and may have. */
export interface OpenFiles {
  /** 0 where the system does not say. */
  readonly open: number;
  /** Infinite where the system does not say. */
  readonly max: number;
}

/** Where the gauges come from. */
export interface MetricsOptions {
  /** Asked at every look; must be cheap and must not throw. */
  readonly gauges: () => Gauges;
  /** Asked at every look, and begins anew with it. */
  readonly loopDelay: () => LoopDelay;
  /** Asked at every look. */
  readonly openFiles: () => OpenFiles;
}

/** The counters and gauges of one host. */
export class Metrics implements Counting, AsyncDisposable {
  readonly #provider: MeterProvider;
  readonly #exporter: PrometheusExporter;
  readonly #counters: ReadonlyMap<CounterName, Counter<Attributes>>;

  constructor() {
    this.#exporter = new PrometheusExporter({
      preventServerStart: true,
      withoutScopeInfo: true,
      withoutTargetInfo: true,
    });
    this.#provider = new MeterProvider({ readers: [this.#exporter] });
    const meter = this.#provider.getMeter('nanoclaw');
    this.#counters = new Map(
      counterNames().map((name) => [
        name,
        meter.createCounter(`nanoclaw_${name}`, { description: COUNTERS[name].help }),
      ]),
    );
  }

  /** Shows gauges as well, from now on. To be called once, when that which they are of is there. */
  watch(options: MetricsOptions): void {
    const meter = this.#provider.getMeter('nanoclaw');
    const gauge = (name: string, help: string) =>
      meter.createObservableGauge(`nanoclaw_${name}`, { description: help });
    const sessions = gauge('sessions', 'Sessions that this host knows.');
    const runs = gauge('runs', 'Runs that are alive.');
    const waiting = gauge('runs_waiting', 'Sessions whose run waits for a place.');
    const due = gauge('due_messages', 'Messages that are due and not answered yet.');
    const oldest = gauge('oldest_due_seconds', 'How long the oldest of them has been due.');
    const model = gauge(
      'model_waiting_messages',
      'Messages that wait for a model that is in the way, by provider and kind.',
    );
    const online = gauge('channel_online', 'Whether a channel is connected (1 or 0).');
    const open = gauge('open_files', 'Files that this process has open, sockets and pipes among them.');
    const openMax = gauge('open_files_max', 'Files that this process may have open.');
    const delay = gauge('event_loop_delay_seconds', 'How late the event loop was since the last look.');
    meter.addBatchObservableCallback(
      (result) => {
        const now = options.gauges();
        result.observe(sessions, now.sessions);
        result.observe(runs, now.runs);
        result.observe(waiting, now.runsWaiting);
        result.observe(due, now.dueMessages);
        result.observe(oldest, now.oldestDueMs / 1_000);
        for (const { provider, kind, messages } of now.modelTroubles) {
          result.observe(model, messages, { provider, kind });
        }
        for (const { instance, isOnline } of now.channels) {
          result.observe(online, isOnline ? 1 : 0, { channel: instance });
        }
        const files = options.openFiles();
        result.observe(open, files.open);
        result.observe(openMax, files.max);
        const { p50, p99, max } = options.loopDelay();
        for (const [quantile, ms] of Object.entries({ '0.5': p50, '0.99': p99, '1': max })) {
          result.observe(delay, ms / 1_000, { quantile });
        }
      },
      [sessions, runs, waiting, due, oldest, model, online, open, openMax, delay],
    );
  }

  count(name: CounterName, label?: string): void {
    const key = COUNTERS[name].label;
    this.#counters.get(name)?.add(1, key === undefined || label === undefined ? {} : { [key]: label });
  }

  /** Answers a request with everything, in the text format of Prometheus. */
  answer(request: IncomingMessage, response: ServerResponse): void {
    this.#exporter.getMetricsRequestHandler(request, response);
  }

  /** Stops counting. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#provider.shutdown();
  }
}

function counterNames(): CounterName[] {
  return Object.keys(COUNTERS).filter((name): name is CounterName => name in COUNTERS);
}
