/** Which agent a run is, as its turns need to know. */
import type { Effort, McpServer, Skill } from './provider.ts';

/** The agent that this run is. */
export interface AgentOptions {
  readonly assistantName: string;
  /** IANA name: the zone of all times that the model sees and writes. */
  readonly timeZone: string;
  /** The agent's own folder. */
  readonly cwd: string;
  readonly model: string | undefined;
  /** The provider's own default when left out. */
  readonly effort?: Effort | undefined;
  /** None when left out. */
  readonly mcpServers?: Readonly<Record<string, McpServer>>;
  /** None when left out. */
  readonly skills?: readonly Skill[];
}
