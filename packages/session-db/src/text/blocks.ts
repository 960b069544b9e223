/**
 * Blocks of code between fences, as CommonMark has them, read line by line: with the quotes and lists around them, longer
 * fences around shorter ones, and what only looks like a fence. Blocks of HTML are not known. Pure; costs the line.
 */

/** A quote or an item of a list around a block. */
export type Container =
  | { readonly type: 'quote' }
  | {
      readonly type: 'item';
      /** How many columns its lines are indented by. */
      readonly width: number;
    };

/** A block of code that is open. */
export interface Fence {
  /** What it lies in, from the outside in. */
  readonly containers: readonly Container[];
  /** How many columns the fence itself is indented by, at most 3. */
  readonly indent: number;
  /** The fence itself: three or more backticks or tildes. */
  readonly marks: string;
  /** What follows it: mostly the name of a language. */
  readonly info: string;
}

/** Where a text stands at the end of the lines that were taken so far. */
export class Blocks {
  #containers: readonly Container[] = [];
  #fence: Fence | undefined;
  /** A paragraph goes on in the next line whatever its indentation, and without the marks of its quote. */
  #isParagraph = false;
  /** The last line was the mark of an item alone: a blank one behind it ends the item. */
  #isBareItem = false;

  /** The block of code that the next line is in, unless it closes it; `undefined`: none. */
  get fence(): Fence | undefined {
    return this.#fence;
  }

  /** The quotes and items that the next line may go on with, from the outside in. */
  get containers(): readonly Container[] {
    return this.#containers;
  }

