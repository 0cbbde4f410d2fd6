import Anthropic from '@anthropic-ai/sdk';
import { base, callText, equal, key, model, thoughtText } from './check.mjs';

const client = new Anthropic({ baseURL: base, apiKey: key, maxRetries: 0 });
const ask = (content, more) => ({ model, max_tokens: 120, messages: [{ role: 'user', content }], ...more });
const tools = [{ name: 'weather', input_schema: { type: 'object', properties: { city: { type: 'string' } } } }];

const message = await client.messages.create(ask('Hello.'));
equal([message.content[0].text, message.stop_reason], ['Hello.', 'end_turn'], 'message');
equal((await client.messages.create(ask(thoughtText))).content.map((b) => b.type), ['thinking', 'text'], 'thoughts');
equal(await client.messages.stream(ask('Hello.')).finalText(), 'Hello.', 'message, streamed');

const call = await client.messages.stream(ask(callText, { tools })).finalMessage();
equal([call.stop_reason, call.content[1].name, call.content[1].input], ['tool_use', 'weather', { city: 'Oslo' }], 'tool use, streamed');
const after = await client.messages.create({
  model, max_tokens: 120, tools,
  messages: [{ role: 'user', content: 'Weather?' }, { role: 'assistant', content: call.content },
    { role: 'user', content: [{ type: 'tool_result', tool_use_id: call.content[1].id, content: 'cold' }] }],
});
equal(after.content[0].text, 'So it is: cold', 'the answer after a result');
equal((await client.messages.countTokens({ model, messages: [{ role: 'user', content: 'Hello.' }] })).input_tokens, 23, 'counting');

const refused = await client.messages.create({ ...ask('x'), model: 'none' }).catch((e) => e);
equal([refused.constructor.name, refused.status], ['NotFoundError', 404], 'a refusal');
