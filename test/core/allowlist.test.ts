// Allowlist entries under the rules of three products: cases A01–A18, field report 7, and every rule on its own.
import { expect, test } from 'vitest'
import { parseAddress } from '../../src/core/address.ts'
import { type AllowlistRules, excludes, judgeAllowlist } from '../../src/core/allowlist.ts'
import { bareText, cidrText } from '../../src/core/cidr.ts'

const bitbybit: AllowlistRules = {
  minPrefix: { v4: 9, v6: 33 },
  maxEntries: 20,
  labels: { allowed: true, maxLength: 64 },
  private: 'reject',
  privateRanges: [
    '10.0.0.0/8',
    '172.16.0.0/12',
    '192.168.0.0/16',
    '127.0.0.0/8',
    '169.254.0.0/16',
    '100.64.0.0/10',
    '::1/128',
    'fc00::/7',
    'fe80::/10',
  ],
  hostBits: 'reject',
}
const billoget: AllowlistRules = {
  minPrefix: { v4: null, v6: null },
  maxEntries: null,
  labels: { allowed: true, maxLength: 64 },
  private: 'allow',
  privateRanges: [],
  hostBits: 'reject',
}
const bitgpt: AllowlistRules = { ...billoget, labels: { allowed: false, maxLength: 0 }, hostBits: 'mask' }

function judge(rules: AllowlistRules, ...entries: readonly (string | readonly [string, string])[]) {
  const verdict = judgeAllowlist(
    entries.map(entry =>
      typeof entry === 'string' ? { cidr: entry, label: '' } : { cidr: entry[0], label: entry[1] },
    ),
    rules,
  )
  return {
    stored: verdict.entries.map(entry => cidrText(entry.block)),
    shown: verdict.entries.map(entry => bareText(entry.block)),
    labels: verdict.entries.map(entry => entry.label),
    reasons: verdict.violations.map(violation => `${violation.index} ${violation.reason}`),
    warnings: verdict.warnings.map(warning => `${warning.index} ${warning.reason}`),
    verdict,
  }
}

const stored: readonly [string, AllowlistRules, string, string][] = [
  ['A01', bitbybit, '203.0.113.5', '203.0.113.5/32'],
  ['A02', bitbybit, '203.0.113.0/24', '203.0.113.0/24'],
  ['A03', bitbybit, '2001:db8::1', '2001:db8::1/128'],
  ['A04', bitbybit, '2001:db8::/48', '2001:db8::/48'],
  ['A05', bitbybit, '35.192.0.0/12', '35.192.0.0/12'],
  ['A14', bitgpt, '2001:0db8::/32', '2001:db8::/32'],
  ['A15', bitgpt, '203.0.0.0/8', '203.0.0.0/8'],
  ['A16', bitgpt, '192.168.1.10', '192.168.1.10/32'],
  ['A18', billoget, '192.168.1.100', '192.168.1.100/32'],
  ['mapped single', bitgpt, '::ffff:203.0.113.5', '203.0.113.5/32'],
  ['mapped block', billoget, '::ffff:203.0.113.0/120', '203.0.113.0/24'],
  ['mapped in hex', billoget, '::ffff:cb00:7100/120', '203.0.113.0/24'],
  ['capitals', billoget, '2001:DB8:0:0::/64', '2001:db8::/64'],
]

test.each(stored)('%s is stored in canonical form', (_name, rules, input, expected) => {
  expect(judge(rules, input)).toMatchObject({ stored: [expected], reasons: [], warnings: [] })
})

