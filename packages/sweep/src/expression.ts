/**
 * How it is written when a series runs: as cron of five fields, or as an interval, `every 90 minutes`. What would silently
 * mean something else than it says is refused with the right way to write it. Pure.
 */
import type { Millis } from '@nanoclaw/session-db';
import { cut } from '@nanoclaw/session-db/text';

/** Every so many of a unit, from a beginning on, which is the first of them. */
export interface Interval {
  readonly count: number;
  readonly unit: Unit;
  /** `undefined`: not said. */
  readonly from: Millis | undefined;
}

type Unit = 'minute' | 'hour' | 'day' | 'week';

/** An interval as it is written; `undefined` for anything else, and for a beginning that is no date. */
export function intervalOf(expression: string): Interval | undefined {
  const [, count = '', unit = '', from] = INTERVAL.exec(expression.trim()) ?? [];
  const found = UNITS.find((one) => one === unit.toLowerCase());
  const begins = from === undefined ? undefined : Date.parse(from);
  if (found === undefined || Number(count) === 0 || Number.isNaN(begins)) return undefined;
  return { count: Number(count), unit: found, from: begins };
}

const INTERVAL = /^every (\d{1,7}) (minute|hour|day|week)s?(?: from (\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ))?$/i;
const UNITS: readonly Unit[] = ['minute', 'hour', 'day', 'week'];

/**
 * The expression as it is kept: an interval that does not say where it begins does so at `at`, to the second; `anew`, also
 * one that does.
 */
export function withBeginning(expression: string, at: Millis, anew: boolean): string {
  const interval = intervalOf(expression);
  if (interval === undefined || (interval.from !== undefined && !anew)) return expression;
  const from = new Date(Math.floor(at / 1000) * 1000).toISOString().replace('.000', '');
  return `every ${interval.count} ${interval.unit}${interval.count === 1 ? '' : 's'} from ${from}`;
}

/** What is wrong with an expression, as one sentence for the agent or the operator that wrote it; `undefined`: nothing found. */
export function expressionProblem(expression: string, lengthMax: number): string | undefined {
  if (expression.length > lengthMax) return `A recurrence of ${expression.length} characters is too long. ${HOW}`;
  if (/^(every\b|P[\dT]|R\d*\/)/i.test(expression.trim())) return intervalProblem(expression);
  const fields = expression.trim().split(/\s+/);
  const [nickname = ''] = fields;
  if (nickname.startsWith('@')) {
    const meant = NICKNAMES[nickname.toLowerCase()];
    return `${quoted(expression)} is a nickname, and cron needs 5 fields here. ${meant === undefined ? HOW : `Nothing was changed; write ${meant}.`}`;
  }
  if (fields.length !== FIELDS.length || nickname === '') {
    const count = nickname === '' ? 0 : fields.length;
    const seconds = count === 6 ? ', because there are no seconds' : '';
    return `${quoted(expression)} has ${count} fields and needs 5${seconds}. ${HOW}`;
  }
  for (const [index, field] of FIELDS.entries()) {
    for (const item of (fields[index] ?? '').split(',')) {
      const problem = itemProblem(item, field);
      if (problem !== undefined) return `${quoted(expression)} cannot be read as cron: ${problem}`;
    }
  }
  return undefined;
}

const HOW =
  'Nothing was changed; write five fields (minute hour day month weekday), such as 0 9 * * 1-5, or an interval, such as every 90 minutes.';

function intervalProblem(expression: string): string | undefined {
  if (intervalOf(expression) !== undefined) return undefined;
  return (
    `${quoted(expression)} is not an interval. Nothing was changed; write a number from 1 and its unit, such as ` +
    'every 90 minutes, every 36 hours, every 10 days or every 2 weeks, and months as cron.'
  );
}

const NICKNAMES: Readonly<Record<string, string>> = {
  '@hourly': '0 * * * *',
  '@daily': '0 0 * * *',
  '@midnight': '0 0 * * *',
  '@weekly': '0 0 * * 0',
  '@monthly': '0 0 1 * *',
  '@yearly': '0 0 1 1 *',
  '@annually': '0 0 1 1 *',
};

