/**
 * The runner's tools as an MCP server inside this process: the model calls them, they run where the turn's state is.
 */
import type { McpSdkServerConfigWithInstance } from '@anthropic-ai/claude-agent-sdk';
import { McpServer } from '@modelcontextprotocol/sdk/server/mcp.js';
import { CallToolRequestSchema, type CallToolResult, ListToolsRequestSchema } from '@modelcontextprotocol/sdk/types.js';
import type { Tool } from '@nanoclaw/runner';

/** The server's name; the model sees a tool of ours as `mcp__nanoclaw__<name>`. */
export const TOOL_SERVER = 'nanoclaw';

/**
 * A server for these tools, for one turn. It hands out their JSON schemas as they are: the SDK's own helper wants
 * them as zod, and a schema converted twice is not the one that was written.
 */
export function toolServer(tools: readonly Tool[]): McpSdkServerConfigWithInstance {
  const mcp = new McpServer({ name: TOOL_SERVER, version: '1' }, { capabilities: { tools: {} } });
  mcp.server.setRequestHandler(ListToolsRequestSchema, () => ({
    tools: tools.map(({ name, description, inputSchema }) => ({
      name,
      description,
      inputSchema: { ...inputSchema, type: 'object' as const },
      // Without it the model is told of a tool only once it searches for it.
      _meta: { 'anthropic/alwaysLoad': true },
    })),
  }));
  mcp.server.setRequestHandler(CallToolRequestSchema, ({ params }) =>
    called(
      tools.find(({ name }) => name === params.name),
      params.arguments ?? {},
    ),
  );
  return { type: 'sdk', name: TOOL_SERVER, instance: mcp };
}

/** Runs a tool; whatever goes wrong is an answer to the model, who may do better, and not a failure of the turn. */
async function called(tool: Tool | undefined, input: Record<string, unknown>): Promise<CallToolResult> {
  if (tool === undefined) return { content: [{ type: 'text', text: 'There is no such tool.' }], isError: true };
  try {
    return { content: [{ type: 'text', text: await tool.call(input) }] };
  } catch (error) {
    return { content: [{ type: 'text', text: error instanceof Error ? error.message : String(error) }], isError: true };
  }
}
