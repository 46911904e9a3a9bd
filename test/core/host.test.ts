// Host canonicalisation: case, port and one final dot are removed; everything that is no host belongs to nobody.
import { describe, expect, it } from 'vitest'
import { HostTable } from '../../src/core/host.ts'

const table = new HostTable([
  ['api.bitbybit.studio', 1],
  ['api.billoget.com', 2],
  ['[2001:db8::1]', 3],
  ['192.0.2.1', 4],
] as const)

function find(host: string): number | undefined {
  const bytes = Buffer.from(`<${host}>`, 'latin1')
  return table.find(bytes, 1, bytes.length - 1)?.value
}

describe('a host', () => {
  it.each([
    ['api.bitbybit.studio', 1],
    ['API.BITBYBIT.STUDIO', 1],
    ['api.bitbybit.studio:443', 1],
    ['api.bitbybit.studio.', 1],
    ['API.BITBYBIT.STUDIO.:443', 1],
    ['Api.Billoget.Com:8080', 2],
    ['[2001:DB8::1]:443', 3],
    ['192.0.2.1:80', 4],
  ])('%s is served', (host, value) => {
    expect(find(host)).toBe(value)
  })

  it.each([
    '',
    '.',
    ':',
    ':443',
    'api.bitbybit.studio..',
    '.api.bitbybit.studio',
    'api..bitbybit.studio',
    'api.bitbybit.studio,api.billoget.com',
    'xapi.bitbybit.studio',
    'api.bitbybit.studiox',
    'bitbybit.studio',
    'api.bitbybit.studio:',
    'api.bitbybit.studio:44x',
    'api.bitbybit.studio:443:443',
    'api.bitbybit.studio:1234567',
    'api.bitbybit.studio ',
    ' api.bitbybit.studio',
    'api.bitbybit.studio/',
    'user@api.bitbybit.studio',
    'api_bitbybit.studio',
    'api.bitbybit.studio\u0000',
    '\u00e4pi.bitbybit.studio',
    'constructor',
    '__proto__',
    '[::1]:443',
    '[2001:db8::1',
    '2001:db8::1',
    '[192.0.2.1]',
    '[2001:db8::1]x',
    '[2001:db8::1%eth0]',
    'a'.repeat(263),
  ])('%j belongs to nobody', host => {
    expect(find(host)).toBeUndefined()
  })

  it('is found among many, and its text is the canonical one', () => {
    const many = new HostTable(Array.from({ length: 500 }, (_, i) => [`h${i}.example.test`, i] as const))
    for (let i = 0; i < 500; i++) {
      const bytes = Buffer.from(`H${i}.EXAMPLE.test:80`)
      expect(many.find(bytes, 0, bytes.length)).toEqual({ host: `h${i}.example.test`, value: i })
    }
    expect(many.find(Buffer.from('h500.example.test'), 0, 17)).toBeUndefined()
  })

  it('cannot be claimed twice, nor in another spelling', () => {
    expect(
      () =>
        new HostTable([
          ['a.test', 1],
          ['a.test', 2],
        ]),
    ).toThrow('two profiles claim')
    expect(() => new HostTable([['A.test', 1]])).toThrow('not a canonical host')
    expect(() => new HostTable([['a.test:80', 1]])).toThrow('not a canonical host')
  })
})
