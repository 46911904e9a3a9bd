// HTTP/1.1 written octet by octet, for what no client library sends: repeated and odd headers, blanks, raw octets, half requests.
// One request a connection; the answer is read to its end and parsed strictly enough to notice a split response.
import { connect, type Socket } from 'node:net'

/** A request that waits longer has failed, whatever the reason. */
const answerWithinMs = 10_000

export interface RawAnswer {
  /** 0: the connection ended without an answer. */
  readonly status: number
  /** In order, names in lower case. */
  readonly headers: readonly (readonly [string, string])[]
  readonly body: string
  /** The value of a header that occurs once; undefined: absent. @throws Error when it repeats */
  header(name: string): string | undefined
}

export interface RawRequest {
  readonly method?: string
  readonly path: string
  /** Null: no Host header. */
  readonly host: string | null
  /** Whole lines, `name: value`; as octets when a string cannot say it (one character an octet). */
  readonly lines?: readonly string[]
}

/** Sends the lines as latin1 with `connection: close` and reads the whole answer. */
export function sendRaw(port: number, { method = 'GET', path, host, lines = [] }: RawRequest): Promise<RawAnswer> {
  const head = [
    `${method} ${path} HTTP/1.1`,
    ...(host === null ? [] : [`host: ${host}`]),
    ...lines,
    ...(lines.some(line => /^connection:/i.test(line)) ? [] : ['connection: close']),
  ]
  return sendOctets(port, Buffer.from(`${head.join('\r\n')}\r\n\r\n`, 'latin1'))
}

/** Sends octets and reads until the server closes or the announced length has come. */
export function sendOctets(port: number, octets: Buffer): Promise<RawAnswer> {
  return new Promise((resolve, reject) => {
    const socket: Socket = connect(port, '127.0.0.1')
    let received = ''
    const timer = setTimeout(() => {
      socket.destroy()
      reject(new Error(`no whole answer within ${answerWithinMs} ms: ${JSON.stringify(received)}`))
    }, answerWithinMs)
    const end = () => {
      clearTimeout(timer)
      socket.destroy()
      resolve(parse(received))
    }
    socket.setEncoding('latin1')
    socket.on('data', chunk => {
      received += chunk
      if (isWhole(received)) end()
    })
    socket.on('end', end)
    socket.on('error', end) // a reset ends an answer as well
    socket.write(octets)
  })
}

function isWhole(text: string): boolean {
  const headEnd = text.indexOf('\r\n\r\n')
  const length = /\r\ncontent-length: (\d+)\r\n/i.exec(text.slice(0, headEnd + 2))?.[1]
  return headEnd >= 0 && length !== undefined && text.length >= headEnd + 4 + Number(length)
}

function parse(text: string): RawAnswer {
  const headEnd = text.indexOf('\r\n\r\n')
  const [first = '', ...lines] = text.slice(0, Math.max(headEnd, 0)).split('\r\n')
  const headers = lines.map(line => {
    const at = line.indexOf(':')
    return [line.slice(0, at).toLowerCase(), line.slice(at + 1).trim()] as const
  })
  const rest = headEnd < 0 ? '' : text.slice(headEnd + 4)
  const chunked = headers.some(([name, value]) => name === 'transfer-encoding' && value === 'chunked')
  return {
    status: Number(/^HTTP\/1\.1 (\d{3})/.exec(first)?.[1] ?? 0),
    headers,
    body: chunked ? dechunk(rest) : rest,
    header(name) {
      const values = headers.filter(([each]) => each === name)
      if (values.length > 1) throw new Error(`${name} occurs ${values.length} times`)
      return values[0]?.[1]
    },
  }
}

function dechunk(text: string): string {
  let body = ''
  let at = 0
  for (;;) {
    const lineEnd = text.indexOf('\r\n', at)
    const length = Number.parseInt(text.slice(at, lineEnd), 16)
    if (lineEnd < 0 || Number.isNaN(length) || length === 0) return body
    body += text.slice(lineEnd + 2, lineEnd + 2 + length)
    at = lineEnd + 2 + length + 2
  }
}
