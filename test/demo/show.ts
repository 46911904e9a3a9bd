// How the demo prints: one block a request, with the command a reader could type, and the answer as it came.
import type { Answer } from '../support/http-request.ts'

/** Where lines go; a pipe that was closed ends the demo instead of failing it. */
export type Print = (line?: string) => void

const colours = process.stdout.isTTY === true && process.env['NO_COLOR'] === undefined
const paint = (code: number, text: string) => (colours ? `\u001b[${code}m${text}\u001b[0m` : text)

export const bold = (text: string) => paint(1, text)
export const faint = (text: string) => paint(2, text)

/** Headers of an answer that the products document or we promise. */
const shownHeaders = [
  'www-authenticate',
  'retry-after',
  'x-ratelimit-limit',
  'x-ratelimit-remaining',
  'x-ratelimit-reset',
]

/** The status, the interesting headers and the body of an answer, indented. `ownBody`: not what the upstream echoes. */
export function showAnswer(print: Print, answer: Answer, ownBody: boolean): void {
  const status = String(answer.status)
  const body = answer.status < 300 && !ownBody ? 'allowed: the upstream answered' : answer.body
  print(`    ${answer.status < 300 ? paint(32, status) : paint(33, status)}  ${body}`)
  for (const name of shownHeaders) {
    const value = answer.headers[name]
    if (value !== undefined) print(faint(`         ${name}: ${value}`))
  }
}

/** A curl command for the demo's Envoy. The secret stands in full: these keys live as long as the demo. */
export function curlCommand(
  host: string,
  port: number,
  caFile: string,
  method: string,
  path: string,
  header: readonly [string, string],
): string {
  return [
    `curl -X ${method} "https://${host}${path}"`,
    `-H "${header[0]}: ${header[1]}"`,
    `--connect-to ${host}:443:127.0.0.1:${port}`,
    `--cacert ${caFile}`,
  ].join(' \\\n       ')
}
