import { describe, expect, it } from 'vitest';
import { classifyCommand } from '../src/inbound/commands.ts';

describe('the command gate (failure 33)', () => {
  it.each([
    ['/stop', false, { type: 'command', text: '/stop', isForAdmins: false }],
    [' /clear ', true, { type: 'command', text: '/clear', isForAdmins: true }],
    ['/clear', false, { type: 'refused', answer: '/clear is for admins of this agent; nothing was changed.' }],
    ['/help', true, { type: 'filtered' }],
    ['/login', false, { type: 'filtered' }],
  ])('%j gated by an admin (%j) is %j', (text, isAdmin, expected) => {
    expect(classifyCommand(text, isAdmin)).toEqual(expected);
  });

  it.each(['/clear@bot', '/clearx', '/clear now', 'clear', '/Clear', 'please /clear', '/'])(
    'takes %j for chat, because only exact words are commands',
    (text) => {
      expect(classifyCommand(text, true)).toEqual({ type: 'chat' });
      expect(classifyCommand(text, false)).toEqual({ type: 'chat' });
    },
  );
});
