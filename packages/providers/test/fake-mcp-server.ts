/**
 * An MCP server with one tool, as a program on its standard input and output; it greets as its environment says. Like
 * many it takes its time to start: whoever does not wait for it asks the model without its tool.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { McpServer } from '@modelcontextprotocol/sdk/server/mcp.js';
import { StdioServerTransport } from '@modelcontextprotocol/sdk/server/stdio.js';
import { CallToolRequestSchema, ListToolsRequestSchema } from '@modelcontextprotocol/sdk/types.js';

const mcp = new McpServer({ name: 'greeter', version: '1' }, { capabilities: { tools: {} } });
mcp.server.setRequestHandler(ListToolsRequestSchema, () => ({
  tools: [
    {
      name: 'greet',
      description: 'Greets somebody.',
      inputSchema: { type: 'object' as const, properties: { name: { type: 'string' } }, required: ['name'] },
    },
  ],
}));
mcp.server.setRequestHandler(CallToolRequestSchema, ({ params }) => ({
  content: [{ type: 'text', text: `${process.env['GREETING']}, ${String(params.arguments?.['name'])}!` }],
}));
await sleep(500);
await mcp.connect(new StdioServerTransport());