  /** Takes the next line, without its end. Returns what it is to the code. */
  take(line: string): 'opens' | 'within' | 'closes' | 'beside' {
    const text = expanded(line);
    if (this.#isBareItem && isBlank(text)) this.#containers = this.#containers.slice(0, -1);
    this.#isBareItem = false;
    const { depth, rest } = this.#continued(text);
    const isWithin = depth === this.#containers.length;
    if (this.#fence !== undefined && isWithin) {
      if (!closes(rest, this.#fence)) return 'within';
      this.#fence = undefined;
      return 'closes';
    }
    // What the block lies in has ended, and the block with it.
    this.#fence = undefined;
    return this.#begun(rest, depth, isWithin);
  }

  /** How many of the containers go on in a line, and what is left of it. */
  #continued(text: string): { readonly depth: number; readonly rest: string } {
    let rest = text;
    for (const [depth, container] of this.#containers.entries()) {
      if (container.type === 'quote') {
        const mark = QUOTE.exec(rest)?.[0];
        if (mark === undefined) return { depth, rest };
        rest = rest.slice(mark.length);
      } else if (!isBlank(rest)) {
        if (indentation(rest) < container.width) return { depth, rest };
        rest = rest.slice(container.width);
      }
    }
    return { depth: this.#containers.length, rest };
  }

  /** A line that no open block of code takes. */
  #begun(line: string, depth: number, isWithin: boolean): 'opens' | 'beside' {
    const interrupts = this.#isParagraph && isWithin;
    const { opened, rest } = openedIn(line, interrupts);
    const [, blanks = '', marks = '', after = ''] = FENCE.exec(rest) ?? [];
    // A backtick behind it makes it a span of code within a line.
    const opensFence = marks !== '' && !(marks.startsWith('`') && after.includes('`'));
    const isText = !opensFence && !isBlank(rest) && !HEADING.test(rest) && !RULE.test(rest);
    // A paragraph goes on beyond the marks of what it is in.
    if (this.#isParagraph && opened.length === 0 && isText) {
      this.#isParagraph = !(isWithin && UNDERLINE.test(rest));
      return 'beside';
    }
    this.#containers = [...this.#containers.slice(0, depth), ...opened];
    this.#isBareItem = opened.at(-1)?.type === 'item' && isBlank(rest);
    this.#isParagraph = isText && indentation(rest) < INDENTED_CODE;
    if (!opensFence) return 'beside';
    this.#fence = { containers: this.#containers, indent: blanks.length, marks, info: after.trim() };
    return 'opens';
  }
}

/** From this indentation on a line is code without a fence, and neither a fence nor a mark. */
const INDENTED_CODE = 4;

const QUOTE = /^ {0,3}> ?/;
const FENCE = /^( {0,3})(`{3,}|~{3,})(.*)$/s;
const HEADING = /^ {0,3}#{1,6}(?: |$)/;
const RULE = /^ {0,3}(?:(?:\* *){3,}|(?:- *){3,}|(?:_ *){3,})$/;
const UNDERLINE = /^ {0,3}(?:=+|-+) *$/;
const ITEM = /^( {0,3}(?:[-+*]|\d{1,9}[.)]))( *)/;

/** Deeper than this nothing is nested that was written for people. */
const CONTAINERS_MAX = 50;

/** The quotes and items that a line opens, and what stands in them. */
function openedIn(line: string, interrupts: boolean): { readonly opened: readonly Container[]; readonly rest: string } {
  const opened: Container[] = [];
  let rest = line;
  while (opened.length < CONTAINERS_MAX) {
    const quote = QUOTE.exec(rest)?.[0];
    if (quote !== undefined) {
      opened.push({ type: 'quote' });
      rest = rest.slice(quote.length);
      continue;
    }
    const [, mark, blanks = ''] = RULE.test(rest) ? [] : (ITEM.exec(rest) ?? []);
    if (mark === undefined) break;
    const content = rest.slice(mark.length + blanks.length);
    if (blanks === '' && content !== '') break;
    // Within a paragraph only a list that begins with 1 and says something is one.
    if (interrupts && opened.length === 0 && (content === '' || /\d/.test(mark.replace(/\b1\b/, '')))) break;
    const width = mark.length + (content === '' || blanks.length > INDENTED_CODE ? 1 : blanks.length);
    opened.push({ type: 'item', width });
    rest = rest.slice(Math.min(width, rest.length));
  }
  return { opened, rest };
}

function closes(line: string, { marks }: Fence): boolean {
  const [, , found = '', after = ''] = FENCE.exec(line) ?? [];
  return found.startsWith(marks) && isBlank(after);
}

function indentation(line: string): number {
  return /^ */.exec(line)?.[0].length ?? 0;
}

function isBlank(line: string): boolean {
  return /^[ \t]*$/.test(line);
}

/** The line with tabs as what they stand for at its beginning: the blanks up to the next fourth column. */
function expanded(line: string): string {
  const bare = line.endsWith('\r') ? line.slice(0, -1) : line;
  if (!bare.includes('\t')) return bare;
  return bare.replace(/^[ \t>+*\-\d.)]*/, (start) => {
    let text = '';
    for (const mark of start) text += mark === '\t' ? ' '.repeat(4 - (text.length % 4)) : mark;
    return text;
  });
}

/** How a block of code is closed at the end of one text and opened again at the beginning of the next. */
export interface Reopening {
  /** The line that opens it: with marks of lists where blanks alone would be too many to begin a line with. */
  readonly open: string;
  /** The line that closes it. */
  readonly close: string;
  /** What its lines begin with. */
  readonly prefix: string;
}

/** How an open block of code is closed and opened again. */
export function reopening({ containers, indent, marks, info }: Fence): Reopening {
  let open = '';
  let prefix = '';
  let columns = 0;
  for (const container of containers) {
    if (container.type === 'item') {
      columns += container.width;
    } else {
      open += `${columns < INDENTED_CODE ? ' '.repeat(columns) : itemMarks(columns)}> `;
      prefix += `${' '.repeat(columns)}> `;
      columns = 0;
    }
  }
  const isPlain = columns + indent < INDENTED_CODE;
  open += isPlain ? ' '.repeat(columns + indent) : itemMarks(columns);
  prefix += ' '.repeat(columns);
  return { open: `${open}${marks}${info}`, close: `${prefix}${marks}`, prefix };
}

/** Marks of lists within each other whose text begins in a column, from the second on. */
function itemMarks(columns: number): string {
  const nested = Math.max(0, Math.ceil((columns - 5) / 2));
  return `${'- '.repeat(nested)}-${' '.repeat(columns - 2 * nested - 1)}`;
}
