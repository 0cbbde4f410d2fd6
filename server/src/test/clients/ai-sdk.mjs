import { createOpenAICompatible } from '@ai-sdk/openai-compatible';
import { generateText, stepCountIs, streamText, tool } from 'ai';
import { z } from 'zod';
import { base, callText, equal, key, model, thoughtText } from './check.mjs';

const provider = createOpenAICompatible({ name: 'millrace', baseURL: base + '/v1', apiKey: key });
const options = { model: provider(model), maxRetries: 0 };
const weather = tool({ description: 'Weather', inputSchema: z.object({ city: z.string() }), execute: async ({ city }) => `cold in ${city}` });

const { text, finishReason } = await generateText({ ...options, prompt: 'Hello.' });
equal([text, finishReason], ['Hello.', 'stop'], 'text');
let streamed = '';
for await (const piece of streamText({ ...options, prompt: 'Hello.' }).textStream) {
  streamed += piece;
}
equal(streamed, 'Hello.', 'text, streamed');
const thought = await generateText({ ...options, prompt: thoughtText });
equal([thought.reasoningText, thought.text], ['Hm.', 'Yes.'], 'reasoning');

const round = await generateText({ ...options, prompt: callText, tools: { weather }, stopWhen: stepCountIs(3) });
equal([round.steps[0].toolCalls[0].input, round.text.startsWith('So it is: ')], [{ city: 'Oslo' }, true], 'a round of call, result and answer');
const stream = streamText({ ...options, prompt: callText, tools: { weather }, stopWhen: stepCountIs(3) });
equal([(await stream.steps)[0].toolCalls[0].input, (await stream.text).startsWith('So it is: ')], [{ city: 'Oslo' }, true], 'the same, streamed');