const refused: readonly [string, AllowlistRules, string, string[]][] = [
  ['A06', bitbybit, '10.0.0.0/8', ['PREFIX_TOO_SHORT', 'PRIVATE_RANGE']],
  ['A07', bitbybit, '10.0.0.0', ['PRIVATE_RANGE']],
  ['A08', bitbybit, '192.168.1.0/24', ['PRIVATE_RANGE']],
  ['A09', bitbybit, '203.0.113.7/24', ['HOST_BITS_SET']],
  ['A10', bitbybit, '203.0.113.5/33', ['INVALID_ENTRY']],
  ['all three', bitbybit, '10.0.0.1/8', ['HOST_BITS_SET', 'PREFIX_TOO_SHORT', 'PRIVATE_RANGE']],
  ['mapped private', bitbybit, '::ffff:10.0.0.1', ['PRIVATE_RANGE']],
  ['mapped short', bitbybit, '::ffff:0:0/96', ['PREFIX_TOO_SHORT']],
  ['every IPv6', billoget, '::/0', ['SPANS_MAPPED_RANGE']],
  ['every IPv6', bitgpt, '::/0', ['SPANS_MAPPED_RANGE']],
  ['every IPv6', bitbybit, '::/0', ['PREFIX_TOO_SHORT', 'SPANS_MAPPED_RANGE']],
  ['around the mapped range', billoget, '::/80', ['SPANS_MAPPED_RANGE']],
  ['mapped below 96', billoget, '::ffff:0:0/95', ['HOST_BITS_SET', 'SPANS_MAPPED_RANGE']],
]

test.each(refused)('%s is refused with every reason in order', (_name, rules, input, expected) => {
  const verdict = judge(rules, input)
  expect(verdict.reasons).toEqual(expected.map(reason => `0 ${reason}`))
  expect(verdict.stored).toEqual([])
})

test('A09: the violation suggests the network', () => {
  const [violation] = judge(bitbybit, '203.0.113.7/24').verdict.violations
  expect(violation?.suggestion).toBe('203.0.113.0/24')
  expect(violation?.message).toContain('203.0.113.0/24')
})

test('A11: a label is kept', () => {
  expect(judge(bitbybit, ['203.0.113.5', 'Office network'])).toMatchObject({
    stored: ['203.0.113.5/32'],
    labels: ['Office network'],
  })
})

test('A12: the second spelling of one block is a duplicate, in any notation', () => {
  expect(judge(bitbybit, '203.0.113.5', '203.0.113.5/32').reasons).toEqual(['1 DUPLICATE_ENTRY'])
  expect(judge(billoget, '203.0.113.5', '198.51.100.1', '::ffff:cb00:7105').reasons).toEqual(['2 DUPLICATE_ENTRY'])
  expect(judge(bitgpt, '203.0.113.0/24', '203.0.113.7/24').reasons).toEqual(['1 DUPLICATE_ENTRY'])
})

test('A13: the empty list is accepted', () => {
  expect(judge(bitbybit)).toMatchObject({ stored: [], reasons: [], warnings: [] })
})

test('A16: a single address can be shown without its prefix length', () => {
  expect(judge(bitgpt, '192.168.1.10').shown).toEqual(['192.168.1.10'])
})

test('A17: host bits are masked with a warning where the profile says so', () => {
  expect(judge(bitgpt, '203.0.113.7/24')).toMatchObject({
    stored: ['203.0.113.0/24'],
    reasons: [],
    warnings: ['0 HOST_BITS_MASKED'],
  })
})

const lenient = [
  '203.0.113.0/',
  '203.0.113.0/ 24',
  '203.0.113.0/0x18',
  '203.0.113.0/2e1',
  '203.0.113.0/24.0',
  '203.0.113.0/+24',
  '203.0.113.0/024',
  '203.0.113.0x1/32',
  '203.0.113.0/24/8',
  '::/',
  '203.0.113/24',
  '２０３.0.113.0/24',
  '203.0.113.0/٢٤',
  '203.0.113.0/24\n',
  '',
  ' 203.0.113.0/24',
  '203.0.113.0/-1',
  '203.0.113.0/255.255.255.0',
  '203.0.113.0/00',
  '0xcb.0.113.0',
  '010.0.0.1',
  '3405803776',
  '127.1',
  '[2001:db8::1]',
  '2001:db8::1%eth0',
  '2001:db8::1/129',
  '::ffff:203.0.113.0/129',
  '203.0.113.5:443',
  '203.0.113.0\0/24',
  'localhost',
  '*',
  '/24',
  '1::2::3',
  '12345::',
  '::ffff:203.0.113.0/24/',
  `2001:db8::${'0'.repeat(200)}`,
]

test.each(lenient)('field report 7: %j is an invalid entry under every profile', entry => {
  for (const rules of [bitbybit, billoget, bitgpt]) expect(judge(rules, entry).reasons).toEqual(['0 INVALID_ENTRY'])
})

