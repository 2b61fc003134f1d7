// Real SDKs through a real gateway: allowed, refused, blocked, truncated, failed; unary and streamed.
import { after, before, test } from 'node:test';
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { mkdtempSync, writeFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import net from 'node:net';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import OpenAI from 'openai';
import Anthropic from '@anthropic-ai/sdk';
import { Ollama } from 'ollama';
import { createOpenAICompatible } from '@ai-sdk/openai-compatible';
import { generateText, streamText } from 'ai';
import { pieces, start, term, toolArguments } from './upstream.mjs';

const dll = process.env.TRACEFED_DLL ?? fileURLToPath(new URL('../../src/TraceFed/bin/Release/net10.0/tracefed.dll', import.meta.url));
const plain = pieces.plain.join('');
const forbidden = /zanzibar|proto/;
let upstream, gateway, url, folder;

const freePort = () => new Promise((resolve) => {
  const probe = net.createServer().listen(0, '127.0.0.1', () => {
    const { port } = probe.address();
    probe.close(() => resolve(port));
  });
});

before(async () => {
  upstream = await start();
  folder = mkdtempSync(path.join(tmpdir(), 'tracefed-clients-'));
  const config = path.join(folder, 'gateway.yaml');
  writeFileSync(config, `safety: {terms: [{id: codeword, terms: ["${term}"], input: {action: block}, output: {action: block}}]}\n`);
  url = `http://127.0.0.1:${await freePort()}`;
  gateway = spawn('dotnet', [dll, 'gateway', '--upstream', upstream.url, '--listen', url, '--config', config], { stdio: ['ignore', 'pipe', 'pipe'] });
  let output = '';
  gateway.stdout.on('data', (data) => { output += data; });
  gateway.stderr.on('data', (data) => { output += data; });
  for (const deadline = Date.now() + 60_000; ;) {
    try {
      if ((await fetch(`${url}/healthz`)).ok) return;
    } catch {
      if (gateway.exitCode !== null || Date.now() > deadline) throw new Error(`the gateway did not start:\n${output}`);
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
  }
});

after(() => {
  gateway?.kill('SIGKILL');
  upstream?.close();
  if (folder) rmSync(folder, { recursive: true, force: true });
});

const ask = [{ role: 'user', content: 'When does the library open?' }];
const forbiddenAsk = [{ role: 'user', content: `Tell me about the ${term}.` }];
const openai = (base = url) => new OpenAI({ baseURL: `${base}/v1`, apiKey: 'none', maxRetries: 2 });
const anthropic = (base = url) => new Anthropic({ baseURL: base, apiKey: 'none', maxRetries: 2 });
const ollama = (base = url) => new Ollama({ host: base });
const vercel = (base = url) => createOpenAICompatible({ name: 'tracefed', baseURL: `${base}/v1`, apiKey: 'none' });

// Each client, reduced to: send these messages to this model; get text and why it ended.
const clients = {
  'openai unary': async (base, model, messages) => {
    const { choices: [choice] } = await openai(base).chat.completions.create({ model, messages });
    return { text: choice.message.content, reason: choice.finish_reason };
  },
  'openai streamed': async (base, model, messages) => {
    let text = '', reason;
    for await (const chunk of await openai(base).chat.completions.create({ model, messages, stream: true })) {
      text += chunk.choices[0]?.delta.content ?? '';
      reason = chunk.choices[0]?.finish_reason ?? reason;
    }
    return { text, reason };
  },
  'openai stream helper': async (base, model, messages) => {
    const { choices: [choice] } = await openai(base).chat.completions.stream({ model, messages }).finalChatCompletion();
    return { text: choice.message.content, reason: choice.finish_reason };
  },
  'anthropic unary': async (base, model, messages) => {
    const message = await anthropic(base).messages.create({ model, messages, max_tokens: 50 });
    return { text: message.content.map((block) => block.text ?? '').join(''), reason: message.stop_reason };
  },
  'anthropic streamed': async (base, model, messages) => {
    const message = await anthropic(base).messages.stream({ model, messages, max_tokens: 50 }).finalMessage();
    return { text: message.content.map((block) => block.text ?? '').join(''), reason: message.stop_reason };
  },
  'ollama chat unary': async (base, model, messages) => {
    const answer = await ollama(base).chat({ model, messages });
    return { text: answer.message.content, reason: answer.done_reason };
  },
  'ollama chat streamed': async (base, model, messages) => {
    let text = '', reason;
    for await (const part of await ollama(base).chat({ model, messages, stream: true })) {
      text += part.message?.content ?? '';
      reason = part.done_reason ?? reason;
    }
    return { text, reason };
  },
  'ollama generate unary': async (base, model, messages) => {
    const answer = await ollama(base).generate({ model, prompt: messages[0].content });
    return { text: answer.response, reason: answer.done_reason };
  },
  'ollama generate streamed': async (base, model, messages) => {
    let text = '', reason;
    for await (const part of await ollama(base).generate({ model, prompt: messages[0].content, stream: true })) {
      text += part.response ?? '';
      reason = part.done_reason ?? reason;
    }
    return { text, reason };
  },
  'ai generateText': async (base, model, messages) => {
    const answer = await generateText({ model: vercel(base)(model), messages, maxRetries: 2 });
    return { text: answer.text, reason: answer.finishReason };
  },
  'ai streamText': async (base, model, messages) => {
    let failure;
    const answer = streamText({ model: vercel(base)(model), messages, maxRetries: 2, onError: ({ error }) => { failure = error; } });
    let text = '';
    for await (const piece of answer.textStream) text += piece;
    if (failure) throw failure;
    return { text, reason: await answer.finishReason };
  },
};
const blockedReason = (name) => (name.startsWith('anthropic') ? 'refusal' : name.startsWith('ai') ? 'content-filter' : 'content_filter');

for (const [name, send] of Object.entries(clients)) {
  test(`${name}: an allowed answer arrives whole, as without the gateway`, async () => {
    const direct = await send(upstream.url, 'plain', ask);
    assert.equal(direct.text, plain);
    assert.deepEqual(await send(url, 'plain', ask), direct);
  });

  test(`${name}: a refused request is an error that says so, is not retried, and reaches no model`, async () => {
    const before = upstream.seen.length;
    await assert.rejects(send(url, 'plain', forbiddenAsk), (error) => {
      const said = [error.message, error.responseBody, JSON.stringify(error.error ?? '')].join(' ');
      assert.match(said, /content_filter|safety policy/);
      assert.doesNotMatch(said, forbidden);
      assert.equal(error.status ?? error.statusCode ?? error.status_code, 400);
      return true;
    });
    assert.equal(upstream.seen.length, before);
  });

  test(`${name}: a blocked answer ends before the term, and the client can see why`, async () => {
    const { text, reason } = await send(url, 'blocked', ask);
    assert.equal(reason, blockedReason(name));
    assert.doesNotMatch(text, forbidden);
    assert.equal(text, pieces.blocked[0]);
  });

  test(`${name}: an upstream's 429 stays a 429`, async () => {
    await assert.rejects(send(url, 'error', ask), (error) => {
      assert.equal((error.lastError ?? error).status ?? (error.lastError ?? error).statusCode ?? error.status_code, 429);
      return true;
    });
  });

  if (/stream/.test(name)) {
    test(`${name}: a broken stream does not look complete`, async () => {
      const outcome = await send(url, 'truncated', ask).catch((error) => ({ error }));
      assert.ok(outcome.error !== undefined || ![ 'stop', 'end_turn' ].includes(outcome.reason), JSON.stringify(outcome));
    });
  }
}

test('openai: tool calls arrive whole, streamed and not', async () => {
  const unary = await openai().chat.completions.create({ model: 'tool', messages: ask });
  assert.equal(unary.choices[0].message.tool_calls[0].function.arguments, toolArguments.join(''));
  const streamed = await openai().chat.completions.stream({ model: 'tool', messages: ask }).finalChatCompletion();
  assert.equal(streamed.choices[0].message.tool_calls[0].function.name, 'weather');
  assert.equal(streamed.choices[0].message.tool_calls[0].function.arguments, toolArguments.join(''));
});

test('openai: models, embeddings and moderations', async () => {
  assert.equal((await openai().models.list()).data[0].id, 'plain');
  assert.deepEqual((await openai().embeddings.create({ model: 'plain', input: 'library', encoding_format: 'float' })).data[0].embedding, [0.5, -0.25]);
  await assert.rejects(openai().embeddings.create({ model: 'plain', input: term }), (error) => error.status === 400 && error.code === 'content_filter');
  const before = upstream.seen.length;
  const { results } = await openai().moderations.create({ input: ['The library opens at ten.', `the ${term}`] });
  assert.equal(results.length, 2);
  assert.equal(results[0].flagged, false);
  assert.equal(typeof results[0].category_scores.hate, 'number');
  assert.equal(upstream.seen.length, before);
});
