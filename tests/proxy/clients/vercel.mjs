// The Vercel AI SDK asks a server that speaks as OpenAI does: node vercel.mjs URL KEY MODEL CLIENT SCENARIO
// One line of JSON on standard output tells what came of it.
import { createOpenAI } from "@ai-sdk/openai";
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { Output, generateObject, generateText, stepCountIs, streamObject, streamText, tool } from "ai";
import { z } from "zod";

const [url, apiKey, name, client, scenario] = process.argv.slice(2);
const providers = {
  "openai": () => createOpenAI({ baseURL: url, apiKey }).chat(name),
  "openai-compatible": () =>
    createOpenAICompatible({ name: "rxllm", baseURL: url, apiKey, includeUsage: true, supportsStructuredOutputs: true })(name),
};
const prompt = "What is the weather in Paris?";
const schema = z.object({ name: z.string(), population: z.number().int(), rivers: z.array(z.string()) });
const tools = {
  weather: tool({
    description: "The weather of a city",
    inputSchema: z.object({ city: z.string() }),
    execute: async ({ city }) => `It rains cats and dogs, in ${city} too.`,
  }),
};
const asked = { model: providers[client](), prompt, maxRetries: 0, onError: () => {} };

const toldOf = (error) => ({
  kind: error?.name ?? typeof error,
  message: error?.message ?? JSON.stringify(error),
  status: error?.statusCode,
});

async function parts(result) {
  const found = { text: "", pieces: 0, errors: [], ended: [] };
  for await (const part of result.fullStream) {
    if (part.type === "text-delta") {
      found.text += part.text;
      found.pieces += 1;
    } else if (part.type === "error") {
      found.errors.push(toldOf(part.error));
    } else if (part.type === "finish") {
      found.ended.push(part.finishReason);
    }
  }
  return found;
}

const toldOfSteps = (steps) =>
  steps.map(({ finishReason, toolCalls, toolResults, text }) => ({
    finishReason,
    calls: toolCalls.map(({ toolName, input }) => [toolName, input]),
    results: toolResults.map(({ output }) => output),
    text,
  }));

const scenarios = {
  async streamText() {
    const result = streamText(asked);
    return { ...(await parts(result)), usage: await result.usage };
  },
  async generateText() {
    const { text, finishReason, usage } = await generateText(asked);
    return { text, finishReason, usage };
  },
  async streamedTools() {
    const result = streamText({ ...asked, tools, stopWhen: stepCountIs(3) });
    await result.consumeStream();
    return { steps: toldOfSteps(await result.steps) };
  },
  async tools() {
    const { steps } = await generateText({ ...asked, tools, stopWhen: stepCountIs(3) });
    return { steps: toldOfSteps(steps) };
  },
  async generateObject() {
    return { object: (await generateObject({ ...asked, schema })).object };
  },
  async streamObject() {
    const result = streamObject({ ...asked, schema });
    let partial = 0;
    for await (const _ of result.partialObjectStream) partial += 1;
    return { object: await result.object, partial };
  },
  async outputObject() {
    return { object: (await generateText({ ...asked, output: Output.object({ schema }) })).output };
  },
  async streamedOutputObject() {
    const result = streamText({ ...asked, output: Output.object({ schema }) });
    let partial = 0;
    for await (const _ of result.partialOutputStream) partial += 1;
    return { object: await result.output, partial };
  },
  async error() {
    return await parts(streamText(asked));
  },
  async abort() {
    const leaving = new AbortController();
    const result = streamText({ ...asked, abortSignal: leaving.signal });
    const seen = [];
    for await (const part of result.fullStream) {
      seen.push(part.type);
      if (part.type === "text-delta") leaving.abort();
    }
    return { seen };
  },
};

let told;
try {
  told = await scenarios[scenario]();
} catch (error) {
  told = { thrown: toldOf(error) };
}
console.log(JSON.stringify(told));
