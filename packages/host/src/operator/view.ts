/** How a command's result is shown to a person. Only the declaration is here; `render.ts` draws it. */

/** The shape that a result is drawn in. The data itself is what `--json` prints. */
export type View =
  /** One line per element of a list. */
  | { readonly type: 'table'; readonly columns: readonly Column[]; readonly empty: string }
  /** One line per field of an object; the lists among them that are named in `tables` as tables. */
  | { readonly type: 'record'; readonly tables?: Readonly<Record<string, readonly Column[]>> }
  /** The field `message` of an object: a sentence that says what was done. */
  | { readonly type: 'message' }
  /** Several fields of an object, one below the other, each under a heading. */
  | { readonly type: 'sections'; readonly sections: readonly Section[] };

/** One field of an object in a view of its own. */
export interface Section {
  /** The field of the object. */
  readonly key: string;
  /** The line above it. */
  readonly heading: string;
  /** How the field is shown. */
  readonly view: View;
}

/** One column of a table. */
export interface Column {
  /** The heading of the column. */
  readonly title: string;
  /** The field of the row, with dots for fields within. */
  readonly key: string;
  /** `text` when left out. An `id` is cut to what distinguishes it within its column, and may be typed like that. */
  readonly as?: 'text' | 'id' | 'time';
}

/** Declares a column of a table. */
export function column(title: string, key: string, as?: Column['as']): Column {
  return as === undefined ? { title, key } : { title, key, as };
}
