/**
 * Where the two engines differ: the words of the schema that SQLite and PostgreSQL spell in their own way. Everything
 * else in this package is the same text for both.
 */
import { type RawBuilder, sql } from 'kysely';

/** Which database the registry lives in. */
export type Engine = 'sqlite' | 'postgres';

/** The engine's own words, for migrations. */
export interface Dialect {
  /** The type of a column of milliseconds. */
  readonly time: 'integer' | 'bigint';
  /** What ends a `CREATE TABLE`. */
  readonly tableEnd: RawBuilder<unknown>;
  /** The type of a primary key that the database counts up and never gives out twice. */
  readonly countedKey: RawBuilder<unknown>;
  /** True of the shape that `isId` accepts. */
  isSafeName(column: string): RawBuilder<unknown>;
  /** True of 1–64 small letters, digits and dashes, beginning with a letter. */
  isInstanceName(column: string): RawBuilder<unknown>;
  /** What comes before the first colon of a text that has one. */
  beforeColon(column: string): RawBuilder<unknown>;
  /** True of JSON whose outermost value is of the type. */
  isJson(column: string, type: 'array' | 'object'): RawBuilder<unknown>;
  /** The number of elements of a JSON array. */
  lengthOfArray(column: string): RawBuilder<unknown>;
  /** Statements that make every `event` on the table fail with the name as its message, when `condition` is true of it. */
  refusing(refusal: Refusal): readonly RawBuilder<unknown>[];
}

/** A rule about a change, which no CHECK can say because it looks at the row before it, or at other rows. */
export interface Refusal {
  readonly name: string;
  readonly table: string;
  readonly event: 'UPDATE' | 'DELETE';
  /** SQL over `OLD`; evaluated while no other transaction changes the table. */
  readonly condition: string;
}

/** The words of an engine. */
export function dialectOf(engine: Engine): Dialect {
  return engine === 'sqlite' ? SQLITE : POSTGRES;
}

const SQLITE: Dialect = {
  time: 'integer', // up to eight bytes in SQLite
  tableEnd: sql`STRICT`,
  countedKey: sql`integer PRIMARY KEY AUTOINCREMENT`,
  // length() stops at a NUL character and GLOB does too; octet_length() does not, nor does the file system.
  isSafeName: (column) =>
    sql`octet_length(${sql.ref(column)}) BETWEEN 1 AND 64
        AND octet_length(${sql.ref(column)}) = length(${sql.ref(column)})
        AND ${sql.ref(column)} GLOB '[a-z0-9]*' AND ${sql.ref(column)} NOT GLOB '*[^a-z0-9_-]*'`,
  isInstanceName: (column) =>
    sql`octet_length(${sql.ref(column)}) BETWEEN 1 AND 64
        AND octet_length(${sql.ref(column)}) = length(${sql.ref(column)})
        AND ${sql.ref(column)} GLOB '[a-z]*' AND ${sql.ref(column)} NOT GLOB '*[^a-z0-9-]*'`,
  beforeColon: (column) => sql`substr(${sql.ref(column)}, 1, instr(${sql.ref(column)}, ':') - 1)`,
  // CASE, because json_type() of what is not JSON is an error and not a broken rule.
  isJson: (column, type) =>
    sql`CASE WHEN json_valid(${sql.ref(column)}) THEN json_type(${sql.ref(column)}) = ${sql.lit(type)} ELSE 0 END`,
  lengthOfArray: (column) => sql`json_array_length(${sql.ref(column)})`,
  refusing: ({ name, table, event, condition }) => [
    sql`CREATE TRIGGER ${sql.ref(`${name}_on_${event.toLowerCase()}`)} BEFORE ${sql.raw(event)} ON ${sql.ref(table)}
        WHEN ${sql.raw(condition)} BEGIN SELECT RAISE(ABORT, ${sql.lit(name)}); END`,
  ],
};

const POSTGRES: Dialect = {
  time: 'bigint', // an integer has four bytes there, milliseconds need six
  tableEnd: sql``,
  countedKey: sql`bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY`,
  isSafeName: (column) => sql`${sql.ref(column)} ~ '^[a-z0-9][a-z0-9_-]{0,63}$'`,
  isInstanceName: (column) => sql`${sql.ref(column)} ~ '^[a-z][a-z0-9-]{0,63}$'`,
  beforeColon: (column) => sql`split_part(${sql.ref(column)}, ':', 1)`,
  // Not jsonb, which has no place for the NUL characters that a text may have.
  isJson: (column, type) => sql`json_typeof(${sql.ref(column)}::json) = ${sql.lit(type)}`,
  lengthOfArray: (column) => sql`json_array_length(${sql.ref(column)}::json)`,
  // Two transactions do not see each other's deletions: the lock makes the second look again after the first is done.
  refusing: ({ name, table, event, condition }) => {
    const trigger = sql.ref(`${name}_on_${event.toLowerCase()}`);
    return [
      sql`CREATE FUNCTION ${trigger}() RETURNS trigger LANGUAGE plpgsql AS ${sql.raw(`$$ BEGIN
            PERFORM pg_advisory_xact_lock(hashtext('${name}'));
            IF ${condition} THEN RAISE EXCEPTION '${name}'; END IF;
            IF TG_OP = 'DELETE' THEN RETURN OLD; END IF;
            RETURN NEW;
          END $$`)}`,
      sql`CREATE TRIGGER ${trigger} BEFORE ${sql.raw(event)} ON ${sql.ref(table)}
          FOR EACH ROW EXECUTE FUNCTION ${trigger}()`,
    ];
  },
};
