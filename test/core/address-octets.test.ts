// The strict address grammar against a hand-written list, node:net and its own canonical form.
import { isIP } from 'node:net'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { createAddressWords, formatAddress, parseAddressOctets } from '../../src/core/address-octets.ts'

function canonical(text: string): string | null {
  const bytes = Buffer.from(`<${text}>`, 'utf8')
  const words = createAddressWords()
  const found = parseAddressOctets(bytes, 1, bytes.length - 1, words)
  expect(found).toBe(words.family !== 0)
  return found ? formatAddress(words.family, words.w0, words.w1, words.w2, words.w3) : null
}

describe('the address grammar', () => {
  it.each([
    ['203.0.113.5', '203.0.113.5'],
    ['0.0.0.0', '0.0.0.0'],
    ['255.255.255.255', '255.255.255.255'],
    ['::', '::'],
    ['::1', '::1'],
    ['1::', '1::'],
    ['2001:0db8::', '2001:db8::'],
    ['2001:DB8:0:0:1:0:0:1', '2001:db8::1:0:0:1'],
    ['2001:db8:0:1:1:1:1:1', '2001:db8:0:1:1:1:1:1'],
    ['1:2:3:4:5:6:7::', '1:2:3:4:5:6:7:0'],
    ['::2:3:4:5:6:7:8', '0:2:3:4:5:6:7:8'],
    ['2001:db8::5:443', '2001:db8::5:443'],
    ['fe80::ffff:ffff:ffff:ffff', 'fe80::ffff:ffff:ffff:ffff'],
    ['::ffff:203.0.113.5', '203.0.113.5'],
    ['::FFFF:203.0.113.5', '203.0.113.5'],
    ['::ffff:cb00:714d', '203.0.113.77'],
    ['0:0:0:0:0:ffff:cb00:714d', '203.0.113.77'],
    ['::ffff:0:1', '0.0.0.1'],
    ['::fffe:0:1', '::fffe:0:1'],
  ])('reads %s as %s', (text, expected) => {
    expect(canonical(text)).toBe(expected)
  })

  it.each([
    '',
    '1',
    '1.2.3',
    '1.2.3.4.5',
    '1.2.3.',
    '.1.2.3',
    '1..2.3',
    '01.2.3.4',
    '1.2.3.04',
    '00.0.0.0',
    '256.1.1.1',
    '1.2.3.999',
    '0x7f.1.1.1',
    '2130706433',
    '127.1',
    ' 1.2.3.4',
    '1.2.3.4 ',
    '1.2.3.4\n',
    '+1.2.3.4',
    '1.2.3.-4',
    '１.2.3.4',
    '1.2.3.4/32',
    ':',
    ':::',
    '1:::2',
    '1::2::3',
    ':1:2:3:4:5:6:7',
    '1:2:3:4:5:6:7:',
    '1:2:3:4:5:6:7',
    '1:2:3:4:5:6:7:8:9',
    '1:2:3:4:5:6:7:8::',
    '::1:2:3:4:5:6:7:8',
    '12345::',
    'g::',
    '::1%eth0',
    '[::1]',
    '::1.2.3.4',
    '::ffff:0:1.2.3.4',
    '0:0:0:0:0:ffff:1.2.3.4',
    '64:ff9b::1.2.3.4',
    '::ffff:1.2.3',
    '::ffff:01.2.3.4',
    '::ffff:1.2.3.4.5',
    '1.2.3.4::',
    'unknown',
    '::ffff:1.2.3.4:80',
    '::1/128',
  ])('refuses %j', text => {
    expect(canonical(text)).toBeNull()
  })

  it('never accepts what node:net refuses, and its canonical form is a fixed point', () => {
    const part = fc.constantFrom(
      '0',
      '1',
      '00',
      '255',
      '256',
      'ffff',
      'FFFF',
      '::',
      ':',
      '.',
      'g',
      '%',
      'db8',
      '::ffff:',
      '1.2.3.4',
    )
    fc.assert(
      fc.property(
        fc.array(part, { maxLength: 17 }).map(parts => parts.join('')),
        text => {
          const read = canonical(text)
          if (read === null) return
          expect(isIP(text)).not.toBe(0)
          expect(canonical(read)).toBe(read)
        },
      ),
      { numRuns: 5000 },
    )
  })

  it('accepts every address that node:net accepts, but for embedded quads outside ::ffff:', () => {
    fc.assert(
      fc.property(fc.oneof(fc.ipV4(), fc.ipV6()), text => {
        if (text.includes(':') && text.includes('.') && !/^::ffff:[\d.]+$/i.test(text)) return
        const read = canonical(text)
        expect(read).not.toBeNull()
        if (text.includes(':') && isIP(read ?? '') === 6) {
          expect(read).toBe(new URL(`http://[${text}]/`).hostname.slice(1, -1))
        }
      }),
      { numRuns: 5000 },
    )
  })
})
