// Page tokens and orders: a token opens for exactly the listing it came from, unaltered, for 24 hours.
import { expect, test } from 'vitest'
import { orderText, parseOrder } from '../../src/admin/order.ts'
import { type PageBinding, PageTokens, pageTokenLifeMicros } from '../../src/admin/page-token.ts'

const tokens = new PageTokens(new Uint8Array(32).fill(7))
const binding: PageBinding = {
  listing: 'apiKeys',
  parent: 'organizations/o',
  filter: 'state = ACTIVE',
  order: 'create_time desc',
  showDeleted: false,
}
const position = ['2026-02-01T00:00:00.123456Z', null, 'key_1']
const now = 1_000_000

test('a token gives its position back, for 24 hours', () => {
  const token = tokens.issue(binding, position, now)
  expect(tokens.open(token, binding, now)).toEqual(position)
  expect(tokens.open(token, binding, now + pageTokenLifeMicros - 1)).toEqual(position)
  expect(tokens.open(token, binding, now + pageTokenLifeMicros)).toBeNull()
})

test('a token altered in one bit, cut or lengthened opens to nothing', () => {
  const token = tokens.issue(binding, position, now)
  const octets = Buffer.from(token, 'base64url')
  for (let bit = 0; bit < octets.length * 8; bit++) {
    const altered = Buffer.from(octets)
    altered[bit >> 3] = (altered[bit >> 3] ?? 0) ^ (1 << (bit & 7))
    expect(tokens.open(altered.toString('base64url'), binding, now)).toBeNull()
  }
  for (let i = 0; i < token.length; i++) {
    for (const other of 'ABab01-_') {
      const altered = `${token.slice(0, i)}${other}${token.slice(i + 1)}`
      if (altered !== token) expect(tokens.open(altered, binding, now)).toBeNull()
    }
  }
  for (const altered of [token.slice(0, -1), `${token}A`, `${token}=`, ` ${token}`, '', 'A', 'x'.repeat(100_000)]) {
    expect(tokens.open(altered, binding, now)).toBeNull()
  }
})

test('a token of another listing, parent, filter, order, deletion view or key opens to nothing', () => {
  const token = tokens.issue(binding, position, now)
  const others: PageBinding[] = [
    { ...binding, listing: 'organizations' },
    { ...binding, parent: 'organizations/p' },
    { ...binding, filter: '' },
    { ...binding, order: 'create_time' },
    { ...binding, showDeleted: true },
  ]
  for (const other of others) expect(tokens.open(token, other, now)).toBeNull()
  expect(new PageTokens(new Uint8Array(32)).open(token, binding, now)).toBeNull()
})

const fields = new Set(['create_time', 'display_name'])

test('orders are read whole or refused', () => {
  const parse = (text: string) => {
    const result = parseOrder(text, fields, [{ field: 'create_time', descending: false }])
    return result.ok ? orderText(result.order) : result.message
  }
  expect(parse('')).toBe('create_time')
  expect(parse('create_time asc')).toBe('create_time')
  expect(parse(' display_name  desc ,create_time')).toBe('display_name desc,create_time')
  expect(parse('nope')).toContain('create_time, display_name')
  expect(parse('__proto__')).toContain('__proto__')
  expect(parse('create_time,create_time desc')).toContain('twice')
  expect(parse('create_time descending')).toContain('desc')
  expect(parse('create_time,')).toContain('not a field')
})
