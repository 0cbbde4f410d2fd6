import { ToolMessage } from '@langchain/core/messages';
import { tool } from '@langchain/core/tools';
import { ChatOpenAI } from '@langchain/openai';
import { z } from 'zod';
import { base, callText, equal, key, model } from './check.mjs';

const chat = new ChatOpenAI({ model, apiKey: key, maxRetries: 0, configuration: { baseURL: base + '/v1' } });
const weather = tool(async ({ city }) => `cold in ${city}`, { name: 'weather', description: 'Weather', schema: z.object({ city: z.string() }) });

equal((await chat.invoke('Hello.')).content, 'Hello.', 'text');
let streamed = '';
for await (const chunk of await chat.stream('Hello.')) {
  streamed += chunk.content;
}
equal(streamed, 'Hello.', 'text, streamed');

const withTools = chat.bindTools([weather]);
const call = await withTools.invoke(callText);
equal(call.tool_calls.map((c) => [c.name, c.args]), [['weather', { city: 'Oslo' }]], 'tool call');
const result = new ToolMessage({ tool_call_id: call.tool_calls[0].id, content: await weather.invoke(call.tool_calls[0].args) });
equal((await withTools.invoke([['user', callText], call, result])).content, 'So it is: cold in Oslo', 'the answer after a result');
let gathered;
for await (const chunk of await withTools.stream(callText)) {
  gathered = gathered ? gathered.concat(chunk) : chunk;
}
equal(gathered.tool_calls.map((c) => [c.name, c.args]), [['weather', { city: 'Oslo' }]], 'tool call, streamed');
