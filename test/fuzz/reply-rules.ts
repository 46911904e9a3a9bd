// The rules of envoy-contract.md 13 A for one encoded CheckResponse, read with the generated full decoder.

import type { HeaderValueOption } from '../../src/gen/envoy/config/core/v3/base.ts'
import { CheckResponse } from '../../src/gen/envoy/service/auth/v3/external_auth.ts'

const bodyLengthMax = 1024
const valueLengthMax = 16_384

/** Every rule that the reply breaks; empty: none. */
export function brokenRules(octets: Buffer): string[] {
  const broken: string[] = []
  const reply = CheckResponse.decode(octets)
  const { status, httpResponse } = reply
  // An encoder that means what it says gives the same octets again, but for the explicit zeros that it leaves out.
  if (octets.indexOf(Buffer.from([0x0a, 0x02, 0x08])) !== 0) broken.push('no explicit status first')
  if (status === undefined) return ['no status']
  const ok = httpResponse?.$case === 'okResponse' ? httpResponse.value : undefined
  const refused =
    httpResponse?.$case === 'deniedResponse' || httpResponse?.$case === 'errorResponse' ? httpResponse.value : undefined
  if (status.code === 0 && ok === undefined) broken.push('code 0 without ok_response')
  if (status.code !== 0 && refused === undefined) broken.push('a denial without a response')
  if (status.code < 0 || status.code > 16) broken.push(`code ${status.code}`)
  const lists = [ok?.headers ?? [], ok?.responseHeadersToAdd ?? [], refused?.headers ?? []]
  for (const list of lists) {
    const names = list.map(option => option.header?.key ?? '')
    if (new Set(names).size !== names.length) broken.push(`a header twice: ${names.join()}`)
    for (const option of list) broken.push(...brokenHeader(option))
  }
  const set = new Set((ok?.headers ?? []).map(option => option.header?.key))
  for (const name of ok?.headersToRemove ?? []) {
    if (set.has(name)) broken.push(`${name} is both set and removed`)
    if (!/^[a-z0-9_-]+$/.test(name)) broken.push(`removes ${JSON.stringify(name)}`)
  }
  if (ok !== undefined && !ok.headersToRemove.includes('x-envoy-auth-failure-mode-allowed'))
    broken.push('keeps the failure mode header')
  if (refused !== undefined) {
    const http = refused.status?.code ?? 0
    if (http < 400 || http > 599) broken.push(`HTTP status ${http}`)
    broken.push(...brokenBody(refused.body, refused.headers))
  }
  for (const [name, value] of Object.entries(reply.dynamicMetadata ?? {})) {
    if (typeof value !== 'string' || value === '' || !/^[ -~]+$/.test(value))
      broken.push(`metadata ${name} is ${JSON.stringify(value)}`)
  }
  return broken
}

function brokenHeader(option: HeaderValueOption): string[] {
  const { header, append, appendAction } = option
  const { key = '', value = '' } = header ?? {}
  const broken: string[] = []
  if (append !== false) broken.push(`${key}: append is ${append}`)
  if (appendAction !== 2) broken.push(`${key}: append_action ${appendAction}`)
  if (!/^[a-z0-9!#$%&'*+.^_`|~-]+$/.test(key)) broken.push(`name ${JSON.stringify(key)}`)
  if (key === 'host' || key === 'content-length' || key.startsWith('x-envoy-')) broken.push(`sets ${key}`)
  if (!/^[ -~]*$/.test(value) || value.trim() !== value) broken.push(`${key}: value ${JSON.stringify(value)}`)
  if (value.length > valueLengthMax) broken.push(`${key}: ${value.length} octets`)
  return broken
}

function brokenBody(body: string, headers: readonly HeaderValueOption[]): string[] {
  const broken: string[] = []
  const textOf = (name: string) => headers.find(option => option.header?.key === name)?.header?.value
  if (Buffer.byteLength(body) > bodyLengthMax) broken.push(`a body of ${Buffer.byteLength(body)} octets`)
  if (body.includes('\ufffd')) broken.push('a body that is not UTF-8')
  const grpc = textOf('grpc-status')
  if (grpc !== undefined) {
    if (!/^(?:[1-9]|1[0-6])$/.test(grpc)) broken.push(`grpc-status ${grpc}`)
    if (textOf('content-type') !== undefined) broken.push('a content type for a gRPC client')
    return broken
  }
  if (textOf('content-type') === undefined) broken.push('no content type')
  try {
    JSON.parse(body)
  } catch {
    broken.push(`a body that is no JSON: ${body}`)
  }
  return broken
}
