// What the sessions share: where the server is, what the model is told to say, and assertions that end the session.
export const base = process.env.BASE_URL;
export const key = process.env.API_KEY;
export const model = 'tiny';
/** The model says what the first user message says; this one is a call in the notation it was trained on. */
export const callText = 'Well. <tool_call>{"name":"weather","arguments":{"city":"Oslo"}}</tool_call>';
export const thoughtText = '<think>Hm.</think>Yes.';

export function equal(actual, expected, what) {
  const a = JSON.stringify(actual), e = JSON.stringify(expected);
  if (a !== e) {
    console.error(`${what}: got ${a}, expected ${e}`);
    process.exit(1);
  }
  console.log(`ok ${what}`);
}
