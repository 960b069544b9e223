/**
 * Text, which has one owner: cutting, hidden marks, blocks of code, names, choices, lines of a protocol, time zones. For every package that shows, stores or
 * passes on what people, models and programs write. Opens nothing and keeps nothing.
 */
export { Blocks, type Container, type Fence, type Reopening, reopening } from './blocks.ts';
export { type ChoiceLimits, choicesProblem } from './choices.ts';
export { beginning, characterEnd, cut, ending, endWithin, type TextLimit, type TextUnit, textLength } from './cut.ts';
export { escapeHidden, hasHidden, oneLine } from './hidden.ts';
export { BrokenLine, lines } from './lines.ts';
export { type CodeRange, codeRanges, type TextRange } from './markdown.ts';
export { isName, isTitle, type NameOf, namePattern, nameProblem } from './names.ts';
export { isZone, machineZone, zoneProblem } from './zone.ts';