interface CronField {
  readonly name: string;
  readonly least: number;
  readonly most: number;
  /** From the least on. */
  readonly names: readonly string[];
  /** What a step counts, where an interval can say it instead. */
  readonly unit: Unit | undefined;
  /** How often a step that is too large comes after all. */
  readonly comes: string;
  /** Matches what is special to it, which is read by the one that does the arithmetic. */
  readonly special: RegExp;
}

const NEVER = /^(?!)/;
const MONTHS = ['JAN', 'FEB', 'MAR', 'APR', 'MAY', 'JUN', 'JUL', 'AUG', 'SEP', 'OCT', 'NOV', 'DEC'] as const;
const DAYS = ['SUN', 'MON', 'TUE', 'WED', 'THU', 'FRI', 'SAT'] as const;

const FIELDS: readonly CronField[] = [
  { name: 'minute', least: 0, most: 59, names: [], unit: 'minute', comes: 'once an hour', special: NEVER },
  { name: 'hour', least: 0, most: 23, names: [], unit: 'hour', comes: 'once a day', special: NEVER },
  { name: 'day', least: 1, most: 31, names: [], unit: 'day', comes: 'once a month', special: /^(?:L|\?)$/i },
  { name: 'month', least: 1, most: 12, names: MONTHS, unit: undefined, comes: 'once a year', special: NEVER },
  {
    name: 'weekday',
    least: 0,
    most: 7,
    names: DAYS,
    unit: 'day',
    comes: 'once a week',
    special: /^(?:\?|[0-7]L|(?:[0-7]|[A-Z]{3})#[1-5])$/i,
  },
];

function itemProblem(item: string, field: CronField): string | undefined {
  if (field.special.test(item)) return undefined;
  const [, first = '', last, step] = /^(\*|[A-Z]+|\d+)(?:-([A-Z]+|\d+))?(?:\/(\d+))?$/i.exec(item) ?? [];
  if (first === '' || (first === '*' && last !== undefined)) {
    return `${quoted(item)} is not a cron field for its ${field.name}. ${HOW}`;
  }
  for (const value of [first, last]) {
    if (value !== undefined && value !== '*' && valueOf(value, field) === undefined) {
      return `${quoted(value)} is not a cron field for its ${field.name}, which is from ${field.least} to ${field.most}. ${HOW}`;
    }
  }
  const from = first === '*' ? field.least : (valueOf(first, field) ?? 0);
  const to =
    first === '*' || last === undefined ? (step === undefined ? from : field.most) : (valueOf(last, field) ?? 0);
  if (to < from) {
    const meant = `${from}-${field.name === 'weekday' ? 6 : field.most},${field.least}-${to}`;
    return `the range ${quoted(item)} runs backwards. Nothing was changed; write ${meant}.`;
  }
  return step === undefined ? undefined : stepProblem(item, Number(step), to - from, field);
}

function stepProblem(item: string, step: number, span: number, { name, unit, comes }: CronField): string | undefined {
  if (step === 0) return `a step of 0 in ${quoted(item)} goes nowhere. ${HOW}`;
  if (step <= span) return undefined;
  const instead =
    unit === undefined ? 'name the months, such as 1,7' : `for that distance write every ${step} ${unit}s`;
  return `${quoted(item)} has a step beyond its ${name}s, so that it would come ${comes}. Nothing was changed; ${instead}.`;
}

/** A number or a name as the number of its field; `undefined` for what it does not have. */
function valueOf(text: string, { least, most, names }: CronField): number | undefined {
  const name = names.indexOf(text.toUpperCase());
  const value = name === -1 ? (/^\d{1,2}$/.test(text) ? Number(text) : -1) : least + name;
  return value >= least && value <= most ? value : undefined;
}

function quoted(text: string): string {
  return JSON.stringify(cut(text, 60));
}
