/** What a broken constraint says to a person, in SQLite and in PostgreSQL. */
import { RegistryError, type RegistryErrorCode } from './errors.ts';
import { RULES } from './rules.ts';

/** Runs a statement; a broken constraint becomes a {@link RegistryError} that says which rule, and all else passes. */
export async function withReadableErrors<Result>(
  what: string,
  sentences: Partial<Record<RegistryErrorCode, string>>,
  statement: () => Promise<Result>,
): Promise<Result> {
  try {
    return await statement();
  } catch (error) {
    throw refusal(what, sentences, error) ?? error;
  }
}

/** `undefined`: the error is not a broken constraint. The codes are SQLite's and PostgreSQL's. */
function refusal(
  what: string,
  sentences: Partial<Record<RegistryErrorCode, string>>,
  error: unknown,
): RegistryError | undefined {
  if (!(error instanceof Error) || !('code' in error)) return undefined;
  const kept = `Nothing was changed in ${what}.`;
  switch (error.code) {
    case 'SQLITE_CONSTRAINT_UNIQUE':
    case 'SQLITE_CONSTRAINT_PRIMARYKEY':
    case '23505':
      return sentences.conflict === undefined
        ? undefined
        : new RegistryError('conflict', `${sentences.conflict} ${kept}`, { cause: error });
    case 'SQLITE_CONSTRAINT_FOREIGNKEY':
    case '23503': {
      const code = sentences['in-use'] === undefined ? 'missing' : 'in-use';
      return new RegistryError(code, `${sentences[code] ?? 'It refers to something that does not exist.'} ${kept}`, {
        cause: error,
      });
    }
    case 'SQLITE_CONSTRAINT_TRIGGER':
    case 'P0001':
      return new RegistryError('in-use', `${brokenRule(error)} ${kept}`, { cause: error });
    case 'SQLITE_CONSTRAINT_CHECK':
    case '23514':
    case 'SQLITE_CONSTRAINT_DATATYPE':
    case 'SQLITE_CONSTRAINT_NOTNULL':
    case '23502':
    // A value that its column cannot hold: of another type, too large, with a NUL character.
    case '22P02':
    case '22003':
    case '22021':
      return new RegistryError('invalid', `${brokenRule(error)} ${kept}`, { cause: error });
    default:
      return undefined;
  }
}

/** Both engines put the constraint's name into the message of a failed CHECK, and so do our triggers. */
function brokenRule(error: Error): string {
  const sentence = Object.entries(RULES).find(([name]) => new RegExp(`\\b${name}\\b`).test(error.message))?.[1];
  return sentence ?? `A value is not acceptable: ${error.message}.`;
}