test('field report 7: what is right stays right', () => {
  for (const rules of [bitbybit, billoget, bitgpt]) {
    expect(judge(rules, '2001:db8:1:2::/64').stored).toEqual(['2001:db8:1:2::/64'])
  }
  expect(judge(bitbybit, '0.0.0.0/0')).toMatchObject({
    reasons: ['0 PREFIX_TOO_SHORT'],
    warnings: ['0 MATCHES_EVERYTHING', '0 OVERLAPS_PRIVATE'].sort((a, b) => (a < b ? 1 : -1)),
  })
  for (const rules of [billoget, bitgpt]) {
    expect(judge(rules, '0.0.0.0/0')).toMatchObject({ stored: ['0.0.0.0/0'], warnings: ['0 MATCHES_EVERYTHING'] })
  }
})

test('all violations of all entries are reported in input order', () => {
  expect(judge(bitbybit, '10.0.0.0/8', 'x', '203.0.113.7/24', '8.8.8.8', '8.8.8.8').reasons).toEqual([
    '0 PREFIX_TOO_SHORT',
    '0 PRIVATE_RANGE',
    '1 INVALID_ENTRY',
    '2 HOST_BITS_SET',
    '4 DUPLICATE_ENTRY',
  ])
})

test('one entry inside another is a warning, whichever comes first', () => {
  expect(judge(billoget, '203.0.113.5', '203.0.113.0/24').warnings).toEqual(['0 CONTAINED_ENTRY'])
  expect(judge(billoget, '203.0.113.0/24', '203.0.113.5').warnings).toEqual(['1 CONTAINED_ENTRY'])
})

test('an entry that only overlaps a private range is a warning', () => {
  expect(judge(bitbybit, '172.0.0.0/9')).toMatchObject({ reasons: [], warnings: ['0 OVERLAPS_PRIVATE'] })
  expect(judge({ ...bitbybit, private: 'warn' }, '10.0.0.0/24')).toMatchObject({
    reasons: [],
    warnings: ['0 OVERLAPS_PRIVATE'],
  })
})

test('the list is bounded by the profile, and by 256 where it says nothing', () => {
  const many = (count: number) => Array.from({ length: count }, (_, i) => `198.51.${i >> 8}.${i & 255}`)
  expect(judge(bitbybit, ...many(20)).reasons).toEqual([])
  expect(judge(bitbybit, ...many(21)).reasons).toEqual(['20 TOO_MANY_ENTRIES'])
  expect(judge(bitgpt, ...many(256)).stored).toHaveLength(256)
  expect(judge(bitgpt, ...many(257)).reasons).toEqual(['256 TOO_MANY_ENTRIES'])
  expect(judge(bitgpt, ...many(50_000)).reasons).toEqual(['256 TOO_MANY_ENTRIES'])
})

test('labels obey the profile, counted in code points, and carry no control characters', () => {
  expect(judge(bitgpt, ['203.0.113.5', 'x']).reasons).toEqual(['0 LABELS_NOT_SUPPORTED'])
  expect(judge(bitbybit, ['203.0.113.5', '😀'.repeat(64)]).reasons).toEqual([])
  expect(judge(bitbybit, ['203.0.113.5', '😀'.repeat(65)]).reasons).toEqual(['0 LABEL_TOO_LONG'])
  expect(judge(bitbybit, ['203.0.113.5', 'a\0b']).reasons).toEqual(['0 FIELD_INVALID'])
})

test('a message repeats at most 64 characters of the caller and no control character', () => {
  const [violation] = judge(billoget, `\n${'x'.repeat(10_000)}`).verdict.violations
  expect(violation?.message.length).toBeLessThan(160)
  expect(violation?.message).not.toMatch(/\p{Cc}/u)
})

test('a caller is excluded by a list that does not contain its address', () => {
  const { entries } = judgeAllowlist([{ cidr: '203.0.113.0/24', label: '' }], bitbybit)
  const address = (text: string) => parseAddress(text) ?? expect.fail(text)
  expect(excludes(entries, address('203.0.113.9'), 'any')).toBe(false)
  expect(excludes(entries, address('::ffff:203.0.113.9'), 'any')).toBe(false)
  expect(excludes(entries, address('198.51.100.1'), 'any')).toBe(true)
  expect(excludes([], address('198.51.100.1'), 'any')).toBe(false)
  expect(excludes([], address('198.51.100.1'), 'none')).toBe(true)
})
