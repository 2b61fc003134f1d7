// A model server of fixed answers in three dialects. The model's name says how it behaves:
// plain, blocked (the operator's term stands in the middle of the answer, cut over pieces), tool, truncated, error.
import http from 'node:http';

export const term = 'zanzibar protocol';
export const pieces = {
  plain: ['The library opens at ten. ', 'Coffee is served ', 'in the hall.'],
  blocked: ['The library opens at ten and stays open all day long. ', 'Then comes the zanz', 'ibar proto', 'col and more.'],
  truncated: ['The library opens at ten and stays open all day long. ', 'Then', ' it'],
};
export const toolArguments = ['{"city":"Par', 'is","days":', '3}'];
const usage = { prompt_tokens: 5, completion_tokens: 7, total_tokens: 12 };

export function start() {
  const seen = [];
  const server = http.createServer(async (request, response) => {
    const parts = [];
    for await (const part of request) parts.push(part);
    const text = Buffer.concat(parts).toString();
    const body = text === '' ? {} : JSON.parse(text);
    seen.push({ path: request.url, text });
    const answer = (value, status = 200) => {
      response.writeHead(status, { 'content-type': 'application/json' });
      response.end(JSON.stringify(value));
    };
    if (body.model === 'error') return answer({ error: { message: 'slow down', type: 'requests', param: null, code: 'rate_limit_exceeded' } }, 429);
    if (request.url === '/v1/models') return answer({ object: 'list', data: [{ id: 'plain', object: 'model', created: 1, owned_by: 'us' }] });
    if (request.url === '/v1/embeddings') return answer({ object: 'list', model: body.model, data: [{ object: 'embedding', index: 0, embedding: [0.5, -0.25] }], usage });
    const words = pieces[body.model] ?? pieces.plain;
    const sse = (events, cut) => {
      response.writeHead(200, { 'content-type': 'text/event-stream' });
      for (const [name, data] of events) response.write(`${name ? `event: ${name}\n` : ''}data: ${typeof data === 'string' ? data : JSON.stringify(data)}\n\n`);
      if (cut) setImmediate(() => response.destroy());
      else response.end();
    };
    const cut = body.model === 'truncated';

    if (request.url === '/v1/chat/completions') {
      const head = { id: 'c1', created: 1, model: body.model };
      const tool = body.model === 'tool';
      if (!body.stream) {
        const message = tool
          ? { role: 'assistant', content: null, tool_calls: [{ id: 't1', type: 'function', function: { name: 'weather', arguments: toolArguments.join('') } }] }
          : { role: 'assistant', content: words.join('') };
        return answer({ ...head, object: 'chat.completion', choices: [{ index: 0, message, finish_reason: tool ? 'tool_calls' : 'stop' }], usage });
      }
      const chunk = (delta, finish_reason = null) => [null, { ...head, object: 'chat.completion.chunk', choices: [{ index: 0, delta, finish_reason }] }];
      const events = [chunk({ role: 'assistant', content: tool ? null : '' })];
      if (tool) toolArguments.forEach((piece, i) => events.push(chunk({ tool_calls: [{ index: 0, ...(i === 0 ? { id: 't1', type: 'function' } : {}), function: { ...(i === 0 ? { name: 'weather' } : {}), arguments: piece } }] })));
      else words.forEach((piece) => events.push(chunk({ content: piece })));
      if (!cut) events.push(chunk({}, tool ? 'tool_calls' : 'stop'), [null, '[DONE]']);
      return sse(events, cut);
    }
    if (request.url === '/v1/messages') {
      const head = { id: 'm1', type: 'message', role: 'assistant', model: body.model };
      if (!body.stream) return answer({ ...head, content: [{ type: 'text', text: words.join('') }], stop_reason: 'end_turn', stop_sequence: null, usage: { input_tokens: 5, output_tokens: 7 } });
      const events = [
        ['message_start', { type: 'message_start', message: { ...head, content: [], stop_reason: null, stop_sequence: null, usage: { input_tokens: 5, output_tokens: 1 } } }],
        ['content_block_start', { type: 'content_block_start', index: 0, content_block: { type: 'text', text: '' } }],
        ...words.map((text) => ['content_block_delta', { type: 'content_block_delta', index: 0, delta: { type: 'text_delta', text } }]),
      ];
      if (!cut) {
        events.push(['content_block_stop', { type: 'content_block_stop', index: 0 }],
          ['message_delta', { type: 'message_delta', delta: { stop_reason: 'end_turn', stop_sequence: null }, usage: { output_tokens: 7 } }],
          ['message_stop', { type: 'message_stop' }]);
      }
      return sse(events, cut);
    }
    if (request.url === '/api/chat' || request.url === '/api/generate') {
      const chat = request.url === '/api/chat';
      const head = { model: body.model, created_at: '2026-01-01T00:00:00Z' };
      const carry = (text) => (chat ? { message: { role: 'assistant', content: text } } : { response: text });
      const end = { done: true, done_reason: 'stop', prompt_eval_count: 5, eval_count: 7 };
      if (body.stream === false) return answer({ ...head, ...carry(words.join('')), ...end });
      response.writeHead(200, { 'content-type': 'application/x-ndjson' });
      for (const piece of words) response.write(`${JSON.stringify({ ...head, ...carry(piece), done: false })}\n`);
      if (cut) return setImmediate(() => response.destroy());
      return response.end(`${JSON.stringify({ ...head, ...carry(''), ...end })}\n`);
    }
    return answer({ error: { message: 'no such route' } }, 404);
  });
  return new Promise((resolve) => server.listen(0, '127.0.0.1', () => resolve({ url: `http://127.0.0.1:${server.address().port}`, seen, close: () => { server.closeAllConnections(); server.close(); } })));
}
