/** Where the sessions of a wiring may write to: who can be heard in a chat decides how far what is said there may carry. Pure. */
import { admission } from './access.ts';
import type { MessagingGroupSettings, WiringSettings } from './entities.ts';

/** What a wiring comes to, once its default is decided. */
export type EffectiveReach = Exclude<WiringSettings['reach'], 'default'>;

/** By default a chat in which strangers are heard is spoken to alone, and any other reaches all destinations of its agent. */
export function reachOf(
  { reach, senderScope }: Pick<WiringSettings, 'reach' | 'senderScope'>,
  { strangers }: Pick<MessagingGroupSettings, 'strangers'>,
): EffectiveReach {
  if (reach !== 'default') return reach;
  return admission('stranger', strangers, senderScope) === 'admit' ? 'own-chat' : 'all-destinations';
}
