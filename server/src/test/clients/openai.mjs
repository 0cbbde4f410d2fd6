import OpenAI from 'openai';
import { base, callText, equal, key, model } from './check.mjs';

const client = new OpenAI({ baseURL: base + '/v1', apiKey: key, maxRetries: 0 });
const tools = [{ type: 'function', function: { name: 'weather', parameters: { type: 'object', properties: { city: { type: 'string' } } } } }];
const hello = [{ role: 'user', content: 'Hello.' }];

const answer = await client.chat.completions.create({ model, messages: hello });
equal([answer.choices[0].message.content, answer.choices[0].finish_reason], ['Hello.', 'stop'], 'chat');

let text = '';
for await (const chunk of await client.chat.completions.create({ model, messages: hello, stream: true })) {
  text += chunk.choices[0]?.delta.content ?? '';
}
equal(text, 'Hello.', 'chat, streamed');

const streamed = await client.chat.completions.stream({ model, messages: [{ role: 'user', content: callText }], tools }).finalChatCompletion();
equal(streamed.choices[0].message.tool_calls.map((c) => [c.function.name, c.function.arguments]), [['weather', '{"city":"Oslo"}']], 'tool call, streamed');

const runner = client.chat.completions.runTools({
  model, messages: [{ role: 'user', content: callText }],
  tools: [{ type: 'function', function: { name: 'weather', parameters: { type: 'object' }, parse: JSON.parse, function: ({ city }) => `cold in ${city}` } }],
});
equal(await runner.finalContent(), 'So it is: cold in Oslo', 'a round of call, result and answer');

const response = await client.responses.create({ model, input: 'Hello.' });
equal([response.output_text, response.status], ['Hello.', 'completed'], 'responses');
let grown = '';
for await (const event of await client.responses.create({ model, input: 'Hello.', stream: true })) {
  grown += event.type === 'response.output_text.delta' ? event.delta : '';
}
equal(grown, 'Hello.', 'responses, streamed');

const refused = await client.chat.completions.create({ model, messages: hello, temperature: -1 }).catch((e) => e);
equal([refused.constructor.name, refused.status, refused.param], ['BadRequestError', 400, 'temperature'], 'a refusal');
